"""One small run on specks that the tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from rareseg.data.builtin.specks import SpecksSettings, write_specks


@pytest.fixture(scope="session")
def finished(specks, call, settings, tmp_path_factory) -> Path:
    """A finished run on the specks; tests that change it take a copy."""
    run = tmp_path_factory.mktemp("finished") / "run"
    called = call("train", specks, "--out", run, *settings())
    assert called.code == 0, called.err
    return run


@pytest.fixture(scope="session")
def plates(tmp_path_factory) -> Path:
    """40 small plates, half of them empty, so that five groups of each kind can be set apart."""
    easy = SpecksSettings(
        images=40, size=64, contrast=8.0, foreground_share=0.06, distractors=1, seed=2
    )
    return write_specks(tmp_path_factory.mktemp("plates") / "data", easy)


@pytest.fixture(scope="session")
def tell(settings):
    """Settings of a network that also says which images hold anything; keywords replace others."""
    telling = {
        "loss__presence": 1.0,
        "network__encoder": "none",
        "network__norm": "batch",
        "network__width": [8, 16, 16],
        "sampling__batch_size": 8,
        "split__train": 0.35,
        "split__validation": 0.4,
        "split__test": 0.25,
        "training__learning_rate": 0.01,
        "training__steps": 240,
    }
    return lambda **other: settings(**(telling | other))


@pytest.fixture(scope="session")
def telling(plates, call, tell, tmp_path_factory) -> Path:
    """A finished run whose network tells the presence; tests that change it take a copy."""
    run = tmp_path_factory.mktemp("telling") / "run"
    called = call("train", plates, "--out", run, *tell())
    assert called.code == 0, called.err
    return run
