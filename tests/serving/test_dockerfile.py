"""The commands of the Dockerfile, run one by one in an empty environment: no base image is here."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import rareseg as rs

httpx = pytest.importorskip("httpx")
pytest.importorskip("fastapi", reason="the extra serve is not installed")

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")

pytestmark = [pytest.mark.extras, pytest.mark.slow]


def instruction(word: str) -> str:
    """Return what follows an instruction that stands there once."""
    (found,) = re.findall(rf"^{word} (.+)$", DOCKERFILE, flags=re.MULTILINE)
    return found


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """Return an environment in which the first RUN was run, on what COPY would have put there."""
    folder = tmp_path_factory.mktemp("image")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir"]
    subprocess.run([*build, folder / "dist", ROOT], check=True)
    wheels = folder / "wheels"
    wheels.mkdir()
    *patterns, target = instruction("COPY").split()
    assert target == "/tmp/wheels/"
    for pattern in patterns:
        found = list((folder if pattern.startswith("dist") else ROOT).glob(pattern))
        assert found, pattern
        for path in found:
            shutil.copy(path, wheels)
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    run = re.findall(r"^RUN (pip .+)$", DOCKERFILE, flags=re.MULTILINE)[0]
    environment = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        "PATH": f"{folder / 'venv' / 'bin'}:{os.environ['PATH']}",
        "TORCH_INDEX": "https://pypi.org/simple",  # no other is reached by a test
    }
    subprocess.run(
        ["sh", "-c", run.replace("/tmp/wheels", str(wheels))], check=True, env=environment
    )
    return folder / "venv" / "bin"


def test_the_image_answers(installed, specks, settings, call, tmp_path):
    pytest.importorskip("openvino", reason="the extra is not installed")
    run, model = tmp_path / "run", tmp_path / "model"
    for command in (
        ("train", specks, "--out", run, *settings()),
        ("export", run, "--out", model, "--engine", "openvino"),
    ):
        called = call(*command)
        assert called.code == 0, called.err
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        word.replace("/model", str(model))
        .replace("0.0.0.0", "127.0.0.1")
        .replace("8000", str(port))
        for word in json.loads(instruction("CMD"))
    ]
    environment = {name: own for name, own in os.environ.items() if name != "PYTHONPATH"}
    environment["PATH"] = f"{installed}:{environment['PATH']}"
    health = instruction("HEALTHCHECK").removeprefix("CMD ").replace(":8000", f":{port}")
    process = subprocess.Popen(command, env=environment, executable=installed / command[0])
    try:
        for _ in range(120):
            done = subprocess.run(["sh", "-c", health], env=environment, capture_output=True)
            if done.returncode == 0:
                break
            time.sleep(0.5)
        assert done.returncode == 0, done.stderr
        expected = rs.load(run)
        for case in rs.open_dataset(specks).cases[:4]:
            files = {"file": (case.images[0].name, case.images[0].read_bytes())}
            said = httpx.post(f"http://127.0.0.1:{port}/predict", files=files, timeout=60).json()
            assert said["flagged"] == expected(case.images[0]).flagged
        told = httpx.get(f"http://127.0.0.1:{port}/model", timeout=60).json()
        assert told["computed_by"].startswith("openvino")
    finally:
        process.terminate()
        assert process.wait(timeout=60) in (0, -signal.SIGTERM)
