"""IIIT 5K-word and Street View Text: small copies of their annotation files."""

import numpy as np
import pytest
import scipy.io
from PIL import Image

from console.progress import RunLog
from converters.conversion import convert
from converters.iiit5k import iiit5k
from converters.scenes import Cutting
from converters.svt import StreetViewText
from records.lmdb_file import DataError


def structs(fields, rows):
    """A MATLAB array of structures 1 x N."""
    array = np.empty((1, len(rows)), [(field, object) for field in fields])
    for number, row in enumerate(rows):
        for field, value in zip(fields, row, strict=True):
            array[field][0, number] = value
    return array


@pytest.fixture
def iiit(tmp_path, write_images):
    """Writes the .mat files of (name, ground truth, characters, boxes)."""

    def write(*rows, split="test"):
        folder = write_images(tmp_path / "in", *(name for name, *_ in rows))
        lexicon = np.array(["A", "B"], object)
        words = [(name, word, lexicon, lexicon) for name, word, *_ in rows]
        fields = ("ImgName", "GroundTruth", "smallLexi", "mediumLexi")
        scipy.io.savemat(folder / f"{split}data.mat", {f"{split}data": structs(fields, words)})
        bounds = [
            (name, characters, np.array(boxes, float))
            for name, _, characters, boxes in rows
            if characters is not None
        ]
        scipy.io.savemat(
            folder / f"{split}CharBound.mat",
            {f"{split}CharBound": structs(("ImgName", "chars", "charBB"), bounds)},
        )
        return folder

    return write


def test_iiit5k_is_spelled_as_its_characters(iiit, tmp_path, converted, labels, boxes):
    folder = iiit(
        ("test/1.png", "YOU", "You", [[5, 5, 21, 36], [25, 15, 24, 26], [49, 11, 25, 28]]),
        ("test/2.png", "7", "7", [[1, 1, 60, 20]]),
        ("test/3.png", "OTHER", "Word", [[1, 1, 2, 3]] * 4),
        ("test/4.png", "FEW", "Few", [[1, 1, 2, 3]] * 2),
        ("test/5.png", "FAR", "far", [[1, 1, 2, 3], [1, 1, 2, 1e9], [1, np.nan, 2, 3]]),
        ("test/6.png", "NONE", None, None),
        ("test/7.png", "EMPTY", "empty", []),
    )
    report, stored = converted(iiit5k(folder, "test", True), tmp_path / "out")
    assert labels(stored) == ["You", "7", "OTHER", "Few", "far", "NONE", "empty"]
    # MATLAB counts from 1.
    assert boxes(stored, 1) == [["Y", 4, 4, 25, 40], ["o", 24, 14, 48, 40], ["u", 48, 10, 73, 38]]
    assert boxes(stored, 2) == [["7", 0, 0, 60, 20]]
    assert [boxes(stored, number) for number in range(3, 8)] == [None] * 5
    assert report.remarks == {
        "word and characters differ": 1,
        "label has no boxes": 2,
        "corner is not a pair of numbers within reach": 1,
        "image has no character boxes": 1,
    }
    assert report.examples["word and characters differ"] == [
        "test/3.png: 'OTHER', the characters read 'Word'"
    ]
    assert stored[b"image-000000001"] == (folder / "test/1.png").read_bytes()
    assert converted(iiit5k(folder, "test", True), tmp_path / "two", jobs=2) == (report, stored)


def test_iiit5k_of_one_image(iiit, tmp_path, converted, labels):
    folder = iiit(("train/1.png", "ABC", "Abc", [[1, 1, 2, 3]] * 3), split="train")
    _, stored = converted(iiit5k(folder, "train", True), tmp_path / "out")
    assert labels(stored) == ["Abc"]
    with pytest.raises(DataError, match=r"no file .*testdata\.mat"):
        iiit5k(folder, "test", True)


def test_iiit5k_broken_images_are_counted(iiit, tmp_path, converted):
    one = [[1, 1, 2, 3]]
    folder = iiit(
        *((f"test/{k}.png", "A", "a", one) for k in range(3)), ("../up.png", "A", "a", one)
    )
    (folder / "test/1.png").write_bytes(b"no image")
    (folder / "test/2.png").unlink()
    report, _ = converted(iiit5k(folder, "test", True), tmp_path / "out")
    assert report.dropped == {
        "unreadable image": 1,
        "no such image": 1,
        "path leads out of the folder": 1,
    }


def test_iiit5k_other_files_are_refused(iiit):
    folder = iiit(("test/1.png", "A", "a", [[1, 1, 2, 3]]))
    scipy.io.savemat(folder / "testCharBound.mat", {"other": 5})
    with pytest.raises(DataError, match="lacks the variables testCharBound; it has other"):
        iiit5k(folder, "test", True)
    scipy.io.savemat(folder / "testCharBound.mat", {"testCharBound": np.zeros((2, 2))})
    with pytest.raises(DataError, match=r"no array of structures with the fields ImgName"):
        iiit5k(folder, "test", True)
    bare = structs(("ImgName",), [("test/1.png",)])
    scipy.io.savemat(folder / "testCharBound.mat", {"testCharBound": bare})
    with pytest.raises(DataError, match=r"it has ImgName\."):
        iiit5k(folder, "test", True)


