"""The page, in headless Chromium, as a person uses it."""

import csv
import io
import json

import pytest

pytestmark = pytest.mark.usefixtures("one_thread")

HOSTILE = "<img src=x onerror=alert(1)>.png"
DONE = "!document.querySelector('[aria-busy]') && document.querySelectorAll('.item').length === "
PIXELS = (
    "(() => { const c = document.querySelector('.item:not(.failed) canvas');"
    "return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.join() })()"
)


@pytest.fixture(scope="module")
def opened(served, browser, tmp_path_factory):
    with browser.Browser(tmp_path_factory.mktemp("browser")) as one:
        yield one


@pytest.fixture(autouse=True)
def fresh(request, served):
    """Every test begins with the page as it is opened, without what tests before it asked for."""
    if "opened" in request.fixturenames:
        opened = request.getfixturevalue("opened")
        opened.problems.clear()
        opened.requests.clear()
        opened.open(served.address)
        opened.wait("document.querySelectorAll('.sample').length")


def texts(opened, selector: str) -> list[str]:
    return opened.run(
        f"[...document.querySelectorAll({json.dumps(selector)})].map(e => e.textContent)"
    )


@pytest.fixture
def files(tmp_path, words):
    """Two good images and one that is none, with a name that is HTML."""
    (tmp_path / HOSTILE).write_bytes(b"no image")
    return [words[1], tmp_path / HOSTILE, words[4]]


@pytest.fixture
def three(opened, files):
    """The page after the three files were chosen."""
    opened.choose("#files", *files)
    opened.wait(DONE + "3")
    return opened


def test_the_page_begins_empty_and_asks_its_own_server_alone(opened, served):
    assert texts(opened, "#status") == ["Nothing has been read yet."]
    assert texts(opened, ".item") == []
    assert opened.run("document.getElementById('table-section').offsetParent") is None
    assert "small.pth" in texts(opened, "#model")[0]
    assert opened.problems == []
    foreign = [r for r in opened.requests if not r.startswith((served.address, "data:"))]
    assert [r for r in foreign if r != "about:blank"] == []


def test_chosen_files_are_read_and_a_bad_one_gets_its_message(three, served, files):
    readings = served.reader([files[0], files[2]])
    assert texts(three, ".item h3") == ["body.jpg", HOSTILE, "guard.jpg"]
    assert texts(three, ".item .word") == [r.text for r in readings]
    assert texts(three, ".failed p") == [
        "not an image of a known kind (8 bytes, beginning with b'no image')"
    ]
    assert texts(three, "#status") == ["2 read, 1 not read"]
    shown = texts(three, ".item:first-child .line .text")
    assert shown == [own.text for own in readings[0].by_granularity.values()]
    confidences = texts(three, ".item:first-child .line > span:last-child")
    assert confidences == [f"{r.confidence:.3f}" for r in readings[0].by_granularity.values()]
    assert three.run("document.querySelectorAll('main img:not(.sample img)').length") == 0


def test_pointing_at_a_character_draws_where_the_model_looked(three):
    piece = ".item:first-child .granularity:nth-of-type(1) .piece:nth-child(2)"
    three.wait(PIXELS.replace(".join()", ".some(v => v > 0 && v < 255)"))
    plain = three.run(PIXELS)
    height = three.run("document.querySelector('.item').offsetHeight")
    three.point(piece)
    assert three.wait(f"document.querySelector({piece!r}).ariaPressed === 'true'")
    drawn = three.run(PIXELS)
    assert drawn != plain
    # Nothing moves away under the mouse.
    assert three.run("document.querySelector('.item').offsetHeight") == height
    assert texts(three, ".item:first-child .caption")[0].startswith("char, position 2: ")
    three.point("h1")
    three.wait("!document.querySelector('[aria-pressed=true]')")
    assert three.run(PIXELS) == plain
    assert texts(three, ".item:first-child .caption") == [""]


def test_maps_are_reached_with_the_keyboard(three):
    plain = three.run(PIXELS)
    three.run("[...document.querySelectorAll('.item:first-child .piece')].at(-3).focus()")
    seen = set()
    for title in ("core areas as predicted: blue 0", "guided attention: blue 0."):
        three.press("Tab", 9)
        assert title in three.wait("document.activeElement.title")
        assert title in texts(three, ".item:first-child .caption")[0]
        seen.add(three.run(PIXELS))
    assert len(seen - {plain}) == 2
    three.run("document.activeElement.blur()")
    assert three.run(PIXELS) == plain


