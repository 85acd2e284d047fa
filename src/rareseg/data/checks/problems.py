"""Records of problems and warnings of a data set, each of a named kind."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

ProblemKind = Literal[
    "data",
    "no positive case",
    "absent class",
    "no groups",
    "look-alikes",
]
"""``data`` is whatever nothing in the program asks for by its kind."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, or odd, in words for the user.

    ``where`` names the case, file or class that it is about, "" for the data set as a whole.
    """

    kind: ProblemKind
    text: str
    where: str = ""

    def __str__(self) -> str:
        return self.text

    @classmethod
    def read(cls, record: dict[str, Any] | str) -> Problem:
        """Return what was written as JSON; earlier versions wrote the text alone."""
        return cls("data", record) if isinstance(record, str) else cls(**record)


@dataclass
class Findings:
    """What inspection finds: problems stop a training, warnings do not."""

    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def problem(self, text: str, *, kind: ProblemKind = "data", where: str = "") -> None:
        """Add what stops a training."""
        self.problems.append(Problem(kind, text, where))

    def warn(self, text: str, *, kind: ProblemKind = "data", where: str = "") -> None:
        """Add what may be meant."""
        self.warnings.append(Problem(kind, text, where))


def other_than(problems: Iterable[Problem], kinds: Collection[ProblemKind]) -> list[Problem]:
    """Return the problems of other kinds than those that do no harm here."""
    return [problem for problem in problems if problem.kind not in kinds]
