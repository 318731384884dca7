"""The HTML page: one file that needs nothing but itself.

Whatever comes from data is escaped by the template, or is JSON that the page's script puts in as
text. The page's own policy forbids every request and every script but that one.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from engine.evaluation import SetScore
from engine.report import best_first, notes, stand_in_warning, without_parts
from pages import PARTS as SHARED_PARTS
from scoring.findings import Findings
from scoring.plots import accuracy_plot, length_plot, reliability_plot
from scoring.statistics import accuracy_interval
from scoring.tables import METHOD, interval_text, measure_cells, p_text

PARTS = Path(__file__).parent / "page_parts"


def page(findings: Findings, facts: Mapping[str, str]) -> str:
    """The whole page.

    Args:
        findings: of a test.
        facts: name and value of what else a reader should know: date, device, versions.

    """
    scores_by_path = findings.scores_by_path
    script = _joined("maps.js", "page.js")
    style = _joined("look.css", "page.css")
    environment = Environment(
        loader=FileSystemLoader(PARTS), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {"interval": interval_text, "p": p_text}
    return environment.get_template("page.html.j2").render(
        script=Markup(script),
        style=Markup(style),
        script_hash=_policy_hash(script),
        style_hash=_policy_hash(style),
        findings=findings,
        summaries=findings.summaries,
        ranked=_ranked(scores_by_path),
        ranked_columns=max((list(s[0].correct) for s in scores_by_path.values()), key=len),
        gallery_data=_embedded([{"path": g.path, "items": g.items} for g in findings.galleries]),
        facts=facts,
        warning=stand_in_warning(findings.summaries[0].scores),
        method=METHOD,
        notes=notes,
        cells=measure_cells,
        accuracy_plot=accuracy_plot,
        reliability_plot=reliability_plot,
        length_plot=length_plot,
    )


def _joined(shared: str, own: str) -> str:
    parts = (SHARED_PARTS / shared, PARTS / own)
    return "".join(part.read_text(encoding="utf-8") for part in parts)


def _ranked(scores_by_path: Mapping[str, Sequence[SetScore]]) -> list[dict]:
    """Checkpoints, the best first."""
    return [
        {
            "path": path,
            "score": score,
            "interval": accuracy_interval(
                [
                    (s.images, s.correct["fused"])
                    for s in without_parts(scores_by_path[path])
                    if s.images
                ]
            ),
        }
        for path, score in best_first(scores_by_path)
        if score.images
    ]


def _embedded(values: object) -> Markup:
    """JSON that can stand in a script element: nothing in it can end the element."""
    text = json.dumps(values, ensure_ascii=True, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _policy_hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return "sha256-" + base64.b64encode(digest).decode("ascii")
