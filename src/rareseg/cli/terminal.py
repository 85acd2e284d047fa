"""Print progress, news, results and errors."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from rareseg.errors import ProblemsError, RaresegError
from rareseg.progress import nothing

if TYPE_CHECKING:
    from rareseg.data.checks.fingerprint import Fingerprint
    from rareseg.data.records import Dataset
    from rareseg.decision.guarantees.guarantee_search import GuaranteedPoint
    from rareseg.decision.operating_point import Infeasible, OperatingPoint
    from rareseg.run.outputs.evaluation_files import Evaluation

T = TypeVar("T")


def bar(
    items: Iterable[T], description: str, total: int, *, note: Callable[[], str] = nothing
) -> Iterator[T]:
    """Draw a progress bar on standard error while the items pass, with what ``note`` says."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column
    from rich.text import Text

    class NoteColumn(ProgressColumn):
        """What is done, and the note, which is asked for whenever the bar is drawn."""

        def render(self, task: Task) -> Text:
            told = note()
            return Text(f"{task.description} · {told}" if told else task.description)

    bar = Progress(
        NoteColumn(table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
        BarColumn(bar_width=14),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        redirect_stdout=False,
        expand=True,
    )
    with bar:
        yield from bar.track(items, total=total, description=description)


def say_to(as_json: bool) -> Callable[[str], None]:
    """Return who takes a line of news: standard error where standard output is for machines."""

    def say(line: str) -> None:
        print(line, file=sys.stderr if as_json else sys.stdout, flush=True)

    return say


def print_line(line: str) -> None:
    """Print a line of the result on standard output."""
    print(line, flush=True)  # noqa: T201


def print_json(content: Any) -> None:
    """Print the result for machines on standard output."""
    print_line(json.dumps(content, indent=1, ensure_ascii=False))


def decision_record(found: OperatingPoint | Infeasible | GuaranteedPoint) -> dict[str, Any]:
    """Return a decision as JSON: a point, with its guarantee, or why there is none."""
    from rareseg.decision.operating_point import Infeasible, OperatingPoint

    if isinstance(found, OperatingPoint):
        return found.to_dict()
    if isinstance(found, Infeasible):
        return {
            "infeasible": found.reason,
            "needed_groups": found.needed_groups,
            "best_reachable": found.best_reachable,
        }
    return {**found.point.to_dict(), "guarantee": found.statement.to_dict()}


def complain(error: RaresegError) -> None:
    """Print an error in its one sentence, or every problem of the data, on standard error."""
    if isinstance(error, ProblemsError):
        from rareseg.data.checks.problems import summarise

        for line in summarise(error.problems):
            print(f"- {line}", file=sys.stderr)  # noqa: T201
        count = len(error.problems)
        print(  # noqa: T201
            f"Error: {count} problem{'s' if count > 1 else ''} in the data must be mended first.",
            file=sys.stderr,
        )
        return
    print(f"Error: {error}", file=sys.stderr)  # noqa: T201


def print_failures(lines: Sequence[str]) -> None:
    """Print what could not be done of a work that was done otherwise, on standard error."""
    for number, line in enumerate(lines, start=1):
        mark = "Error: " if number == len(lines) else "- "
        print(f"{mark}{line}", file=sys.stderr)  # noqa: T201


def show(evaluation: Evaluation, as_json: bool, before: Iterable[str] = ()) -> None:
    """Print the scorecard in words, or the written JSON."""
    if as_json:
        record = json.loads(evaluation.scorecard_json.read_text(encoding="utf-8"))
        print_json({**record, "report": str(evaluation.report)})
        return
    for line in (*before, *evaluation.summary):
        print_line(line)
    print_line(f"Report: {evaluation.report.resolve()}")


def show_inventory(dataset: Dataset, fingerprint: Fingerprint, as_json: bool) -> None:
    """Print what inspection found."""
    from rareseg.report.wording.inspection import inventory_lines, inventory_record

    if as_json:
        print_json(inventory_record(dataset, fingerprint))
        return
    for line in inventory_lines(dataset, fingerprint):
        print_line(line)
