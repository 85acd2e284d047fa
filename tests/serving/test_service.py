"""The service, started as people start it and asked over HTTP."""

from __future__ import annotations

import base64
import io
import os
import signal
import socket
import subprocess
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tifffile

import rareseg
from rareseg.data.masks.mask_run_lengths import decode_counts, decompress_counts

pytestmark = pytest.mark.extras
httpx = pytest.importorskip("httpx")
for _module in ("fastapi", "uvicorn", "prometheus_client", "python_multipart"):
    pytest.importorskip(_module)


def picture(*shape: int, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def png(array: np.ndarray) -> bytes:
    with io.BytesIO() as stream:
        PIL.Image.fromarray(array).save(stream, format="PNG")
        return stream.getvalue()


def send(service, content: bytes, name: str = "a.png", path: str = "/predict", **query):
    files = {"file": (name, content)}
    return httpx.post(f"{service.url}{path}", files=files, params=query, timeout=60)


def test_an_image_in_a_decision_out(service, bright):
    array = picture(40, 56)
    found = rareseg.load(bright)(array)
    said = send(service, png(array)).raise_for_status().json()
    assert said["flagged"] == found.flagged
    assert said["shape"] == [40, 56]
    assert said["image_scores"] == pytest.approx(found.image_scores)
    assert [one["box"] for one in said["objects"]] == [
        [list(side) for side in one.box] for one in found.objects
    ]
    mask = PIL.Image.open(io.BytesIO(base64.b64decode(said["masks"]["crack"])))
    assert np.array_equal(np.asarray(mask) == 255, found.masks["crack"])
    lengths = send(service, png(array), masks="rle").json()["masks"]["crack"]
    assert lengths["size"] == [40, 56]
    decoded = decode_counts(decompress_counts(lengths["counts"]), (40, 56))
    assert np.array_equal(decoded, found.masks["crack"])
    assert "masks" not in send(service, png(array), masks="none").json()


def test_a_batch_answers_for_each_image_though_one_is_damaged(service):
    contents = [png(picture(8, 8)), b"no picture", png(picture(30, 20))]
    files = [("file", (f"{k}.png", one)) for k, one in enumerate(contents)]
    said = httpx.post(f"{service.url}/batch", files=files, timeout=60).json()["images"]
    assert [one.get("shape") for one in said] == [[8, 8], None, [30, 20]]
    assert said[1]["error"].startswith("1.png cannot be read")


def test_what_the_service_is_about(service):
    assert httpx.get(f"{service.url}/health").json() == {"status": "ok"}
    assert httpx.get(f"{service.url}/ready").json() == {"status": "ready"}
    told = httpx.get(f"{service.url}/model").json()
    assert told["regions"]["crack"]["threshold"] == 0.5
    assert told["classes"] == {"background": 0, "crack": 1}
    assert told["computed_by"] == "torch on cpu"
    assert told["version"] == rareseg.__version__


def test_metrics_count_requests_flags_and_scores(service):
    def counts() -> dict[str, float]:
        text = httpx.get(f"{service.url}/metrics").text
        lines = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, value in lines}

    before, said = counts(), send(service, png(picture(24, 24))).json()
    send(service, b"damaged")
    after = counts()

    def grown(name: str) -> float:
        return after.get(name, 0) - before.get(name, 0)

    assert grown("rareseg_images_total") == 1
    flagged = 'rareseg_flagged_images_total{region="crack"}'
    assert grown(flagged) == said["flagged"]["crack"]
    assert grown('rareseg_image_score_count{region="crack"}') == 1
    assert grown('rareseg_requests_total{path="/predict",status="200"}') == 1
    assert grown('rareseg_requests_total{path="/predict",status="422"}') == 1


