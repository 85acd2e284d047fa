"""Save and load the state of a training as plain tensors and numbers."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from rareseg.errors import RunError
from rareseg_runner.atomic_files import atomic_write

State = dict[str, Any]


def save_state(path: Path, state: State) -> None:
    """Write ``state`` so that a kill in the middle leaves the previous file whole.

    Raises :class:`WorkError` where it cannot be written, as on a full disk.
    """
    # torch hides an error of the disk behind one of its own; bytes in memory let it through.
    content = io.BytesIO()
    torch.save(state, content)
    with atomic_write(path) as temporary:
        temporary.write_bytes(content.getbuffer())


def require_state(path: Path, *, beside: str) -> State:
    """Read a state that a training in progress has written; RunError where it is gone.

    ``beside`` is the file without which the training begins anew.
    """
    state = load_state(path)
    if state is None:
        raise RunError(
            f"{path} is gone, which held the weights to be kept; delete {path.with_name(beside)} "
            "too, to train from the beginning."
        )
    return state


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
