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
``--debug``. Those that a model in use can raise are defined in :mod:`rareseg_runner.errors`.
"""

from __future__ import annotations

from collections.abc import Iterable

from rareseg_runner.errors import BundleError as BundleError
from rareseg_runner.errors import DataError as DataError
from rareseg_runner.errors import OutputError as OutputError
from rareseg_runner.errors import RaresegError as RaresegError
from rareseg_runner.errors import ReadError as ReadError
from rareseg_runner.errors import ScoreError as ScoreError
from rareseg_runner.errors import UsageError as UsageError
from rareseg_runner.errors import WorkError as WorkError
from rareseg_runner.errors import nearest as nearest


class RecipeError(UsageError):
    """A recipe holds an unknown key or an impossible value."""


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
