"""What the server of the page answers, to good requests and bad ones."""

import base64
import io
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

from models import create_model
from models.onnx_export import export_onnx
from reading import Reader
from reading.onnx_recognition import OnnxRecognition
from web.answers import WordAnswers, count_scans
from web.limits import Limits
from web.server import ADDRESS

pytestmark = pytest.mark.usefixtures("one_thread")

LEVEL = 1.01 / 255  # of a map's values, as they are sent


def grid(values: dict) -> np.ndarray:
    levels = np.frombuffer(base64.b64decode(values["values"]), np.uint8)
    return levels.reshape(values["rows"], values["columns"]) / 255


def assert_same(answer: dict, reading) -> None:
    """An answer says what a reading with attention does."""
    assert answer["text"] == reading.text
    assert answer["granularity"] == reading.granularity
    assert answer["confidence"] == pytest.approx(reading.confidence, rel=1e-3, abs=2e-6)
    assert [r["name"] for r in answer["readings"]] == list(reading.by_granularity)
    for one in answer["readings"]:
        own = reading.by_granularity[one["name"]]
        assert (one["text"], one["stopped"]) == (own.text, own.stopped)
        assert one["confidence"] == pytest.approx(own.confidence, rel=1e-3, abs=2e-6)
        assert one["probabilities"] == pytest.approx(own.probabilities, abs=1e-3)
        assert len(one["pieces"]) == len(one["maps"]) == len(own.ids) + own.stopped
        assert one["chosen"] == (one["name"] == reading.granularity)
        for position, values in enumerate(one["maps"], start=1):
            attention = reading.attention[one["name"]][position]
            assert np.abs(grid(values) - attention / attention.max()).max() < LEVEL
    assert np.abs(grid(answer["coreArea"]) - reading.core_area.clip(0, 1)).max() < LEVEL
    if reading.guided_attention is not None:
        guided = reading.guided_attention
        spread = guided.max() - guided.min()
        stretched = (guided - guided.min()) / spread
        # A spread of little more than rounding shows rounding.
        assert np.abs(grid(answer["guidedAttention"]) - stretched).max() < LEVEL + 1e-5 / spread
        assert answer["guidedAttention"]["low"] == f"{guided.min():.3f}"


@pytest.fixture
def gated(monkeypatch, reader):
    """Batches that are read, and an event without which none is."""
    gate, batches, read = threading.Event(), [], reader.recognition.read

    def wait_and_read(pixels, maps):
        assert gate.wait(60)
        batches.append(len(pixels))
        return read(pixels, maps)

    monkeypatch.setattr(reader.recognition, "read", wait_and_read)
    yield gate, batches
    gate.set()


def until(true) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_twenty_at_once_are_read_in_batches_as_the_reader_reads_them(
    served, gated, words, encode_image
):
    gate, batches = gated
    images = [file.read_bytes() for file in words]
    images += [encode_image(f"w{i}", (60 + i, 20 + i)) for i in range(20 - len(images))]
    with ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(served.read, image) for image in images]
        until(lambda: served.application.requests == 20)
        gate.set()
        answers = [future.result() for future in asked]
    assert [status for status, _ in answers] == [200] * 20
    assert sum(batches) == 20 and len(batches) <= 8 and max(batches) <= 8
    expected = served.reader(images, attention=True)
    for (_, answer), reading in zip(answers, expected, strict=True):
        assert_same(answer, reading)
    assert len({answer["text"] for _, answer in answers}) > 5  # they are no noise


def test_padded_images_are_read_as_the_reader_does_and_say_how_much_they_cover(encode_image):
    torch.manual_seed(2)
    reader = Reader(create_model("acds_str_tiny", keep_ratio=True), "cpu")
    answers = WordAnswers(reader, Limits())
    images = [encode_image("ab", (61, 33)), encode_image("long", (900, 40))]
    made = answers.answers([answers.prepare(image) for image in images])
    for answer, image in zip(made, images, strict=True):
        assert_same(answer, reader(image, attention=True))
    assert [answer["seen"] for answer in made] == [60 / 128, 1]


