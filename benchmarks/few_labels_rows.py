"""Define the rows of `few_labels.py`: who learns a fold, with which settings, and what it leaves.

A row is a record with a function. The function takes a `Task`, learns within its minutes or steps,
predicts the tested cases, and returns an `Outcome`: masks in files, score tables, and the points
at which the masks were cut. A tool that is not rareseg becomes a row by one more such function; its
scores of whole images become a table with `rareseg.evaluation.tables.score_table.score_cases`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from few_labels_data import DataSet

from rareseg.errors import RecipeError, WorkError
from rareseg.evaluation.tables.score_table import ScoreTable
from rareseg.evaluation.tables.score_table_io import load_table
from rareseg.prediction.bundle import load_decisions, load_model
from rareseg.recipe import check_values, parse_settings
from rareseg.run.setup.run_folder import RunFolder
from rareseg_runner.atomic_files import atomic_write


@dataclass(frozen=True)
class Task:
    """What one row is asked to learn and to predict, and with what.

    ``learns`` is the manifest of a fold, its held-out cases declared as "test"; ``tested`` is the
    manifest of those alone. Either ``budget`` or ``steps`` says how long to learn. ``settings`` are
    given to every row, as plain ``section.key=value``.
    """

    data: DataSet
    learns: Path
    tested: Path
    folder: Path
    budget: str | None
    steps: int | None
    seed: int
    threads: int
    settings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What a row leaves of a fold.

    ``masks/REGION/ID.ext`` are the final masks of the tested cases at the row's own points;
    ``table`` holds the scores of the same cases, None for a tool that draws masks alone; ``points``
    are the points by region as plain values. ``seconds`` is the time of everything up to the chosen
    point and the row's own evaluation, without the prediction of masks for this benchmark; of a run
    that was ``resumed`` those since the last interruption. ``about`` is anything else that a reader
    may want to know of the model. ``ungated`` says that no image-level gate has a part in the
    masks, so that they are what any gate would let through.
    """

    masks: Path
    table: ScoreTable | None
    points: Mapping[str, Mapping[str, Any]]
    command: str
    settings: tuple[str, ...]
    steps: int
    seconds: float
    resumed: bool
    about: Mapping[str, Any]
    own_cases: Path | None = None
    ungated: bool = False


@dataclass(frozen=True)
class Row:
    """One row of the table: its name, what it is, how it learns, and its settings as plain data.

    ``if_known`` are settings that are left out, and named in the result, where this version of
    rareseg does not know their key.
    """

    name: str
    what: str
    learn: Callable[[Row, Task], Outcome]
    settings: tuple[str, ...] = ()
    if_known: tuple[str, ...] = ()


def learn_rareseg(row: Row, task: Task) -> Outcome:
    """Call `rareseg train` on the fold and `rareseg predict` on its tested cases."""
    known, unknown = _known(row.if_known)
    settings = (
        *task.data.settings,
        *row.settings,
        *known,
        *task.settings,
        f"training.seed={task.seed}",
        f"training.threads={task.threads}",
        *(() if task.steps is None else (f"training.steps={task.steps}",)),
    )
    run = task.folder / "run"
    arguments = ["train", str(task.learns), "--out", str(run)]
    arguments += [] if task.budget is None else ["--budget", task.budget]
    for setting in settings:
        arguments += ["--set", setting]
    seconds, resumed = _trained(arguments, task)
    masks = task.folder / "masks"
    call(
        ["predict", str(run), str(task.tested), "--out", str(masks)],
        task.folder / "predict.log",
        threads=task.threads,
    )
    place = RunFolder(run).bundle
    model, points = load_model(place), load_decisions(place).points
    recipe = model.recipe
    return Outcome(
        masks=masks,
        table=load_table(RunFolder(run).scores("test")),
        points={region: point.to_dict() for region, point in points.items()},
        command=" ".join(["rareseg", *arguments]),
        settings=settings,
        steps=int(model.training.steps),
        seconds=seconds,
        resumed=resumed,
        about={
            "settings_left_out": list(unknown),
            "best_step": model.training.best_step,
            "cases": model.training.cases,
            "members": model.members,
            "recipe": recipe.model_dump(mode="json"),
        },
        own_cases=run / "cases.csv",
    )


def _trained(arguments: list[str], task: Task) -> tuple[float, bool]:
    """Train to the end; returns the seconds, and whether they are those of a resumed call.

    What ended is noted, so that an interruption of what comes after it costs no second evaluation.
    Raises WorkError where it was trained with other arguments.
    """
    note, log = task.folder / "trained.json", task.folder / "train.log"
    if not note.is_file():
        resumed = log.is_file()
        seconds = call(arguments, log, threads=task.threads)
        with atomic_write(note) as temporary:
            told = {"arguments": arguments, "seconds": seconds, "resumed": resumed}
            temporary.write_text(json.dumps(told), encoding="utf-8")
    known = json.loads(note.read_text(encoding="utf-8"))
    if known["arguments"] != arguments:
        raise WorkError(
            f"{task.folder} was trained with other arguments; choose another --out, or remove it."
        )
    return float(known["seconds"]), bool(known["resumed"])


def call(arguments: list[str], log: Path, *, threads: int) -> float:
    """Call the command line of this rareseg and return the seconds; what it says goes to ``log``.

    Raises WorkError with the last lines where the command fails.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "rareseg", *arguments]
    started = time.monotonic()
    with log.open("a", encoding="utf-8") as file:
        print("$", *command, file=file, flush=True)
        done = subprocess.run(
            command,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
            check=False,
        )
    if done.returncode:
        said = log.read_text(encoding="utf-8", errors="replace").splitlines()[-3:]
        raise WorkError(f"rareseg {arguments[0]} failed ({log}): {' '.join(said)}")
    return time.monotonic() - started


def _known(settings: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the settings whose keys this version knows, and the others."""
    known, unknown = [], []
    for setting in settings:
        try:
            check_values(parse_settings([setting]))
        except RecipeError:
            unknown.append(setting)
        else:
            known.append(setting)
    return tuple(known), tuple(unknown)


ROWS = {
    row.name: row
    for row in (
        Row("planned", "rareseg train as it plans by itself", learn_rareseg),
        Row(
            "random_weights",
            "the same, begun from random weights",
            learn_rareseg,
            if_known=("network.encoder=none",),
        ),
    )
}
"""The rows, in the order of the tables; differences are taken to the first of those that ran."""
