"""Compare strategies on the same cases and steps, on one machine or many."""

from __future__ import annotations

import csv
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rareseg.data.case_files import read_case_image
from rareseg.data.checks.fingerprint import Fingerprint
from rareseg.data.folder_lock import one_writer
from rareseg.data.store.case_labels import read_labels
from rareseg.errors import RaresegError, RunError, UsageError, nearest
from rareseg.evaluation.comparisons.comparison_table import (
    Column,
    Runs,
    comparison_record,
    tabulate_runs,
)
from rareseg.evaluation.comparisons.non_inferiority import (
    NonInferiority,
    check_non_inferiority,
    non_inferiority_record,
)
from rareseg.evaluation.tables.score_table import region_references
from rareseg.progress import Track, silent
from rareseg.report.figures.case_pictures import PictureChoice, take_picture
from rareseg.report.pages.comparison_page import (
    ComparisonContent,
    PictureRow,
    write_comparison_page,
)
from rareseg.report.report_content import CasePicture
from rareseg.report.wording.numbers import count
from rareseg.run.jobs.training_job import evenly
from rareseg.run.setup.prepare import Say, say_nothing
from rareseg.study.comparison_rows import ComparisonRow
from rareseg.study.design import Design, StudyCell, make_design
from rareseg.study.job_queue import DEAD_AFTER, ClaimedJob, JobQueue, State
from rareseg.study.shared_data import (
    Purpose,
    SharedData,
    StudyOptions,
    begin_study,
    find_data,
    helpers,
)
from rareseg.study.study_database import reached
from rareseg.study.study_run import CHOSEN, HALF, CellResult, SliceMask, run_cell
from rareseg_runner.atomic_files import atomic_write

PURPOSE = Purpose("compare.json", "a comparison")
POLL = 5.0
"""Seconds between two looks at the queue while others work."""

SHOWN = 6
"""Test cases that the page shows, positives first."""


@dataclass(frozen=True)
class ComparisonOptions:
    """What a comparison is asked for: rows, and how many times each is trained.

    ``candidate`` is a row that may replace all others if it is not worse than any of them by more
    than ``margin`` in any column, and better in one; "" asks nothing of the kind.
    """

    study: StudyOptions
    rows: tuple[ComparisonRow, ...]
    seeds: int = 1
    folds: int = 1
    candidate: str = ""
    margin: float = 0.01

    def __post_init__(self) -> None:
        names = [row.name for row in self.rows]
        if self.candidate and (self.candidate not in names or len(names) < 2):
            raise UsageError(
                f"--candidate {self.candidate!r} is to be compared with the other rows"
                f"{nearest(self.candidate, names)}; the rows are {', '.join(names)}: name one of "
                "two or more."
            )
        if not 0.0 <= self.margin <= 1.0:
            raise UsageError(f"--margin is {self.margin:g}; it must lie between 0 and 1.")


@dataclass(frozen=True)
class Comparison:
    """A finished comparison and where it was written. ``errors`` lead from failed cells to why.

    ``claims`` are about the candidate, one for each cut; none where none was asked for, or where
    a row is missing.
    """

    columns: tuple[Column, ...]
    claims: tuple[NonInferiority, ...]
    table_csv: Path
    table_json: Path
    page: Path
    errors: Mapping[str, str]


def compare(
    options: ComparisonOptions, out: Path | str, *, track: Track = silent, say: Say = say_nothing
) -> Comparison:
    """Train and judge every cell, and write ``table.csv``, ``table.json`` and ``compare.html``.

    Called again on the same ``out``, or on other machines with the same storage, it goes on with
    what is left; rows and seeds can be added. Returns when every cell is recorded or has failed;
    rows with a failed cell are left out of the table. Raises :class:`UsageError` and
    :class:`~rareseg.errors.RecipeError` for what cannot be compared, :class:`RunError` where the
    comparison was begun with other settings, code or data, or where no row is whole, and as
    :func:`rareseg.run.train.train`.
    """
    out = Path(out)
    with reached(options.study.place(out)[0]):
        work = _prepare(options, out, track, retry_failed=True)
        say(
            f"{count(len(work.cells), 'cell')}: {count(len(work.design.rows), 'row')}, "
            f"{count(options.seeds, 'seed')}, {count(options.folds, 'fold')}"
        )
        with helpers(options.study, _help, options, out):
            _work(work, track, say)
        return _conclude(work, options)


