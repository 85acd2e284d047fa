"""Faults that are planted, to see that the fuzzer sees them."""

from __future__ import annotations

import os
import time

from fuzz.targets import Tried
from fuzz.worker import Outcome, Places


def try_planted(tried: Tried, places: Places) -> Outcome:
    """Do what the content says."""
    if tried.content == b"raise":
        raise KeyError("planted")
    if tried.content == b"sleep":
        time.sleep(60)
    if tried.content == b"memory":
        return Outcome("read", detail=str(len(bytearray(os.urandom(1)) * (1200 << 20))))
    if tried.content == b"outside":
        (places.here / "note.txt").write_text("planted")
    if tried.content == b"die":
        os.abort()
    return Outcome("read")


def try_brightest(tried: Tried, places: Places) -> Outcome:
    """Fail at every content with a byte of 255."""
    if b"\xff" in tried.content:
        raise ValueError("planted")
    return Outcome("refused")
