"""One small data set that the tests of comparisons share."""

from __future__ import annotations

from pathlib import Path

import pytest

from rareseg.data.specks import SpecksSettings, write_specks

SHARED = {
    "loss.presence": 0.0,
    "split.train": 0.4,
    "split.select": 0.3,
    "split.test": 0.3,
    "sampling.patch_size": [32, 32],
    "sampling.batch_size": 4,
    "network.width": [4, 8, 8],
    "training.learning_rate": 0.02,
    "training.threads": 1,
}


@pytest.fixture(scope="session")
def plates(tmp_path_factory) -> Path:
    """30 small plates, half of them empty."""
    easy = SpecksSettings(
        images=30, size=64, contrast=8.0, foreground_share=0.06, distractors=1, seed=1
    )
    return write_specks(tmp_path_factory.mktemp("plates") / "data", easy)


@pytest.fixture(scope="session")
def shared():
    """`--set` of what all rows share; keyword values replace others."""

    def arguments(**other: object) -> list[str]:
        values = SHARED | {key.replace("__", "."): value for key, value in other.items()}
        return [part for key, value in values.items() for part in ("--set", f"{key}={value}")]

    return arguments
