"""Records of problems and warnings of a data set, each of a named kind."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

ProblemKind = Literal[
    "data",
    "no positive case",
    "absent class",
    "no groups",
    "look-alikes",
    "inverted masks",
    "blurred masks",
    "numbered objects",
    "palettes",
    "void rim",
    "overlap",
    "changed masks",
    "contradiction",
    "grey and colour",
    "intensities",
    "unread files",
]
"""``data`` is whatever nothing in the program asks for by its kind."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, or odd, in words for the user.

    ``where`` names the case, file or class that it is about, "" for the data set as a whole.
    ``option`` is the option of the command line that answers it, "" where there is none: a warning
    with an option is a question, and stops a training until it is answered.
    """

    kind: ProblemKind
    text: str
    where: str = ""
    option: str = ""

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

    def problem(
        self, text: str, *, kind: ProblemKind = "data", where: str = "", option: str = ""
    ) -> None:
        """Add what stops everything but looking at the data."""
        self.problems.append(Problem(kind, text, where, option))

    def warn(
        self, text: str, *, kind: ProblemKind = "data", where: str = "", option: str = ""
    ) -> None:
        """Add what may be meant; with an option, it stops a training until it is answered."""
        self.warnings.append(Problem(kind, text, where, option))


def other_than(problems: Iterable[Problem], kinds: Collection[ProblemKind]) -> list[Problem]:
    """Return the problems of other kinds than those that do no harm here."""
    return [problem for problem in problems if problem.kind not in kinds]


FROM = 3
"""From so many sentences on, one fault of many files is said once."""
_PATH = re.compile(r"\S*[/\\].*?\.[A-Za-z0-9.]{1,8}(?=[\s,;:)'\"]|$)|\S*[/\\]\S*")
_VARIES = re.compile(r"'[^']*'|\(did you mean[^)]*\)|[\w.\-]*\d[\w.\-]*")


def summarise(problems: Iterable[object]) -> list[str]:
    """Return one line for each fault, in the order of the first sentence about it.

    Sentences that differ in names and numbers alone are one fault: from ``FROM`` of them on the
    first is shown, with their number and a second example.
    """
    alike: defaultdict[str, list[str]] = defaultdict(list)
    for problem in problems:
        text = str(problem)
        alike[_fault(text)].append(text)
    lines: list[str] = []
    for texts in alike.values():
        lines += texts if len(texts) < FROM else [_together(texts)]
    return lines


def _fault(text: str) -> str:
    """Return a sentence without its names and numbers."""
    return " ".join(_VARIES.sub("", _PATH.sub("", text)).split())


def _together(texts: Sequence[str]) -> str:
    found = _PATH.search(texts[1]) or _VARIES.search(texts[1])
    second = f", such as {found[0]}" if found else ""
    return f"{len(texts)} times: {texts[0]} So it is with {len(texts) - 1} more{second}."
