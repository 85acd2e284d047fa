"""Turn out-of-memory errors into one sentence, and give freed memory back before there are any."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from rareseg.errors import RunError

CPU_IS_FULL = "can't allocate memory"
"""Part of what torch's allocator of main memory says, which has no class of errors of its own."""


@contextmanager
def full_memory_named() -> Iterator[None]:
    """Raise :class:`RunError` with a remedy where the memory of the device or machine is full."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        full = isinstance(error, MemoryError | torch.OutOfMemoryError) or CPU_IS_FULL in str(error)
        if not full:
            raise
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RunError(
            f"The memory is full ({said}). Smaller sampling.patch_size, sampling.batch_size or "
            "network.width need less in training, a smaller prediction.tile in prediction; begin "
            "again with other settings in another --out."
        ) from error


def give_back_memory() -> None:
    """Return what the objects of a finished stage have freed to the system.

    The C library keeps freed blocks of a few megabytes, as activations are, for later calls; the
    next stage asks for other sizes and takes new memory beside them. Does nothing more than
    collecting garbage where the C library is not glibc.
    """
    gc.collect()
    if sys.platform != "linux":
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
