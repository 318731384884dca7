"""The HTML page, in headless Chromium."""

import itertools
import json
import re

import pytest
import torch

from dataset import ImageFormat
from engine.distributed import Process
from engine.evaluation import Evaluator
from models import config_codecs, create_model
from reading import Reader
from records.label_filter import LabelFilter
from records.lmdb_set import LmdbSet
from scoring.comparison import compare
from scoring.evaluation_sets import Contents
from scoring.findings import Findings
from scoring.gallery import Gallery, gallery
from scoring.page import page
from scoring.summary import summarize
from text import Charset

HOSTILE = "</script><img/src=x/onerror=alert(1)><b>"
ALL = Charset.load("94")
WORDS = ["cat", "dog's", HOSTILE, "a&b", "zebra", "{{7*7}}", "tea", "Ink"]


@pytest.fixture(scope="module")
def parts(tmp_path_factory, make_lmdb, encode_image):
    """Summaries and galleries of two small models with other random weights."""
    place = tmp_path_factory.mktemp("page")
    sets = {}
    for name, words in {"SVT": WORDS, "<i>mine</i>": WORDS[:3]}.items():
        folder = make_lmdb(place / str(len(sets)), [(encode_image(w[:9]), w) for w in words])
        sets[name] = LmdbSet(folder, LabelFilter(ALL, None, trainable=False))
    summaries, galleries = [], []
    process = Process(0, 0, 1, torch.device("cpu"))
    for seed in (0, 1):
        torch.manual_seed(seed)
        model = create_model("mgp_str_mini_stem8x8_3_32_128", characters=ALL.characters)
        codecs = config_codecs(model.config)
        evaluator = Evaluator(
            model, codecs, ImageFormat(), process, 4, 0, scored=ALL, keep_words=True
        )
        scores = [evaluator(name, opened) for name, opened in sets.items()]
        path = f"<u>{seed}</u>.pth"
        summaries.append(summarize(path, "mini", "protocol: <s>94</s>", ALL, 25, scores))
        reader = Reader(model, "cpu", 4)
        galleries.append(gallery(summaries[-1], reader, sets, most=9))
    return summaries, galleries


def rendered(parts, chosen=2) -> str:
    summaries, galleries = (one[:chosen] for one in parts)
    contents = [Contents("SVT", "<p>", 8, "0" * 64, 8, {"<q>": 1})]
    comparisons = compare(*summaries) if chosen == 2 else []
    ranked = {s.path: s.scores for s in summaries}
    why = ["<b>it</b> is damaged"]
    found = Findings(summaries, contents, comparisons, ranked, galleries, "<CPU>", why)
    return page(found, {"device": "<CPU>"})


def test_the_page_asks_for_nothing_and_escapes_what_is_data(parts):
    text = rendered(parts)
    assert text.count("<script") == text.count("</script") == 2
    for part in ("<i>mine", "<u>0", "<s>94", "<q>", "<CPU>", "onerror=alert(1)>", "<img"):
        assert part not in text
    assert "default-src &#39;none&#39;" in text or "default-src 'none'" in text
    assert not re.search(r"""(src|href|url)\s*[=(]\s*["']?\s*(https?:)?//""", text)


def test_a_gallery_has_the_errors_and_where_the_model_looked(parts):
    summaries, galleries = parts
    words = [w for s in summaries[0].scores for w in s.words]
    errors = [w for w in words if not w.right("fused")]
    assert galleries[0].errors == len(errors)
    assert len(galleries[0].items) == min(9, len(errors))
    for item in galleries[0].items:
        (word,) = (w for w in errors if (w.source, w.record) == (item["set"], item["record"]))
        assert item["place"] == f"record {item['record']}"
        assert (item["truth"], item["text"]) == (word.truth, word.texts["fused"])
        assert item["beyondLimit"] == (len(word.truth) > 25)
        for reading in item["readings"]:
            assert len(reading["maps"]) == len(reading["pieces"]) > 0
            assert reading["text"] == word.texts[reading["name"]]
            assert (reading["maps"][0]["rows"], reading["maps"][0]["columns"]) == (4, 16)


@pytest.fixture(scope="module")
def opened(parts, tmp_path_factory, browser):
    place = tmp_path_factory.mktemp("browser")
    file = place / "report.html"
    file.write_text(rendered(parts), encoding="utf-8")
    with browser.Browser(place / "profile") as one:
        one.open(file.as_uri())
        yield one


def texts(opened, selector: str) -> list[str]:
    found = f"[...document.querySelectorAll({json.dumps(selector)})].map(e => e.textContent)"
    return opened.run(found)


def test_the_page_runs_offline_without_errors(opened):
    assert opened.problems == []
    assert [r for r in opened.requests if not r.startswith(("file:", "data:"))] == []
    assert sum(r.startswith("file:") for r in opened.requests) == 1
    assert len(texts(opened, "svg")) == 2 * (1 + 4 + 1)
    assert texts(opened, "main b") == texts(opened, ".tile > b, figcaption > b")  # none from data