def bomb(side: int, held: int) -> bytes:
    """A PNG whose header states side x side black pixels, of which ``held`` bytes are there."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data).to_bytes(4, "big")
        return len(data).to_bytes(4, "big") + kind + data + check

    header = chunk(b"IHDR", side.to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0]))
    body = chunk(b"IDAT", zlib.compress(bytes(held)))
    return b"\x89PNG\r\n\x1a\n" + header + body + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "name", "status", "sentence"),
    [
        (b"", "a.png", 422, "a.png cannot be read"),
        (png(picture(20, 20))[:60], "a.png", 422, "a.png cannot be read"),
        (bomb(30_000, 10_000), "a.png", 422, "a.png states 900000000 pixels, for which its"),
        (
            bomb(5_000, 5_000 * 5_001),
            "a.png",
            422,
            "a.png has 25,000,000 pixels, where this service takes 250,000",
        ),
        (png(picture(600, 600)), "a.png", 422, "a.png has 360,000 pixels"),
        (png(picture(20, 20)), "a.exe", 422, "a.exe has a suffix that is not read"),
        (png(picture(20, 20)), "", 422, "file"),
        (b"%!PS-Adobe", "a.png", 422, "a.png cannot be read"),
        (bytes(1_100_000), "a.png", 413, "at most 1,000,000 bytes"),
        (png(picture(20, 20)), "../../etc/b.png", 200, ""),
        (png(picture(20, 20)), "C:\\pictures\\b.png", 200, ""),
    ],
    ids=range(11),
)
def test_a_bad_image_is_one_sentence(service, content, name, status, sentence):
    answer = send(service, content, name)
    assert answer.status_code == status, answer.text
    if status != 200:
        assert sentence in answer.json()["error"]
        assert "Traceback" not in answer.text
        assert "rareseg-upload" not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "sentence"),
    [
        ("POST", "/predict", {}, 422, "form field `file`"),
        ("POST", "/predict", {"json": {"file": 1}}, 422, "form field `file`"),
        ("POST", "/predict", {"data": {"file": "text"}}, 422, "form field `file`"),
        ("POST", "/predict?masks=gif", {"files": {"file": ("a.png", b"")}}, 422, "png, rle or"),
        ("GET", "/predict", {}, 405, "Method Not Allowed"),
        ("GET", "/nowhere", {}, 404, "There is nothing here; POST /predict"),
        (
            "POST",
            "/predict",
            {"content": b"--x", "headers": {"content-type": "multipart/form-data; boundary=y"}},
            400,
            "form field `file`",
        ),
    ],
)
def test_a_bad_request_is_one_sentence(service, method, path, options, status, sentence):
    answer = httpx.request(method, f"{service.url}{path}", **options)
    assert answer.status_code == status, answer.text
    assert sentence in answer.json()["error"]


def test_malformed_bodies_leave_the_service_as_it_was(service, bright):
    rng, whole = np.random.default_rng(0), bytearray(png(picture(40, 40)))
    host, port = service.url.removeprefix("http://").split(":")
    for number in range(200):
        content = bytearray(whole)
        for place in rng.integers(0, len(content), 1 + number % 8):
            content[place] ^= int(rng.integers(1, 256))
        if number % 4 == 0:  # a body that is no form at all, straight onto the line
            with socket.create_connection((host, int(port)), 10) as line:
                head = f"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: {len(content)}\r\n"
                kind = "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
                line.sendall((head + kind).encode() + bytes(content)[: number * 7])
                continue  # stops in the middle
        answer = send(service, bytes(content[: len(content) - number % 30]))
        assert answer.status_code in (200, 422), answer.text
        assert "Traceback" not in answer.text
    array = picture(33, 21)
    said = send(service, png(array), masks="none").raise_for_status().json()
    assert said["flagged"] == rareseg.load(bright)(array).flagged
    log = service.log.read_text(encoding="utf-8")
    assert "Traceback" not in log


def test_the_log_holds_nothing_of_a_request_but_its_hash(service):
    send(service, png(picture(9, 9)), "patient Meier.png", masks="none")
    send(service, b"damaged", "patient Meier.png")
    deadline = time.monotonic() + 10
    while (log := service.log.read_text(encoding="utf-8")).count("/predict 422") < 1:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert "POST /predict 200" in log
    assert "Meier" not in log
    assert "127.0.0.1" not in log.replace(service.url, "")


def test_overload_is_refused_and_nothing_is_lost(service, bright):
    pictures = [picture(300, 300, seed=k) for k in range(24)]
    expected = [rareseg.load(bright)(one).flagged for one in pictures]

    def insistent(array: np.ndarray) -> tuple[dict[str, bool], int]:
        """Send until it is taken."""
        for refusals in range(600):
            answer = send(service, png(array), masks="none")
            if answer.status_code != 429:
                return answer.raise_for_status().json()["flagged"], refusals
            assert answer.headers["retry-after"] == "1"
            assert "4 requests wait already" in answer.json()["error"]
            time.sleep(0.05)
        raise AssertionError("never taken")

    with ThreadPoolExecutor(12) as senders:
        answers = list(senders.map(insistent, pictures))
    assert [flagged for flagged, _ in answers] == expected
    assert sum(refusals for _, refusals in answers) > 0


def test_the_client_of_the_examples(service, bright, tmp_path):
    array = picture(40, 56)
    (tmp_path / "photo.png").write_bytes(png(array))
    (tmp_path / "broken.png").write_bytes(b"no picture")

    def run(name: str) -> subprocess.CompletedProcess[str]:
        script = Path(__file__).parents[2] / "examples" / "service_client.py"
        command = [sys.executable, str(script), service.url, str(tmp_path / name)]
        return subprocess.run(command, capture_output=True, encoding="utf-8", check=False)

    found = rareseg.load(bright)(array)
    assert f"{found.masks['crack'].sum()} pixels" in run("photo.png").stdout
    refused = run("broken.png")
    assert refused.returncode == 1
    assert refused.stderr.startswith("422: broken.png cannot be read")


def test_an_image_of_any_format_is_refused_before_its_values_are_read(start, bright, tmp_path):
    stream = io.BytesIO()
    deep = np.zeros((4, 1000, 1000))  # 32 MB, which deflate makes 32 KB of
    tifffile.imwrite(stream, deep, compression="zlib", photometric="minisblack")
    with start(bright, tmp_path, "--memory", "20MB") as service:
        answer = send(service, stream.getvalue(), "a.tif")
    assert answer.status_code == 422
    assert "a.tif" in answer.json()["error"]
    assert "where --memory allows 19.1 MiB" in answer.json()["error"]


def test_a_token_is_asked_for_where_one_is_set(start, bright, tmp_path):
    with start(bright, tmp_path, env={"RARESEG_TOKEN": "s3cret"}) as service:
        assert httpx.get(f"{service.url}/health").status_code == 200
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "s3cret"}):
            for path in ("/model", "/metrics", "/ready"):
                answer = httpx.get(f"{service.url}{path}", headers=headers)
                assert answer.status_code == 401
                assert "token" in answer.json()["error"]
        good = {"authorization": "Bearer s3cret"}
        assert httpx.get(f"{service.url}/model", headers=good).status_code == 200
    assert "s3cret" not in service.log.read_text(encoding="utf-8")


def test_what_is_being_answered_is_finished_when_the_service_ends(start, bright, tmp_path):
    with start(bright, tmp_path, "--megapixels", "10", "--threads", "1") as service:
        httpx.get(f"{service.url}/health")
        with ThreadPoolExecutor(1) as sender:
            answer = sender.submit(send, service, png(picture(1500, 1500)), masks="none")
            time.sleep(0.5)
            service.process.send_signal(signal.SIGTERM)
            assert answer.result().raise_for_status().json()["shape"] == [1500, 1500]
        assert service.process.wait(30) in (0, -signal.SIGTERM)


def test_an_answer_that_takes_too_long_is_given_up(start, bright, tmp_path):
    with start(bright, tmp_path, "--seconds", "0.2", "--threads", "1") as service:
        answer = send(service, png(picture(3000, 3000)), masks="none")
        assert answer.status_code == 503
        assert "No answer within 0.2 s" in answer.json()["error"]
        assert httpx.get(f"{service.url}/health").status_code == 200


def test_a_request_that_does_not_arrive_is_given_up(start, bright, tmp_path):
    with start(bright, tmp_path, "--seconds", "0.5") as service:
        host, port = service.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), 10) as line:
            line.sendall(
                b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n"
                b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b"
            )
            assert b" 408 " in line.recv(100)


def test_a_worker_that_is_killed_is_replaced(start, bright, tmp_path):
    with start(bright, tmp_path, "--workers", "2", "--threads", "1") as service:
        expected = rareseg.load(bright)(picture(20, 20)).flagged

        def answered() -> bool:
            try:
                answer = send(service, png(picture(20, 20)), masks="none")
            except httpx.TransportError:
                return False
            return answer.raise_for_status().json()["flagged"] == expected

        deadline = time.monotonic() + 120
        while not answered():
            assert time.monotonic() < deadline
            time.sleep(0.5)
        workers = _children(service.process.pid)
        os.kill(workers[0], signal.SIGKILL)
        while (now := _children(service.process.pid)) == workers or len(now) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        while not all(answered() for _ in range(6)):
            assert time.monotonic() < deadline
            time.sleep(0.5)
        assert "rareseg_images_total" in httpx.get(f"{service.url}/metrics").text


def _children(process: int) -> list[int]:
    """Return the processes that answer: children that run Python's spawned main."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            command = (entry / "cmdline").read_bytes()
        except (OSError, ValueError, IndexError):
            continue  # it has ended meanwhile
        if parent == process and b"spawn_main" in command:
            found.append(int(entry.name))
    return sorted(found)