@dataclass(frozen=True)
class _ComparisonWork:
    """A comparison that is ready to be worked on."""

    design: Design
    cells: Mapping[str, StudyCell]
    data: SharedData
    queue: JobQueue
    shown: tuple[str, ...]

    def states(self) -> Counter[State]:
        """Return how many of the cells that are asked for wait, run, are done and have failed."""
        states = self.queue.states()
        return Counter(states[key] for key in self.cells)


def _prepare(
    options: ComparisonOptions, out: Path, track: Track, *, retry_failed: bool
) -> _ComparisonWork:
    """Find what all cells stand on, and queue those that are not queued yet."""
    data = find_data(options.study, out, PURPOSE, track)
    make = partial(
        make_design,
        data.fingerprint,
        options.rows,
        seeds=options.seeds,
        folds=options.folds,
        declared=data.declared(),
    )
    begun = begin_study(options.study, data, PURPOSE, make, _identity)
    data.build(begun.design.base, track)
    cells = {cell.key: cell for cell in begun.design.cells()}
    queue = JobQueue(begun.database)
    queue.enqueue({key: cell.to_dict() for key, cell in cells.items()}, retry_failed=retry_failed)
    return _ComparisonWork(begun.design, cells, data, queue, _shown(data.fingerprint, begun.design))


def _identity(design: Design) -> dict[str, Any]:
    rows = {f"rows.{row}": recipe for row, recipe in design.named_recipes().items()}
    return {**design.identity(), **rows}


