"""Give memory that is no longer used back to the system, between the stages of a run."""

from __future__ import annotations

import ctypes
import gc
import sys


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
