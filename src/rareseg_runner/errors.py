"""The errors of reading an image, of running a model and of deciding.

Each message is one sentence that names the file or setting, what was met, what is allowed and the
remedy. :mod:`rareseg.errors` draws the whole tree.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RaresegError(Exception):
    """The root of all errors that are meant for the user's eyes."""

    exit_code = 1


class UsageError(RaresegError):
    """The call is wrong: an argument, an option or a setting."""

    exit_code = 2


class OutputError(UsageError):
    """The output place exists and holds something that must not be overwritten."""


class WorkError(RaresegError):
    """The call is right, but the work could not be done."""


class DataError(WorkError):
    """The data cannot be used as they are."""


class ReadError(DataError):
    """One file cannot be read or holds what no image or mask may hold."""


class BundleError(WorkError):
    """A model bundle is missing, incomplete or damaged."""


class ScoreError(WorkError):
    """Scores or references cannot be evaluated."""


def nearest(word: str, allowed: Iterable[str]) -> str:
    """Return " (did you mean 'x'?)" for the allowed word nearest to ``word``, or nothing."""
    matches = difflib.get_close_matches(word, list(allowed), n=1, cutoff=0.5)
    return f" (did you mean '{matches[0]}'?)" if matches else ""