def _shown(fingerprint: Fingerprint, design: Design) -> tuple[str, ...]:
    """Return the test cases of the first fold that are shown: positives by size, and negatives."""
    test = [case for case in fingerprint.cases if design.roles[0].get(case.id) == "test"]
    positive = sorted((c for c in test if c.is_positive), key=lambda c: (sum(c.voxels[1:]), c.id))
    negative = [case for case in test if not case.is_positive]
    few = min(len(negative), SHOWN // 3)
    shown = evenly(positive, SHOWN - few) + evenly(negative, few)
    return tuple(case.id for case in shown)


def _help(options: ComparisonOptions, out: Path) -> None:
    """Work on a comparison in a process of its own, without a word."""
    with reached(options.study.place(out)[0]):
        _work(_prepare(options, out, silent, retry_failed=False), silent, say_nothing)


def _work(work: _ComparisonWork, track: Track, say: Say) -> None:
    """Claim cells until none is left, and wait for those that run elsewhere."""
    while True:
        job = work.queue.claim()
        if job is not None:
            _do(work, job, track, say)
        elif work.states().keys() & {State.WAITING, State.RUNNING}:
            time.sleep(POLL)
        else:
            return


def _do(work: _ComparisonWork, job: ClaimedJob, track: Track, say: Say) -> None:
    """Run one cell and record its result, or why there is none."""
    cell = StudyCell.from_dict(job.task)
    if cell.key in work.cells:
        say(f"cell {work.states()[State.DONE] + 1} of {len(work.cells)}: {cell.title}")
    else:
        say(f"a cell that others ask for: {cell.title}")
    shown = work.shown if (cell.seed, cell.fold) == (work.design.seeds[0], 0) else ()
    try:
        with work.queue.alive(job):
            result = run_cell(
                cell,
                work.design.roles[cell.fold],
                work.data,
                work.data.out / "cells" / cell.key[:16],
                shown=shown,
                track=track,
            )
    except RaresegError as error:
        work.queue.fail(job, str(error))
        say(f"{cell.title} failed: {error}")
        return
    except BaseException:
        work.queue.release(job)
        raise
    if work.queue.complete(job, result.to_dict()):
        say(f"{cell.title}: dice {result.mean_dice():.3f} at its chosen point")
    else:
        say(f"{cell.title} was taken over by another worker")


@one_writer("work.data.out", wait_s=DEAD_AFTER)
def _conclude(work: _ComparisonWork, options: ComparisonOptions) -> Comparison:
    """Write the table and the page of what is recorded."""
    out = work.data.out
    records = [record for record in work.queue.records() if record.key in work.cells]
    results = {r.key: CellResult.from_dict(r.result) for r in records if r.result is not None}
    errors = {work.cells[r.key].title: r.error for r in records if r.error is not None}
    whole = [row for row in work.design.rows if _of_row(work, row) <= set(results)]
    if not whole:
        first = next(iter(errors.items()), ("no cell", "nothing was recorded"))
        raise RunError(
            f"No row of {out} is whole: {first[0]} failed ({first[1]}); mend it and call again."
        )
    runs = {
        row: {cut: _by_seed(work, results, row, cut) for cut in (HALF, CHOSEN)} for row in whole
    }
    columns = tabulate_runs(runs)
    claims: tuple[NonInferiority, ...] = ()
    if options.candidate and not errors:
        claims = tuple(
            check_non_inferiority(runs, options.candidate, cut=cut, margin=options.margin)
            for cut in (HALF, CHOSEN)
        )
    comparison = Comparison(
        columns, claims, out / "table.csv", out / "table.json", out / "compare.html", errors
    )
    _write_tables(comparison, work.design, whole)
    content = ComparisonContent(
        title=f"{work.data.dataset.root.name}: {', '.join(whole)}",
        columns=columns,
        claims=claims,
        departures={row: tuple(work.design.departures(row)) for row in whole},
        steps={row: work.design.recipes[row].training.steps for row in whole},
        n_seeds=len(work.design.seeds),
        n_folds=len(work.design.roles),
        overhead=_overhead(results),
        pictures=_pictures(work, results, whole),
        errors=errors,
    )
    write_comparison_page(comparison.page, content)
    return comparison


def _of_row(work: _ComparisonWork, row: str) -> set[str]:
    return {key for key, cell in work.cells.items() if cell.row == row}


def _by_seed(work: _ComparisonWork, results: Mapping[str, CellResult], row: str, cut: str) -> Runs:
    """Return for each seed the measures of all test cases, fold after fold."""
    return [
        [
            line
            for key, cell in work.cells.items()
            if (cell.row, cell.seed) == (row, seed)
            for line in results[key].headlines[cut]
        ]
        for seed in work.design.seeds
    ]


def _overhead(results: Mapping[str, CellResult]) -> float:
    """Return the share of the cells' time that is no training."""
    whole = sum(result.seconds for result in results.values())
    return 1.0 - sum(result.training_seconds for result in results.values()) / max(whole, 1e-9)


def _write_tables(comparison: Comparison, design: Design, rows: Sequence[str]) -> None:
    lines = comparison_record(comparison.columns)
    record = {
        "rows": {row: design.departures(row) for row in rows},
        "seeds": list(design.seeds),
        "folds": len(design.roles),
        "table": lines,
        "claims": [non_inferiority_record(claim) for claim in comparison.claims],
        "errors": dict(comparison.errors),
    }
    with atomic_write(comparison.table_json) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    with (
        atomic_write(comparison.table_csv) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        names = ("cut", "region", "measure", "row", "value", "n_cases", "n_groups")
        writer = csv.writer(file)
        writer.writerow((*names, "difference", "low", "high", "best", "winner"))
        for line in lines:
            change = line["difference"] or {}
            bounds = [change.get(name, "") for name in ("value", "low", "high")]
            numbers = ["" if isinstance(n, dict) else n for n in bounds]
            writer.writerow(
                (*(line[name] for name in names), *numbers, line["best"], line["winner"])
            )


def _pictures(
    work: _ComparisonWork, results: Mapping[str, CellResult], rows: Sequence[str]
) -> tuple[PictureRow, ...]:
    """Return the shown cases, each region that they hold, with the mask of every row."""
    masks: dict[tuple[str, str], dict[str, SliceMask]] = {}
    for key, result in results.items():
        for mask in result.masks:
            masks.setdefault((mask.case_id, mask.region), {})[work.cells[key].row] = mask
    cases = {case.id: case for case in work.data.dataset.cases}
    classes = work.data.fingerprint.classes
    found = []
    for case_id in work.shown:
        image = read_case_image(cases[case_id])
        labels = read_labels(cases[case_id], classes, image)
        for region, reference in region_references(labels, classes).items():
            own = masks.get((case_id, region), {})
            held = bool((reference == 1).any())
            if not all(row in own for row in rows) or not (held or not labels.any()):
                continue
            shot = PictureChoice(case_id, region, "positive" if held else "negative", "")
            plane = own[rows[0]].plane
            taken: dict[str, CasePicture] = {}
            for row in rows:
                prediction = np.zeros(labels.shape, np.bool_)
                prediction[plane] = own[row].mask & (reference[plane] <= 1)
                taken[row] = take_picture(
                    shot,
                    image.array,
                    reference == 1,
                    prediction,
                    group=cases[case_id].group,
                    plane=plane,
                )
            found.append(PictureRow(case_id, region, taken))
    return tuple(found)