def test_the_picture_is_the_image_and_small(served):
    pixels = np.zeros((200, 1000, 3), np.uint8)
    pixels[:, 500:] = (250, 20, 20)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "TIFF")  # which browsers don't show
    _, answer = served.read(stream.getvalue())
    picture = Image.open(io.BytesIO(base64.b64decode(answer["image"])))
    assert picture.size == (answer["width"], answer["height"]) == (320, 64)
    left, right = picture.getpixel((10, 30)), picture.getpixel((310, 30))
    assert max(left) < 20 and right[0] > 230 and max(right[1:]) < 40


def test_an_onnx_file_reads_without_maps(serving, tmp_path, encode_image):
    torch.manual_seed(1)
    model = create_model("acds_str_tiny").eval()
    export_onnx(model, tmp_path / "model.onnx")
    reader = Reader(OnnxRecognition(tmp_path / "model.onnx"))
    with serving(reader) as served:
        assert served.ask("GET", "/about")[2]["hasMaps"] is False
        status, answer = served.read(encode_image("word"))
    assert status == 200
    assert answer["text"] == reader(encode_image("word")).text
    assert answer["coreArea"] is answer["guidedAttention"] is None
    assert [one["maps"] for one in answer["readings"]] == [[]]
    assert len(answer["readings"][0]["pieces"]) > 0


def pcx_image() -> bytes:
    stream = io.BytesIO()
    Image.new("L", (9, 9)).save(stream, "PCX")
    return stream.getvalue()


def image_of_many_scans() -> bytes:
    """A progressive JPEG whose last scan is repeated: each is a pass over all its pixels."""
    stream = io.BytesIO()
    Image.new("L", (64, 64), 99).save(stream, "JPEG", progressive=True)
    data = stream.getvalue()
    last, end = data.rindex(b"\xff\xda"), data.rindex(b"\xff\xd9")
    return data[:end] + 200 * data[last:end] + data[end:]


def test_scans_are_those_of_the_picture():
    stream = io.BytesIO()
    Image.new("L", (64, 64), 99).save(stream, "JPEG", comment=b"\xff\xda" * 500)
    assert count_scans(stream.getvalue() + b"\xff\xda" * 500) == 1
    assert count_scans(image_of_many_scans()) > 200
    assert count_scans(b"\xff\xd8\xff\xda") == 1 and count_scans(b"") == 0


def large_image() -> bytes:
    stream = io.BytesIO()
    Image.new("1", (5000, 4000)).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (lambda good: b"", "the file is empty"),
        (lambda good: b"hello", "not an image of a known kind (5 bytes"),
        (lambda good: good[: len(good) // 2], "truncated"),
        (
            lambda good: pcx_image(),
            "it is a PCX file; those that are read are BMP, GIF, JPEG, PNG, PPM, TIFF, WEBP",
        ),
        (lambda good: image_of_many_scans(), "scans, and 100 are the most"),
        (lambda good: large_image(), "it has 5,000 x 4,000 pixels, and 16,777,216 are the most"),
    ],
)
def test_bad_files_get_a_message_and_harm_none(served, encode_image, data, message):
    good = encode_image("word")
    with ThreadPoolExecutor(3) as pool:
        before, bad, after = pool.map(served.read, (good, data(good), good))
    assert bad[0] == 422 and message in bad[1]["error"]
    assert before[0] == after[0] == 200
    assert before[1]["text"] == after[1]["text"]


def test_pixels_are_counted_before_they_are_decoded(served, monkeypatch):
    def decode(*_):
        raise AssertionError("decoded")

    data = large_image()
    monkeypatch.setattr(ImageFile.ImageFile, "load", decode)
    assert "5,000 x 4,000" in served.read(data)[1]["error"]


def slow_parts(number):
    """Of 2,000 bytes each; a sender that goes on after the server knows that it is too much."""
    for _ in range(number):
        yield b"x" * 2000
        time.sleep(0.2)


