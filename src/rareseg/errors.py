"""Every error that rareseg raises on purpose.

::

    RaresegError
    ├── UsageError              the call is wrong                      exit code 2
    │   ├── RecipeError         a recipe key or value is not allowed
    │   └── OutputError         the output place holds something else
    └── WorkError               the call is right, the work failed     exit code 1
        ├── DataError           the data cannot be used as they are
        │   ├── ReadError       one file cannot be read
        │   └── ProblemsError   inspection found problems, all listed
        ├── StoreError          a store is missing, stale or damaged
        ├── RunError            a run folder is incomplete or was begun differently
        ├── BundleError         a model bundle is missing or damaged
        └── ScoreError          scores or references cannot be evaluated

Every message is one sentence that names the file or setting, what was met, what is allowed and
the remedy. The command line prints it and exits with ``exit_code``; a traceback appears only with
``--debug``.
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


class RecipeError(UsageError):
    """A recipe holds an unknown key or an impossible value."""


class OutputError(UsageError):
    """The output place exists and holds something that must not be overwritten."""


class WorkError(RaresegError):
    """The call is right, but the work could not be done."""


class DataError(WorkError):
    """The data cannot be used as they are."""


class ReadError(DataError):
    """One file cannot be read or holds what no image or mask may hold."""


class ProblemsError(DataError):
    """Inspection found problems; ``problems`` holds one sentence for each."""

    def __init__(
        self, problems: Iterable[object], *, remedy: str = "`rareseg inspect DATA` lists them all"
    ) -> None:
        self.problems = tuple(str(problem) for problem in problems)
        shown = "; ".join(self.problems[:3])
        more = f"; and {len(self.problems) - 3} more" if len(self.problems) > 3 else ""
        noun = "problem" if len(self.problems) == 1 else "problems"
        super().__init__(f"{len(self.problems)} {noun} in the data: {shown}{more} ({remedy}).")


class StoreError(WorkError):
    """A store is missing, was made from other inputs, or is damaged."""


class RunError(WorkError):
    """A run folder is incomplete or was begun with other settings."""


class BundleError(WorkError):
    """A model bundle is missing, incomplete or damaged."""


class ScoreError(WorkError):
    """Scores or references cannot be evaluated."""


def nearest(word: str, allowed: Iterable[str]) -> str:
    """Return " (did you mean 'x'?)" for the allowed word nearest to ``word``, or nothing."""
    matches = difflib.get_close_matches(word, list(allowed), n=1, cutoff=0.5)
    return f" (did you mean '{matches[0]}'?)" if matches else ""
