"""One small run on specks that the tests share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def finished(specks, call, settings, tmp_path_factory) -> Path:
    """A finished run on the specks; tests that change it take a copy."""
    run = tmp_path_factory.mktemp("finished") / "run"
    called = call("train", specks, "--out", run, *settings())
    assert called.code == 0, called.err
    return run
