"""One small run on specks that the tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from rareseg.data.specks import SpecksSettings, write_specks

SETTINGS = {
    # In so few steps only the outlines are learned, and only gently.
    "loss.presence": 0.0,
    "training.gradient_clip": 1.0,
    "split.train": 0.4,
    "split.select": 0.3,
    "split.test": 0.3,
    "sampling.patch_size": [32, 32],
    "sampling.batch_size": 4,
    "network.width": [4, 8, 8],
    "training.steps": 60,
    "training.learning_rate": 0.02,
    # One thread: on a busy machine more would wait for each other.
    "training.threads": 1,
}


@pytest.fixture(scope="session")
def settings():
    """`--set` for a network that learns something within seconds; keyword values replace others."""

    def arguments(**other: object) -> list[str]:
        values = SETTINGS | {key.replace("__", "."): value for key, value in other.items()}
        return [part for key, value in values.items() for part in ("--set", f"{key}={value}")]

    return arguments


@pytest.fixture(scope="session")
def specks(tmp_path_factory) -> Path:
    """30 small plates, half of them empty, with specks that are easy to see."""
    easy = SpecksSettings(
        images=30, size=64, contrast=8.0, foreground_share=0.06, distractors=1, seed=1
    )
    return write_specks(tmp_path_factory.mktemp("specks") / "data", easy)


@pytest.fixture(scope="session")
def finished(specks, call, settings, tmp_path_factory) -> Path:
    """A finished run on the specks; tests that change it take a copy."""
    run = tmp_path_factory.mktemp("finished") / "run"
    called = call("train", specks, "--out", run, *settings())
    assert called.code == 0, called.err
    return run
