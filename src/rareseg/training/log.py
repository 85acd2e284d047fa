"""Log a training: CSV files and TensorBoard events."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from torch.utils.tensorboard import SummaryWriter

from rareseg.errors import RunError
from rareseg_runner.atomic_files import atomic_write, naming

STEP_COLUMNS = ("step", "loss", "learning_rate", "gradient_norm", "seconds", "waiting_share")
VALIDATION_COLUMNS = ("step", "score", "best")

MOST_WAITING = 0.05
"""The share of the time that a training loop may wait for data before it is worth a word."""


class TrainingLog:
    """The log of one run in ``folder``: ``steps.csv``, ``validations.csv`` and TensorBoard events.

    Opened again at ``first_step`` it drops the rows beyond, which a killed run may have left, so
    that the log of a resumed run reads like that of an uninterrupted one.
    """

    def __init__(self, folder: Path, *, first_step: int) -> None:
        self._folder = folder
        self._steps = _Table(folder / "steps.csv", STEP_COLUMNS, first_step)
        self._validations = _Table(folder / "validations.csv", VALIDATION_COLUMNS, first_step)
        with naming(folder):
            self._tensorboard = SummaryWriter(str(folder / "tensorboard"), purge_step=first_step)

    def __enter__(self) -> TrainingLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with naming(self._folder):
            self._tensorboard.close()

    def step(self, step: int, **values: float) -> None:
        """Note the values of :data:`STEP_COLUMNS` (less the step) after ``step`` steps."""
        self._steps.add((step, *(values[name] for name in STEP_COLUMNS[1:])))
        with naming(self._folder):
            for name, value in values.items():
                self._tensorboard.add_scalar(f"training/{name}", value, step)

    def validation(self, step: int, *, score: float, best: float) -> None:
        """Note one scoring of the validation cases after ``step`` steps."""
        self._validations.add((step, score, best))
        with naming(self._folder):
            self._tensorboard.add_scalar("validation/score", score, step)


def describe_waiting(share: float, *, workers: int) -> str | None:
    """Return what to change where the loop waits for data for more than 5 % of its time.

    ``share``, 0…1, is that of the wait, ``workers`` are the processes that cut patches. ``None``:
    there is nothing to change.
    """
    if share <= MOST_WAITING:
        return None
    more = f"more training.workers than {workers}" if workers else "training.workers=2"
    return (
        f"training waits for patches {100 * share:.0f} % of the time (over {100 * MOST_WAITING:.0f}"
        f" % is too much): begin the run with {more} if the machine has idle cores, with fewer "
        "training.threads if it has none, or with --out on a faster disk if the store is larger "
        "than the memory"
    )


def read_table(path: Path) -> dict[str, list[float]]:
    """Read one of the journal's CSV files into columns; a missing file gives no columns.

    Raises RunError for a damaged one.
    """
    if not path.is_file():
        return {}
    with _whole(path), path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
        return {name: [float(row[name]) for row in rows] for name in (rows[0] if rows else ())}


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    """Turn what a damaged table raises into a RunError that names it."""
    try:
        yield
    except (ValueError, TypeError, csv.Error) as error:
        raise RunError(
            f"{path} is damaged ({error}); remove it, or train into another folder."
        ) from error


class _Table:
    """A CSV file that only grows."""

    def __init__(self, path: Path, columns: tuple[str, ...], first_step: int) -> None:
        self._path = path
        kept: list[list[str]] = []
        if path.is_file():
            with _whole(path), path.open(newline="", encoding="utf-8") as file:
                # A row cut short by a kill has too few fields.
                whole = [row for row in list(csv.reader(file))[1:] if len(row) == len(columns)]
                kept = [row for row in whole if int(row[0]) <= first_step]
        with atomic_write(path) as temporary, temporary.open("w", newline="") as file:
            csv.writer(file).writerows([columns, *kept])

    def add(self, row: tuple[float, ...]) -> None:
        with naming(self._path), self._path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(
                [value if isinstance(value, int) else f"{value:.6g}" for value in row]
            )