def test_hostile_words_are_shown_as_text(opened):
    opened.run(
        "document.getElementById('search').value = 'ONERROR';"
        "document.getElementById('search').dispatchEvent(new Event('input'))"
    )
    shown = texts(opened, ".item .truth")
    assert shown and set(shown) == {HOSTILE}
    assert opened.run("document.querySelectorAll('.item img, .item b').length") == 0
    opened.run(
        "document.getElementById('search').value = '';"
        "document.getElementById('search').dispatchEvent(new Event('input'))"
    )


def choose(opened, name: str, value: str) -> None:
    opened.run(
        f"document.getElementById('{name}').value = {json.dumps(value)};"
        f"document.getElementById('{name}').dispatchEvent(new Event('change'))"
    )


def test_the_gallery_is_filtered_and_sorted(opened, parts):
    items = parts[1][1].items
    choose(opened, "checkpoint", "1")
    choose(opened, "order", "length")
    lengths = [len(t) for t in texts(opened, ".item .truth")]
    assert lengths == sorted((len(i["truth"]) for i in items), reverse=True)
    choose(opened, "set", "<i>mine</i>")
    assert len(texts(opened, ".item")) == sum(i["set"] == "<i>mine</i>" for i in items)
    choose(opened, "kind", "beyond")
    assert set(texts(opened, ".item .truth")) <= {HOSTILE}
    for name in ("set", "kind"):
        choose(opened, name, "")
    assert texts(opened, "#found") == [f"{len(items)} of {len(items)} shown here"]


# Of the first word's picture.
PIXELS = (
    "(() => { const c = document.querySelector('.item canvas');"
    "return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.join() })()"
)


def test_attention_is_drawn_over_the_image(opened):
    before = opened.run(PIXELS)
    opened.run("document.querySelector('.item .piece').click()")
    drawn = opened.run(PIXELS)
    assert drawn != before
    assert opened.run("document.querySelector('.item .piece').ariaPressed") == "true"
    opened.run("document.querySelector('.item').dispatchEvent(new Event('mouseleave'))")
    assert opened.run(PIXELS) == before


def test_tables_are_sorted_by_a_click(opened):
    opened.run(
        "document.querySelectorAll('#comparison thead .sort')[2].click()"  # images, most first
    )
    column = "#comparison tbody td:nth-child(3)"
    most_first = [int(t.replace(",", "")) for t in texts(opened, column)]
    assert most_first == sorted(most_first, reverse=True) and len(set(most_first)) > 1
    opened.run("document.querySelectorAll('#comparison thead .sort')[2].click()")
    assert [int(t) for t in texts(opened, column)] == most_first[::-1]


@pytest.fixture
def many(parts, tmp_path, browser):
    """A page of 70 misread words with core areas, and its items."""
    (summary, *_), (first, *_) = parts
    items = [
        item
        | {
            "record": number,
            "place": f"record {number}",
            "distance": number % 7,
            "confidence": (number * 37 % 70) / 70,
        }
        | {"coreArea": item["readings"][0]["maps"][0]}
        for number, item in enumerate(itertools.islice(itertools.cycle(first.items), 70))
    ]
    file = tmp_path / "report.html"
    shown = Gallery(summary.path, len(items), items)
    file.write_text(rendered(([summary], [shown]), chosen=1), encoding="utf-8")
    with browser.Browser(tmp_path / "profile") as one:
        one.open(file.as_uri())
        yield one, items


def test_many_words_come_in_every_order_and_some_at_a_time(many):
    opened, items = many
    keys = {
        "confidence": lambda item: -item["confidence"],
        "unsure": lambda item: item["confidence"],
        "distance": lambda item: -item["distance"],
        "near": lambda item: item["distance"],
        "length": lambda item: -len(item["truth"]),
        "set": lambda item: (item["set"], item["record"]),
    }
    assert opened.run("[...document.getElementById('order').options].map(o => o.value)") == [*keys]
    for name, key in keys.items():
        choose(opened, "order", name)
        more = "document.getElementById('more')"
        assert len(texts(opened, ".item")) == 60 and not opened.run(f"{more}.hidden")
        opened.run(f"{more}.click()")
        assert len(texts(opened, ".item")) == 70 and opened.run(f"{more}.hidden")
        places = [re.search(r"^(.*) · record (\d+)", t) for t in texts(opened, ".item .where")]
        by_place = {(item["set"], item["record"]): item for item in items}
        found = [key(by_place[place[1], int(place[2])]) for place in places]
        assert found == sorted(found), name


def test_core_areas_are_drawn_over_the_image(many):
    opened, _ = many
    before = opened.run(PIXELS)
    button = (
        "[...document.querySelectorAll('.item:first-child button')]"
        ".find(b => b.textContent === 'core areas')"
    )
    opened.run(f"{button}.click()")
    assert opened.run(PIXELS) != before


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_wider_than_the_screen(opened, tmp_path, width):
    opened.screenshot(tmp_path / "page.png", width, 800)
    assert opened.run("document.documentElement.scrollWidth") == width
