"""Save and load the state of a training as plain tensors and numbers."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import torch

from rareseg.errors import RunError
from rareseg_runner.atomic_files import atomic_write

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

State = dict[str, Any]


def save_state(path: Path, state: State) -> None:
    """Write ``state`` so that a kill in the middle leaves the previous file whole.

    Raises :class:`WorkError` where it cannot be written, as on a full disk.
    """
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        keeper = _ErrorKeeper(file)
        with io.BufferedWriter(keeper) as target:
            torch.save(state, target)
        if keeper.error is not None:
            raise keeper.error


class _ErrorKeeper(io.RawIOBase):
    """A file to write to that keeps the first error of the disk, and then takes what is left.

    torch hides such an error behind one of its own. A copy of the state in memory, written at once,
    would let it through too, and would take as much memory as the state.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def writable(self) -> bool:
        """Whether bytes are taken: always."""
        return True

    def write(self, content: ReadableBuffer, /) -> int:
        """Write all of the bytes, and return how many they are."""
        if self.error is None:
            try:
                self._file.write(content)
            except OSError as error:
                self.error = error
        return memoryview(content).nbytes


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
