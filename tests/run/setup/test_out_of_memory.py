"""Freed memory goes back to the system, where the C library keeps it for later calls."""

import gc
import sys
from pathlib import Path

import numpy as np
import pytest

from rareseg.run.setup.out_of_memory import give_back_memory

BLOCKS, BLOCK = 1024, 64 << 10


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc keeps what was freed like this")
def test_blocks_under_one_that_is_in_use_are_given_back():
    blocks = [np.ones(BLOCK, np.uint8) for _ in range(BLOCKS)]
    last = blocks.pop()
    del blocks
    gc.collect()
    before = resident()
    give_back_memory()
    assert before - resident() > BLOCKS * BLOCK // 2
    assert last.all()
