"""The plots of the HTML page, as SVG; colours and type are those of its style sheet."""

from collections.abc import Iterator, Sequence

from markupsafe import Markup, escape

from scoring.statistics import LengthRow, Measures
from scoring.summary import SetSummary

ROW, LEFT, RIGHT, WIDTH = 16, 190, 24, 760
SIDE, BORDER = 190, 46
LENGTH_WIDTH, LENGTH_HEIGHT, COUNT_HEIGHT = 760, 220, 60


def accuracy_plot(sets: Sequence[SetSummary], columns: Sequence[str]) -> Markup:
    """Accuracy of every set and column, with its interval."""
    lowest = min((m.interval.low for s in sets for m in s.measures.values()), default=0.0)
    floor = max(0, 10 * int((lowest - 1) // 10))
    step = 10 if 100 - floor > 40 else 5
    block = ROW * len(columns) + 14
    height = block * len(sets) + 34

    def x(percent: float) -> float:
        return LEFT + (percent - floor) / (100 - floor) * (WIDTH - LEFT - RIGHT)

    parts = []
    for tick in range(floor, 101, step):
        parts.append(_line(x(tick), 4, x(tick), height - 26, "grid"))
        parts.append(_text(x(tick), height - 8, f"{tick}%", "tick middle"))
    for place, one in enumerate(sets):
        top = block * place + 8
        parts.append(_text(LEFT - 12, top + block / 2 - 3, _short(one.name), "label end"))
        for series, column in enumerate(columns):
            measures = one.measures[column]
            y = top + ROW * series + ROW / 2
            low, high = measures.interval.low, measures.interval.high
            title = (
                f"{one.name}, {column}: {measures.accuracy:.2f}% ({low:.2f} to {high:.2f}), "
                f"{measures.images:,} images"
            )
            marks = _line(x(low), y, x(high), y, "interval") + _circle(x(measures.accuracy), y)
            parts.append(_group(f"series-{series}", title, marks))
    return _svg(WIDTH, height, "Accuracy by set, with 95% intervals", parts)


def reliability_plot(measures: Measures, column: str, series: int) -> Markup:
    """Accuracy by confidence: on the diagonal where confidence can be trusted."""

    def x(value: float) -> float:
        return BORDER + value * SIDE

    def y(value: float) -> float:
        return 10 + (1 - value) * SIDE

    parts = []
    for tick in (0.0, 0.5, 1.0):
        parts += [
            _line(x(tick), y(0), x(tick), y(1), "grid"),
            _line(x(0), y(tick), x(1), y(tick), "grid"),
        ]
        parts += [
            _text(x(tick), y(0) + 15, f"{tick:g}", "tick middle"),
            _text(x(0) - 6, y(tick) + 4, f"{tick:g}", "tick end"),
        ]
    most = max(b.words for b in measures.bins) or 1
    below = y(0) + 66
    for one in measures.bins:
        if not one.words:
            continue
        left, width = x(one.low) + 1, (one.high - one.low) * SIDE - 2
        title = (
            f"confidence {one.low:.1f} to {one.high:.1f}: {one.words:,} words, mean confidence "
            f"{one.confidence:.3f}, accuracy {one.accuracy:.3f}"
        )
        tall = 36 * one.words / most
        marks = _rectangle(left, y(one.accuracy), width, y(0) - y(one.accuracy), "bar")
        marks += _rectangle(left, below - tall, width, tall, "count")
        parts.append(_group(f"series-{series}", title, marks))
    parts.append(_line(x(0), y(0), x(1), y(1), "diagonal"))
    parts.append(_text(x(0.5), y(0) + 28, "confidence", "tick middle"))
    parts.append(_text(x(0) - 6, below, "words", "tick end"))
    name = f"Reliability of {column}: accuracy by confidence"
    return _svg(SIDE + BORDER + 12, below + 6, name, parts)


def length_plot(rows: Sequence[LengthRow], columns: Sequence[str]) -> Markup:
    """Accuracy by the number of characters, and how many words have so many."""
    floor_y, top = LENGTH_HEIGHT, 10
    step = (LENGTH_WIDTH - 60 - RIGHT) / max(len(rows), 1)
    base = floor_y + COUNT_HEIGHT + 14

    def x(place: int) -> float:
        return 60 + step * (place + 0.5)

    def y(percent: float) -> float:
        return floor_y - percent / 100 * (floor_y - top)

    parts = []
    for tick in (0, 25, 50, 75, 100):
        parts.append(_line(60, y(tick), LENGTH_WIDTH - RIGHT, y(tick), "grid"))
        parts.append(_text(52, y(tick) + 4, f"{tick}%", "tick end"))
    most = max((row.images for row in rows), default=1)
    for place, row in enumerate(rows):
        tall = COUNT_HEIGHT * row.images / most
        bar = _rectangle(x(place) - step * 0.35, base - tall, step * 0.7, tall, "count")
        title = f"{row.characters} characters: {row.images:,} words"
        parts.append(_group("neutral", title, bar))
        parts.append(_text(x(place), base + 15, str(row.characters), "tick middle"))
    for series, column in enumerate(columns):
        places = [(x(i), y(100 * row.correct[column] / row.images)) for i, row in enumerate(rows)]
        parts.append(_group(f"series-{series}", column, _path(places)))
        for (left, height), row in zip(places, rows, strict=True):
            share = 100 * row.correct[column] / row.images
            title = f"{column}, {row.characters} characters: {share:.1f}% of {row.images:,}"
            parts.append(_group(f"series-{series}", title, _circle(left, height)))
    parts.append(_text(52, base - 2, "words", "tick end"))
    return _svg(LENGTH_WIDTH, base + 22, "Accuracy by length of the word", parts)


def _svg(width: float, height: float, title: str, parts: Sequence[Markup]) -> Markup:
    return Markup(
        '<svg viewBox="0 0 {w:.0f} {h:.0f}" width="{w:.0f}" height="{h:.0f}" role="img" '
        'aria-label="{title}">{content}</svg>'
    ).format(w=width, h=height, title=title, content=Markup("").join(parts))


def _group(name: str, title: str, content: Markup) -> Markup:
    return Markup('<g class="{}"><title>{}</title>{}</g>').format(name, title, content)


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    return Markup('<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" class="{}"/>').format(
        x1, y1, x2, y2, kind
    )


def _circle(x: float, y: float) -> Markup:
    return Markup('<circle cx="{:.1f}" cy="{:.1f}" r="3.5" class="dot"/>').format(x, y)


def _rectangle(x: float, y: float, width: float, height: float, kind: str) -> Markup:
    return Markup('<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" class="{}"/>').format(
        x, y, width, height, kind
    )


def _path(places: Sequence[tuple[float, float]]) -> Markup:
    return Markup('<polyline points="{}" class="curve"/>').format(" ".join(_points(places)))


def _points(places: Sequence[tuple[float, float]]) -> Iterator[str]:
    return (f"{x:.1f},{y:.1f}" for x, y in places)


def _text(x: float, y: float, text: str, kind: str) -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" class="{}">{}</text>').format(
        x, y, kind, escape(text)
    )


def _short(name: str, most: int = 26) -> str:
    return name if len(name) <= most else "…" + name[1 - most :]