def svt_xml(*images) -> str:
    """The XML of (name, [(x, y, width, height, tag)])."""
    parts = ['<?xml version="1.0" encoding="utf-8"?>\n<tagset>']
    for name, words in images:
        parts.append(f"<image><imageName>{name}</imageName><lex>A,B</lex><taggedRectangles>")
        parts += [
            f'<taggedRectangle height="{h}" width="{w}" x="{x}" y="{y}"><tag>{tag}</tag>'
            "</taggedRectangle>"
            for x, y, w, h, tag in words
        ]
        parts.append("</taggedRectangles></image>")
    return "".join([*parts, "</tagset>"])


@pytest.fixture
def svt(tmp_path, draw, box):
    def write(xml: str, split="test"):
        for name in ("img/1.jpg", "img/2.jpg"):
            draw(tmp_path / "in" / name, [(box(50, 40, 90, 60), "red")])
        (tmp_path / "in" / f"{split}.xml").write_text(xml, encoding="utf-8")
        return StreetViewText(split, Cutting(tmp_path / "in", 95))

    return write


def test_svt_words_are_cut_out(svt, tmp_path, converted, labels, pixels):
    source = svt(
        svt_xml(
            ("img/1.jpg", [(50, 40, 40, 20, "RED"), (-5, 100, 30, 40, "EDGE")]),
            ("img/2.jpg", [(45, 35, 50, 30, " CAF\u00c9 &amp; CO ")]),
        )
    )
    report, stored = converted(source, tmp_path / "out")
    assert labels(stored) == ["RED", "EDGE", "CAF\u00c9 & CO"]
    assert pixels(stored, 1).shape == (20, 40, 3)
    assert (np.abs(pixels(stored, 1)[3:-3, 3:-3].astype(int) - (254, 0, 0)) < 30).all()
    assert pixels(stored, 2).shape == (20, 25, 3)
    framed = pixels(stored, 3)
    assert framed[2, 2].tolist() != framed[15, 25].tolist()
    assert str(report) == "3 words read, 3 written (0 with character boxes), 0 dropped"
    assert converted(source, tmp_path / "two", jobs=2) == (report, stored)


def test_svt_losses_are_counted(svt, tmp_path, converted, labels):
    good = (50, 40, 40, 20, "GOOD")
    absurd = [
        ("x", 1, 2, 3, "A"),
        ("", 1, 2, 3, "B"),
        ("nan", 1, 20, 20, "C"),
        (1e99, 1, 20, 20, "D"),
        (500, 1, 20, 20, "E"),
        (10, 10, -20, 20, "F"),
        (10, 10, 0, 20, "G"),
        (10, 10, 30, 20, " "),
    ]
    source = svt(
        svt_xml(
            ("img/1.jpg", [good, *absurd]),
            ("img/9.jpg", [good, ("x", 1, 2, 3, "A")]),
            ("../in/img/1.jpg", [good]),
            ("", [good]),
        )
    )
    report, stored = converted(source, tmp_path / "out")
    assert labels(stored) == ["GOOD", "F"]  # a negative width is another corner
    assert report.dropped == {
        "rectangle is not four numbers": 3,
        "word box is not finite": 1,
        "word box is too far from its image": 1,
        "word is outside of its image": 1,
        "word is too small": 1,
        "empty label": 1,
        "no such image": 2,
        "path leads out of the folder": 1,
    }


BOMB = (
    '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa">'
    + "".join(f'<!ENTITY {b} "{f"&{a};" * 40}">' for a, b in zip("abcdef", "bcdefg", strict=True))
    + "]><tagset><image><imageName>&g;</imageName></image></tagset>"
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<tagset><image>", "is damaged: it is not XML"),
        ("", "is damaged: it is not XML"),
        (BOMB, "is damaged: it is not XML"),
        ('<?xml version="1.0" encoding="none"?><tagset/>', "is damaged: it is not XML"),
        ("<other><thing/></other>", "has no image in its <other>"),
    ],
)
def test_svt_damaged_xml_is_a_sentence(svt, text, message):
    with pytest.raises(DataError, match=message):
        svt(text)


def test_svt_without_its_xml(tmp_path):
    with pytest.raises(DataError, match=r"There is no file .*train\.xml"):
        StreetViewText("train", Cutting(tmp_path, 95))


def test_a_benchmark_of_another_size_is_pointed_out(svt, tmp_path, capsys):
    source = svt(svt_xml(("img/1.jpg", [(50, 40, 40, 20, "RED")])))
    convert(source, tmp_path / "SVT", 1, RunLog())
    assert "warning: SVT should have 647 images, and has 1" in capsys.readouterr().out
    convert(source, tmp_path / "training/SVT", 1, RunLog())  # which has other words
    assert "should have" not in capsys.readouterr().out


def test_grey_and_transparent_photos_are_cut_too(svt, tmp_path, converted, pixels):
    source = svt(
        svt_xml(("img/1.jpg", [(50, 40, 40, 20, "A")]), ("img/2.jpg", [(5, 4, 40, 20, "B")]))
    )
    Image.new("L", (200, 120), 200).save(tmp_path / "in/img/1.jpg")
    Image.new("RGBA", (200, 120), (1, 200, 1, 90)).save(tmp_path / "in/img/2.jpg", "PNG")
    _, stored = converted(source, tmp_path / "out")
    assert pixels(stored, 1).shape == pixels(stored, 2).shape == (20, 40, 3)
    assert abs(int(pixels(stored, 1).mean()) - 200) < 3