def test_too_large_an_upload_is_refused_whatever_it_declares(serving, reader, encode_image):
    with serving(reader, limits=Limits(upload_bytes=3000)) as served:
        assert served.read(b"x" * 3000)[0] == 422  # small enough to be looked at
        status, _, answer = served.ask("POST", "/readings", b"x" * 3001)
        assert status == 413 and answer["error"] == (
            "the file is too large: 0.00286 MiB are the most"
        )
        status, _, answer = served.ask(
            "POST", "/readings", slow_parts(4), chunked=True, Transfer_Encoding="chunked"
        )
        assert status == 413 and "too large" in answer["error"]
        assert served.read(encode_image("word"))[0] == 200


def test_an_upload_that_does_not_arrive_is_given_up(serving, reader, encode_image):
    with (
        serving(reader, limits=Limits(receive_seconds=2, requests=1)) as served,
        socket.create_connection((ADDRESS, served.port), timeout=30) as slow,
    ):
        slow.sendall(b"POST /readings HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\nabc")
        assert b" 408 " in slow.recv(4096).split(b"\r\n")[0]
        assert served.read(encode_image("word"))[0] == 200  # its place is free again


def test_more_than_can_wait_are_told_so(serving, reader, gated, encode_image):
    gate, _ = gated
    image = encode_image("word")
    with serving(reader, limits=Limits(requests=2)) as served, ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(served.read, image) for _ in range(3)]
        until(lambda: any(future.done() for future in asked))
        (refused,) = (future.result() for future in asked if future.done())
        assert refused[1]["error"].startswith("2 images are being read already")
        gate.set()
        assert sorted(f.result()[0] for f in asked) == [200, 200, 503]


def test_a_fault_while_reading_is_answered_and_the_next_image_read(
    served, monkeypatch, encode_image
):
    def fail(*_):
        raise RuntimeError("a fault of the model")

    with monkeypatch.context() as patched:
        patched.setattr(served.reader.recognition, "read", fail)
        status, answer = served.read(encode_image("word"))
        assert (status, answer["error"]) == (500, "reading failed; the terminal tells why")
    assert served.read(encode_image("word"))[0] == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example:7860"}, 400),
        ({"Host": "localhost"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),  # another server of this computer
        ({"Host": "localhost:5", "Origin": "http://localhost:5"}, 200),
    ],
)
def test_only_its_own_pages_may_ask(served, encode_image, headers, status):
    assert served.ask("POST", "/readings", encode_image("word"), **headers)[0] == status


def test_other_sites_names_get_not_even_the_page(served):
    assert served.ask("GET", "/", Host="evil.example")[0] == 400
    assert served.ask("GET", "/samples/0", Host="evil.example")[0] == 400


@pytest.mark.parametrize("path", ["/", "/page.js", "/about", "/samples/0", "/none"])
def test_every_answer_forbids_what_the_page_does_not_need(served, path):
    status, headers, _ = served.ask("GET", path)
    assert status == (404 if path == "/none" else 200)
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "*" not in policy
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "Access-Control-Allow-Origin" not in headers


def test_samples_are_given_as_they_are_and_nothing_else(serving, reader, samples, tmp_path):
    gone = tmp_path / "gone.png"
    with serving(reader, [*samples, gone], Limits(samples=3)) as served:
        about = served.ask("GET", "/about")[2]
        assert about["samples"] == ["body.jpg", "cath.jpg", "gone.png"]
        assert served.ask("GET", "/samples/1")[2] == samples[1].read_bytes()
        assert served.ask("GET", "/samples/2")[0] == 404
        assert served.ask("GET", "/samples/3")[0] == 404
        assert served.ask("GET", f"/samples/{'1' * 5000}")[0] == 404
        assert served.ask("GET", "/samples/..%2F..%2Fetc%2Fpasswd")[0] == 404
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/odd\xff.jpg"))
    odd.write_bytes(samples[0].read_bytes())
    with serving(reader, [odd]) as served:
        assert served.ask("GET", "/about")[2]["samples"] == ["odd\\udcff.jpg"]
        assert served.ask("GET", "/samples/0")[2] == samples[0].read_bytes()
    with serving(reader, samples, Limits(samples=1)) as served:
        about = served.ask("GET", "/about")[2]
        assert (about["samples"], about["moreSamples"]) == (["body.jpg"], 1)