def test_samples_are_read_by_a_click(opened, served, samples):
    opened.run("document.querySelector('.sample').click()")
    opened.wait(DONE + "1")
    opened.run("document.getElementById('all-samples').click()")
    opened.wait(DONE + "3")
    assert texts(opened, ".item h3") == ["body.jpg", "cath.jpg", "body.jpg"]  # the newest first
    body, cath = (reading.text for reading in served.reader(samples))
    assert texts(opened, ".item .word") == [body, cath, body] and body != cath
    opened.run("document.getElementById('clear').click()")
    assert texts(opened, ".item") == []
    assert texts(opened, "#status") == ["Nothing has been read yet."]


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_images_are_dropped_and_pasted(opened, served, samples, way):
    event = {
        "drop": "new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true})",
        "paste": "new ClipboardEvent('paste', {clipboardData: data, bubbles: true})",
    }[way]
    opened.run(
        "fetch('samples/1').then(answer => answer.blob()).then(blob => {"
        "const data = new DataTransfer();"
        "data.items.add(new File([blob], 'moved.png', {type: 'image/png'}));"
        f"document.body.dispatchEvent({event}) }})"
    )
    opened.wait(DONE + "1")
    assert texts(opened, ".item h3") == ["moved.png"]
    assert texts(opened, ".item .word") == [served.reader(samples[1]).text]


def expected_rows(served, files) -> list[list[str]]:
    rows = []
    for file in (files[0], files[2]):
        reading = served.reader(file)
        row = [file.name, reading.text, reading.confidence, reading.granularity]
        for own in reading.by_granularity.values():
            row += [own.text, own.confidence]
        rows.append(row)
    return rows


def assert_rows(found: list[list[str]], served, files) -> None:
    names = [n for g in ("char", "bpe", "wp") for n in (g, f"{g}_confidence")]
    assert found[0] == ["file", "text", "confidence", "granularity", *names]
    for own, expected in zip(found[1:], expected_rows(served, files), strict=True):
        for value, wanted in zip(own, expected, strict=True):
            if isinstance(wanted, float):
                assert float(value) == pytest.approx(wanted, rel=1e-3, abs=2e-6)
            else:
                assert value == wanted


def test_the_table_is_downloaded(three, served, files, tmp_path):
    place = tmp_path / "downloads"
    three.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(place))
    three.run("document.getElementById('download').click()")
    saved = place / "readings.csv"
    three.until(saved.is_file)
    with saved.open(newline="", encoding="utf-8-sig") as file:
        assert_rows(list(csv.reader(file)), served, files)


def test_the_table_is_copied(three, served, files):
    three.call("Browser.grantPermissions", permissions=["clipboardReadWrite"])
    three.call("Page.bringToFront")
    three.run("document.getElementById('copy').click()")
    three.wait("document.getElementById('copied').textContent === 'copied'")
    copied = three.run("navigator.clipboard.readText()")
    assert_rows(list(csv.reader(io.StringIO(copied), delimiter="\t")), served, files)


def test_fields_survive_whatever_they_hold_and_formulas_are_pointed_out(opened):
    rows = [["a\tb", 'say "x"', "two\nlines", "plain,", "=1+1"]]
    for separator in "\t,":
        written = opened.run(f"delimited({json.dumps(rows)}, {json.dumps(separator)})")
        assert list(csv.reader(io.StringIO(written, newline=""), delimiter=separator)) == rows
    assert opened.run(f"formulas({json.dumps([*rows, ['-', 'a-b', -1]])})") == ["=1+1", "-"]


def test_a_formula_in_the_table_is_warned_of(opened, tmp_path, words):
    hidden = "document.getElementById('formulas').offsetParent === null"
    assert opened.run(hidden)
    (tmp_path / "=1+1.png").write_bytes(words[0].read_bytes())
    opened.choose("#files", tmp_path / "=1+1.png")
    opened.wait(DONE + "1")
    opened.wait(f"!({hidden})")  # the table comes after the reading
    assert "(=1+1.png)" in texts(opened, "#formulas")[0]


def test_too_large_a_file_is_refused_before_it_is_sent(opened, tmp_path):
    with (tmp_path / "large.png").open("wb") as file:
        file.truncate(10 * 2**20 + 1)
    opened.choose("#files", tmp_path / "large.png")
    opened.wait(DONE + "1")
    assert texts(opened, ".failed p") == ["the file is too large: 10 MiB are the most"]
    assert opened.problems == []  # as an answer of the server would be


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_wider_than_the_screen(three, tmp_path, width):
    three.screenshot(tmp_path / "page.png", width, 800)
    assert three.run("document.documentElement.scrollWidth") == width


def test_a_server_that_has_ended_is_said_to_be_gone(serving, reader, samples, opened):
    with serving(reader, samples) as ending:
        opened.open(ending.address)
        opened.wait("document.querySelectorAll('.sample').length")
    opened.run("document.querySelector('.sample').click()")
    opened.wait(DONE + "1")
    assert texts(opened, ".failed p") == [
        "the server does not answer; is demo.py --web still running?"
    ]
