"""The state of a training run on disk: plain tensors and numbers, nothing that runs on loading."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from rareseg.data.files import atomic_write
from rareseg.errors import RunError

State = dict[str, Any]


def save_state(path: Path, state: State) -> None:
    """Write ``state`` so that a kill in the middle leaves the previous file whole."""
    with atomic_write(path) as temporary:
        torch.save(state, temporary)


def load_state(path: Path) -> State | None:
    """Read a state, or return ``None`` where there is none yet.

    Raises :class:`RunError` for a file that is damaged or holds more than tensors and plain
    values, which is never unpickled.
    """
    if not path.is_file():
        return None
    try:
        state: State = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise RunError(
            f"{path} cannot be read as a checkpoint ({type(error).__name__}); "
            "delete it to start this run from the beginning."
        ) from error
    return state