def test_two_services_on_one_port_are_one_sentence(service, bright):
    port = service.url.rsplit(":", 1)[1]
    command = [sys.executable, "-m", "rareseg", "serve", str(bright), "--port", port]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 2
    assert f"--port {port} cannot be used" in done.stderr
    assert "Traceback" not in done.stderr


def test_channels_in_files_of_their_own(start, model_file, tmp_path):
    model = model_file(tmp_path / "bundle", channels=2)
    first, second = picture(20, 24), picture(20, 24, seed=4)
    with start(model, tmp_path) as service:
        files = [("file", ("1.png", png(first))), ("file", ("2.png", png(second)))]
        said = httpx.post(f"{service.url}/predict?masks=rle", files=files, timeout=60).json()
        expected = rareseg.load(model)(np.stack([first, second], axis=-1)).masks["crack"]
        lengths = decompress_counts(said["masks"]["crack"]["counts"])
        assert np.array_equal(decode_counts(lengths, (20, 24)), expected)
        assert (
            "1 channels, but the model was trained on 2"
            in send(service, png(first)).json()["error"]
        )


def test_a_volume_is_answered_slice_by_slice(start, model_file, tmp_path):
    model = model_file(tmp_path / "bundle", dimension=3)
    volume = picture(6, 20, 24)
    with io.BytesIO() as stream:
        np.save(stream, volume)
        content = stream.getvalue()
    with start(model, tmp_path) as service:
        said = send(service, content, "a.npy").raise_for_status().json()
    expected = rareseg.load(model)(volume).masks["crack"]
    shown = [PIL.Image.open(io.BytesIO(base64.b64decode(one))) for one in said["masks"]["crack"]]
    assert np.array_equal(np.stack([np.asarray(one) == 255 for one in shown]), expected)
