"""What is reached with few labels? Outer cross-validation by group, whole images, empties counted.

Every group is tested once, by a model that was trained, and whose operating point was chosen, on
the other folds alone. A run is one row on one fold with one seed and leaves one JSON; what stands
there is not run again, so that the script can be stopped and called anew. README.md of this folder
says what is counted.

    python benchmarks/few_labels.py run --out results --only planned --folds 0,1
    python benchmarks/few_labels.py table --out results
    python benchmarks/few_labels.py pictures --out results --only planned
    python benchmarks/few_labels.py development --out results --name paste --set a.b=c --steps 600
    python benchmarks/few_labels.py development-table --out results

`development` trains inside the learning part of one outer fold and never opens what that fold
tests: recipes are compared there, and the outer folds are run once, at the end.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import few_labels_development as development
import torch
from few_labels_data import SETS, Folds, divide
from few_labels_pictures import draw_pictures
from few_labels_results import (
    count_cases,
    differences_to_own,
    pack_masks,
    read_json,
    source_version,
    write_json,
)
from few_labels_rivals import RIVALS
from few_labels_rows import ROWS, Row, Task
from few_labels_table import table_lines

from rareseg.errors import RaresegError

ALL_ROWS = ROWS | RIVALS


@dataclass(frozen=True)
class Run:
    """One row on one outer fold with one seed."""

    folds: Folds
    row: Row
    fold: int
    seed: int
    budget: str | None
    steps: int | None
    threads: int
    settings: tuple[str, ...]
    out: Path

    @property
    def length(self) -> str:
        """How long is learnt, as it stands in names of files."""
        return f"{self.steps}steps" if self.budget is None else self.budget

    @property
    def result(self) -> Path:
        """The JSON of the run."""
        name = f"fold{self.fold}_seed{self.seed}_{self.length}.json"
        return self.out / "results" / self.folds.folder.name / self.row.name / name

    @property
    def work(self) -> Path:
        """The folder in which the row works."""
        inside = self.result.relative_to(self.out / "results").with_suffix("")
        return self.out / "work" / inside

    def asked(self) -> dict[str, Any]:
        """Return what must be the same where a result stands already."""
        return {
            "row": self.row.name,
            "row_settings": [*self.folds.data.settings, *self.row.settings, *self.settings],
            "row_settings_if_known": list(self.row.if_known),
            "data": self.folds.folder.name,
            "folds": self.folds.digest,
            "fold": self.fold,
            "seed": self.seed,
            "length": self.length,
            "threads": self.threads,
        }


def do_run(run: Run) -> str:
    """Learn, predict, count and write one run, unless it stands there; returns a line about it.

    Raises RaresegError where it fails, or where a result of other settings stands there.
    """
    if run.result.is_file():
        known = read_json(run.result)["asked"]
        changed = {k: v for k, v in run.asked().items() if known.get(k) != v}
        if changed:
            raise RaresegError(
                f"{run.result} was made with other settings ({', '.join(changed)}); choose another "
                "--out, or remove it."
            )
        return f"{run.result} stands already"
    learns, tested = run.folds.outer(run.fold)
    task = Task(
        run.folds.data,
        learns,
        tested,
        run.work,
        run.budget,
        run.steps,
        run.seed,
        run.threads,
        run.settings,
    )
    version = source_version()
    outcome = run.row.learn(run.row, task)
    cases, classes = run.folds.tested(run.fold), run.folds.fingerprint.classes
    records = count_cases(outcome, cases, run.folds.notes, classes)
    pack_masks(outcome, cases, classes, run.result.with_suffix(".npz"))
    own = outcome.own_cases
    write_json(
        run.result,
        {
            "asked": run.asked(),
            "command": outcome.command,
            "settings": list(outcome.settings),
            "rareseg": version,
            "machine": {
                "cores": os.cpu_count(),
                "processor": platform.machine(),
                "torch": torch.__version__,
                "threads": run.threads,
            },
            "steps": outcome.steps,
            "seconds": outcome.seconds,
            "resumed": outcome.resumed,
            "points": {region: dict(point) for region, point in outcome.points.items()},
            "about": dict(outcome.about),
            "against_own_cases": None if own is None else differences_to_own(own, records),
            "cases": records,
        },
    )
    _trim(run.work)
    return f"{run.result}: {outcome.steps} steps, {outcome.seconds:.0f} s"


def _trim(work: Path) -> None:
    """Remove what only an unfinished run needs: the store and the state of training."""
    for store in work.glob("**/store"):
        shutil.rmtree(store)
    for state in work.glob("**/training/**/*.pt"):
        state.unlink()


def run_all(
    jobs: Sequence[Any], do: Callable[[Any], str], *, parallel: int, names: Callable[[Any], str]
) -> int:
    """Do every job, ``parallel`` at a time, and return how many failed; failures are told."""
    failed = 0

    def attempt(job: Any) -> str | None:
        try:
            print(do(job), flush=True)
        except (RaresegError, OSError) as error:
            return f"{names(job)} failed: {error}"
        return None

    with ThreadPoolExecutor(parallel) as pool:
        for told in pool.map(attempt, jobs):
            if told is not None:
                failed += 1
                print(told, file=sys.stderr, flush=True)
    return failed


def main() -> None:
    """Do what the sub-command says; the exit code is 1 where a run failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    outer = commands.add_parser("run", help="train and test rows on outer folds")
    inner = commands.add_parser("development", help="try a recipe within one outer fold")
    table = commands.add_parser("table", help="print what is done, as Markdown")
    drawn = commands.add_parser("pictures", help="draw what is found, missed and falsely alarmed")
    tried = commands.add_parser("development-table", help="print what was tried, as Markdown")
    for each in (outer, inner, table, drawn, tried):
        each.add_argument("--out", type=Path, required=True)
        each.add_argument("--sets", default="magnetic-tile", help=f"of {', '.join(SETS)}")
        each.add_argument("--limit", type=int, default=0, help="groups of each kind; 0: all")
    for each in (outer, inner, drawn):
        each.add_argument("--data", type=Path, default=Path(os.environ.get("RARESEG_DATA", ".")))
    for each in (outer, inner):
        each.add_argument("--budget", help="in place of the data set's own, such as 10min")
        each.add_argument("--steps", type=int, help="in place of a budget")
        each.add_argument("--threads", type=int, default=os.cpu_count())
        each.add_argument("--parallel", type=int, default=1, help="runs at a time")
        each.add_argument("--seeds", default="0")
    for each in (outer, table, drawn):
        # Rivals need an environment of their own: they run where they are asked for.
        usual = ROWS if each is outer else ALL_ROWS
        known = f"rows, of {', '.join(ALL_ROWS)}"
        each.add_argument("--only", default=",".join(usual), help=known)
    for each in (outer, drawn):
        each.add_argument("--folds", help="outer folds, such as 0,1; all where not given")
    for each in (table, drawn, tried):
        each.add_argument("--length", help="such as 20min or 600steps; all where not given")
    table.add_argument("--regions", default="", help="of the table, comma-separated; 'all'")
    table.add_argument("--alarms", type=float, help="a share at which rows are compared, too")
    outer.add_argument(
        "--set",
        action="append",
        default=[],
        dest="settings",
        metavar="a.b=c",
        help="for every row, to try the script out with a small network, say",
    )
    development.add_options(inner, tried)
    given = parser.parse_args()
    failed = 0
    if given.command in ("run", "development"):
        if given.budget is not None and given.steps is not None:
            parser.error("--budget and --steps both say how long to learn; leave one of them out.")
        os.environ["OMP_NUM_THREADS"] = str(given.threads)
        failed = _outer(given) if given.command == "run" else development.run(given, run_all)
    elif given.command == "table":
        for line in table_lines(given):
            print(line)
    elif given.command == "development-table":
        for line in development.table_lines(given):
            print(line)
    else:
        for path in draw_pictures(given):
            print(path)
    sys.exit(1 if failed else 0)


def _outer(given: argparse.Namespace) -> int:
    """Do the runs that the command line asks for: fold after fold, rows interleaved."""
    jobs = []
    for name in given.sets.split(","):
        data = SETS[name]
        folds = divide(data, given.data, given.out / "folds", limit=given.limit)
        wanted = given.folds or ",".join(map(str, range(data.outer_folds)))
        budget = None if given.steps is not None else given.budget or data.budget
        jobs += [
            Run(
                folds,
                ALL_ROWS[row],
                fold,
                seed,
                budget,
                given.steps,
                given.threads,
                tuple(given.settings),
                given.out,
            )
            for seed in map(int, given.seeds.split(","))
            for fold in map(int, wanted.split(","))
            for row in given.only.split(",")
        ]
    return run_all(jobs, do_run, parallel=given.parallel, names=lambda job: str(job.result))


if __name__ == "__main__":
    main()
