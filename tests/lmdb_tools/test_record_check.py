"""Every fault that a record can have, planted."""

import pickle

import pytest


def official(word: str, spelled: str) -> bytes:
    boxes = {f"[[{10 * k}, 2], [{10 * k + 9}, 18]]": c for k, c in enumerate(spelled)}
    return pickle.dumps({**boxes, "word": word})


def test_a_sound_set_has_no_findings(tmp_path, make_lmdb, words, boxes, check):
    make_lmdb(tmp_path / "set", words("cat", "dog"), boxes_000000001=boxes("cat"))
    tree = check(tmp_path)
    assert tree.passed
    assert not tree.findings.counts
    assert (tree.lmdbs[0].records, tree.lmdbs[0].usable) == (2, 2)


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (None, "record has no image"),
        (b"", "image is empty"),
        (bytes(500), "image can't be decoded"),
        (b"\xff\xd8 no image", "image can't be decoded"),
    ],
)
def test_images(image, reason, tmp_path, make_lmdb, words, found):
    make_lmdb(tmp_path / "set", [*words("cat"), (image, "dog")])
    assert found(tmp_path) == {reason: 1}


@pytest.mark.parametrize(
    ("size", "tiny"),
    [((1, 1), True), ((40, 3), True), ((3, 40), True), ((5, 5), True), ((6, 4), False)],
)
def test_an_image_that_nobody_can_read_is_a_warning(
    size, tiny, tmp_path, make_lmdb, encode_image, check
):
    make_lmdb(tmp_path / "set", [(encode_image("", size=size, form="PNG"), "pixels")])
    tree = check(tmp_path)
    assert tree.passed and tree.lmdbs[0].usable == 1
    assert [reason.text.split(",")[0] for reason in tree.findings.counts] == [
        "image has less than a pixel a character"
    ] * tiny


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_a_truncated_image_is_found_by_decoding_alone(
    form, tmp_path, make_lmdb, words, encode_image, found
):
    whole = encode_image("dog", size=(100, 32), form=form)
    make_lmdb(tmp_path / "set", [*words("cat"), (whole[: len(whole) * 2 // 3], "dog")])
    assert found(tmp_path) == {"image can't be decoded": 1}
    assert found(tmp_path, decode=False) == {}


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        (None, "record has no label"),
        (b"caf\xe9", "label is not UTF-8"),
        ("", "label is empty"),
        (" \t", "label is empty"),
        (b"\x80\x04 no pickle", "label is damaged"),
    ],
)
def test_labels(label, reason, tmp_path, make_lmdb, words, encode_image, check):
    make_lmdb(tmp_path / "set", [*words("cat"), (encode_image("dog"), label)])
    tree = check(tmp_path)
    assert {r.text: n for r, n in tree.findings.counts.items()} == {reason: 1}
    assert not tree.passed
    assert tree.lmdbs[0].usable == 1
    (example,) = next(iter(tree.findings.examples.values()))
    assert example.record == 2


def test_a_record_of_which_nothing_is_there(tmp_path, make_lmdb, words, found):
    cat, dog = words("cat", "dog")
    make_lmdb(tmp_path / "set", [cat, (None, None), dog])
    assert found(tmp_path) == {"record is missing, though num-samples counts it": 1}


def test_a_long_label_is_a_warning_and_shown_in_part(tmp_path, make_lmdb, words, check):
    cat, dog, sun = words("cat", "dog", "sun")
    records = [cat, (dog[0], "a" * 10_000), (sun[0], "b" * 25)]
    make_lmdb(tmp_path / "set", records)
    tree = check(tmp_path)
    assert tree.passed
    ((reason, examples),) = tree.findings.examples.items()
    assert reason.text == "label is longer than --batch_max_length"
    assert [e.record for e in examples] == [2]
    assert "10,000 characters" in examples[0].detail
    assert len(examples[0].detail) < 100


def test_characters_outside_of_the_charset_are_counted(tmp_path, make_lmdb, words, check):
    cat, dog, sun = words("cat", "dog", "sun")
    make_lmdb(tmp_path / "set", [(cat[0], "Caf\u00e9 \u00e9"), (dog[0], "\uff21b"), (sun[0], "!")])
    found = check(tmp_path).findings
    assert found.characters == {"\u00e9": 2, " ": 1, "\uff41": 1, "!": 1}
    assert {r.text: n for r, n in found.counts.items()} == {
        "label has characters outside of the charset": 2,
        "label has no character of the charset": 1,
    }
    assert check(tmp_path, character="94").findings.characters == {
        "\u00e9": 2,
        " ": 1,
        "\uff21": 1,
    }


@pytest.mark.parametrize(
    ("stored", "reason", "fails"),
    [
        (b"[[", "boxes are not valid JSON", True),
        (b"\xff", "boxes are not UTF-8", True),
        (b'[["d", 0, 0, 9, 9]]', "boxes and label disagree", True),
        (b'[["d",0,2,9,18],["o",10,2,19,18],["g",70,2,79,18]]', "box lies outside", True),
        (b'[["d",0,2,9,18],["o",10,-9,19,-1],["g",20,2,29,18]]', "box lies outside", True),
        (b'[["d",0,2,9,18],["o",10,2,19,18],["g",20,2,29,24]]', "box sticks out", False),
        (b'[["d",-2,2,9,18],["o",10,2,19,18],["g",20,2,29,22]]', None, False),
    ],
)
@pytest.mark.parametrize("decode", [True, False])
def test_boxes(stored, reason, fails, decode, tmp_path, make_lmdb, words, check):
    cat, _ = words("cat", "dog")
    make_lmdb(tmp_path / "set", [cat, (cat[0] + b" ", "dog")], boxes_000000002=stored)
    tree = check(tmp_path, decode=decode)
    assert [r.text.startswith(reason) for r in tree.findings.counts] == ([True] if reason else [])
    assert tree.passed is not fails
    # The record itself can be used.
    assert tree.lmdbs[0].usable == 2


def test_boxes_of_an_image_without_a_size(tmp_path, make_lmdb, boxes, found):
    make_lmdb(tmp_path / "set", [(b"no image", "cat")], boxes_000000001=boxes("cat"))
    assert found(tmp_path, decode=False) == {"image can't be decoded": 1}


def test_boxes_agree_in_the_charset(tmp_path, make_lmdb, words, boxes, found):
    ((image, _),) = words("cat")
    make_lmdb(tmp_path / "set", [(image, "It's")], boxes_000000001=boxes("its"))
    assert found(tmp_path) == {"label has characters outside of the charset": 1}
    assert "boxes and label disagree" in found(tmp_path, character="94")


def test_pickled_labels_are_read(tmp_path, make_lmdb, words, found):
    cat, dog, sun = (image for image, _ in words("cat", "dog", "sun"))
    far = official("ab", "ab").replace(b"[[10, 2]", b"[[90, 2]").replace(b"[19, 18]", b"[99, 18]")
    make_lmdb(
        tmp_path / "set", [(cat, official("cat", "cat")), (dog, official("dog", "do")), (sun, far)]
    )
    assert found(tmp_path) == {
        "boxes and label disagree": 1,
        "box lies outside of the image": 1,
    }
