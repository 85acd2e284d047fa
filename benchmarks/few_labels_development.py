"""Try recipes inside the learning part of an outer fold; what the fold tests is never opened.

The learning part is divided anew, by group, into a few inner parts. Judged are the cases of the
part that is held out: as validation cases ("validation", whose point was chosen on them and is
judged with each group left out of the choice), or as cases that nothing has seen ("test", for
recipes that choose their points otherwise, such as folds). Figures come from score tables.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from few_labels_data import SETS, Folds, divide
from few_labels_results import FOREGROUND, Counted, read_json, source_version, write_json
from few_labels_table import (
    MEASURES,
    BySeed,
    Finding,
    auc,
    data_folder,
    difference_lines,
    estimates,
    over_seeds,
)
from numpy.typing import NDArray

from rareseg.decision.operating_point import (
    OperatingPoint,
    choose_operating_point,
    default_point,
)
from rareseg.errors import RaresegError, WorkError
from rareseg.evaluation.metrics.overlap import counts_at, cumulative, occurring_bins
from rareseg.evaluation.statistics.undefined import is_defined
from rareseg.evaluation.tables.score_table import CaseScores, ScoreTable
from rareseg.evaluation.tables.score_table_io import load_table, save_table
from rareseg.evaluation.tables.threshold_bins import bin_edges
from rareseg.prediction.bundle import load_decisions, load_model
from rareseg.prediction.scorer import ModelScorer
from rareseg.run.scores.case_scoring import score_all
from rareseg.run.scores.network_source import cases_of
from rareseg.run.setup.prepare import Machine, TrainingOptions
from rareseg.run.setup.run_folder import DataOptions, RunFolder
from rareseg.run.train import learn
from rareseg.run.tune import tune

ALARMS = 0.1
"""The share of alarms at most, at the best point under a limit."""

CUTS = {
    "half": "at 0.5",
    "chosen": "at the chosen point",
    "left_out": "chosen without the group",
    "best": "the best there was",
    "best_limited": f"the best at {ALARMS:.0%} alarms",
}

TOLD = {"dice": "dice", "found": "found", "alarms": "alarmed"}
"""What a point tells of itself at the choice, and the measure of the judged cases beside it."""

WITHOUT_TEST = ("split.train=0.8", "split.validation=0.2", "split.test=0")
"""No case is taken for a test where the held-out part are the validation cases."""


@dataclass(frozen=True)
class Trial:
    """One recipe on one inner part of an outer fold with one seed."""

    folds: Folds
    name: str
    settings: tuple[str, ...]
    outer: int
    part: int
    parts: int
    judge: str
    region: str
    seed: int
    budget: str | None
    steps: int | None
    threads: int
    out: Path

    @property
    def result(self) -> Path:
        """The JSON of the trial."""
        length = f"{self.steps}steps" if self.budget is None else self.budget
        name = f"outer{self.outer}_part{self.part}of{self.parts}_seed{self.seed}_{length}.json"
        return self.out / "development" / self.folds.folder.name / self.name / name

    @property
    def work(self) -> Path:
        """The folder in which is trained."""
        inside = self.result.relative_to(self.out / "development").with_suffix("")
        return self.out / "work" / "development" / inside

    def asked(self) -> dict[str, Any]:
        """Return what must be the same where a result stands already."""
        return {
            "name": self.name,
            "settings": [*self.folds.data.settings, *self.settings],
            "folds": self.folds.digest,
            "outer": self.outer,
            "part": self.part,
            "parts": self.parts,
            "judge": self.judge,
            "region": self.region,
            "seed": self.seed,
            "budget": self.budget,
            "steps": self.steps,
            "threads": self.threads,
        }


def add_options(inner: argparse.ArgumentParser, tried: argparse.ArgumentParser) -> None:
    """Add the options of `development` and of its table."""
    inner.add_argument("--name", required=True, help="of the recipe, in the table")
    inner.add_argument("--set", action="append", default=[], dest="settings", metavar="a.b=c")
    inner.add_argument("--outer", default="0", help="outer folds whose learning part is divided")
    inner.add_argument("--parts", type=int, default=3, help="inner parts")
    inner.add_argument("--inner", help="those that are held out in turn; all where not given")
    inner.add_argument("--judge", choices=("validation", "test"), default="validation")
    inner.add_argument("--region", default=FOREGROUND)
    tried.add_argument("--names", help="recipes, the first compared with; all where not given")


def run(given: argparse.Namespace, run_all: Callable[..., int]) -> int:
    """Do the trials that the command line asks for; returns how many failed."""
    jobs = []
    for name in given.sets.split(","):
        data = SETS[name]
        folds = divide(data, given.data, given.out / "folds", limit=given.limit)
        budget = None if given.steps is not None else given.budget or data.budget
        jobs += [
            Trial(
                folds,
                given.name,
                tuple(given.settings),
                outer,
                part,
                given.parts,
                given.judge,
                given.region,
                seed,
                budget,
                given.steps,
                given.threads,
                given.out,
            )
            for seed in map(int, given.seeds.split(","))
            for outer in map(int, given.outer.split(","))
            for part in map(int, (given.inner or ",".join(map(str, range(given.parts)))).split(","))
        ]
    return run_all(jobs, do_trial, parallel=given.parallel, names=lambda job: str(job.result))


def do_trial(trial: Trial) -> str:
    """Train, judge and write one trial, unless it stands there; returns a line about it.

    Raises RaresegError where it fails, or where a result of other settings stands there.
    """
    if trial.result.is_file():
        known = read_json(trial.result)["asked"]
        changed = {k: v for k, v in trial.asked().items() if known.get(k) != v}
        if changed:
            raise RaresegError(
                f"{trial.result} was made with other settings ({', '.join(changed)}); choose "
                "another --name, or remove it."
            )
        return f"{trial.result} stands already"
    version = source_version()
    seconds = _train(trial)
    folder = RunFolder(trial.work / "run")
    if trial.judge == "validation" and folder.folds.is_file():
        raise RaresegError(
            f"{trial.name} learns in folds, which leave no validation case; give --judge test."
        )
    model = load_model(folder.bundle)
    table = load_table(folder.scores("validation" if trial.judge == "validation" else "test"))
    rows = [row for row in table.select(region=trial.region).rows if row.n_voxels > 0]
    started = time.monotonic()
    judged = judge(
        rows,
        load_decisions(folder.bundle).points.get(trial.region),
        maximize=model.recipe.decision.maximize if trial.judge == "validation" else None,
    )
    notes = trial.folds.notes
    record = {
        "asked": trial.asked(),
        "rareseg": version,
        "steps": int(model.training.steps),
        "best_step": model.training.best_step,
        "seconds": {**seconds, "judging": time.monotonic() - started},
        "trained_on": model.training.cases,
        "recipe": model.recipe.model_dump(mode="json"),
        "auc": judged.area if np.isfinite(judged.area) else None,
        "points": judged.points,
        "cases": [
            {
                "id": row.case_id,
                "object": notes[row.case_id].object,
                "kind": notes[row.case_id].kind,
                "image_score": row.image_score,
                "cuts": {cut: counted[k].to_dict() for cut, counted in judged.cuts.items()},
            }
            for k, row in enumerate(rows)
        ],
    }
    write_json(trial.result, record)
    told = [f"{trial.result}: {record['steps']} steps", *_lines([record])]
    return "\n".join([*told, "", *transfer_lines([record])])


def _train(trial: Trial) -> dict[str, float]:
    """Train and choose the point in a process of its own; returns the seconds of both."""
    role = "validation" if trial.judge == "validation" else "test"
    data = trial.folds.inner(trial.outer, part=trial.part, parts=trial.parts, judge=role)
    settings = [
        *trial.folds.data.settings,
        *trial.settings,
        *(WITHOUT_TEST if role == "validation" else ()),
        f"training.seed={trial.seed}",
        f"training.threads={trial.threads}",
        *([] if trial.steps is None else [f"training.steps={trial.steps}"]),
    ]
    log = trial.work / "log.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    words = [str(data), str(trial.work / "run"), trial.budget or "", role, *settings]
    with log.open("a", encoding="utf-8") as file:
        done = subprocess.run(
            [sys.executable, __file__, *words],
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": str(trial.threads)},
            check=False,
        )
    said = log.read_text(encoding="utf-8", errors="replace").splitlines()
    if done.returncode:
        raise WorkError(f"{trial.name} failed ({log}): {' '.join(said[-3:])}")
    learnt, chosen = map(float, said[-1].split())
    return {"learning": learnt, "choosing": chosen}


def _work(data: str, out: str, budget: str, role: str, *settings: str) -> None:
    """Learn, choose the point, and score held-out cases that are no validation cases."""
    machine = Machine()
    fabric = machine.fabric("32")
    fabric.launch()
    started = time.monotonic()
    folder = learn(
        DataOptions(data),
        Path(out),
        fabric,
        training_options=TrainingOptions(settings=settings, budget=budget or None),
        machine=machine,
        say=print,
    )
    learnt = time.monotonic()
    model = load_model(folder.bundle)
    tune(folder.root, maximize=model.recipe.decision.maximize, device=fabric.device, say=print)
    chosen = time.monotonic()
    if role == "test":
        scorer = ModelScorer(load_model(folder.bundle), device=fabric.device)
        scored = score_all(scorer, cases_of(folder, "test"), role="test")
        save_table(scored.table, folder.scores("test"))
    print(learnt - started, chosen - learnt)


@dataclass(frozen=True)
class Judged:
    """What every cut gives in every case, in their order; the points as plain values; the AUC."""

    cuts: Mapping[str, Sequence[Counted]]
    points: Mapping[str, Any]
    area: float


def judge(
    rows: Sequence[CaseScores], point: OperatingPoint | None, *, maximize: str | None
) -> Judged:
    """Return the counts of one region's cases at 0.5, at ``point`` and at the best points.

    With ``maximize`` also at points chosen anew without the case's own group. A case without a
    point is silent.
    """
    cuts: dict[str, list[Counted]] = {
        "half": [_cut(row, default_point(row.region)) for row in rows],
        "chosen": [_cut(row, point) for row in rows],
    }
    points: dict[str, Any] = {"chosen": None if point is None else point.to_dict()}
    if maximize is not None:
        cuts["left_out"] = _left_out(rows, maximize)
    best, limited = best_points(rows, limit=ALARMS)
    for name, found in (("best", best), ("best_limited", limited)):
        cuts[name] = [_cut(row, found) for row in rows]
        points[name] = None if found is None else found.to_dict()
    positive = np.array([row.n_inside > 0 for row in rows], np.bool_)
    return Judged(cuts, points, auc([row.image_score for row in rows], positive))


def _cut(row: CaseScores, point: OperatingPoint | None) -> Counted:
    """Return the counts of a case at a point without a smallest component."""
    if point is None or np.float32(row.image_score) < np.float32(point.gate):
        return Counted(0, 0, row.n_inside)
    if point.smallest_component.removes:
        raise RaresegError(
            "Points with a smallest component cannot be judged from scores; leave it at 0."
        )
    counts = counts_at(row, point.threshold)
    return Counted(counts.tp, counts.fp, counts.fn)


def _left_out(rows: Sequence[CaseScores], maximize: str) -> list[Counted]:
    """Return the counts of each case at the point that the cases of all other groups choose."""
    groups = [row.group or row.case_id for row in rows]
    points: dict[str, OperatingPoint | None] = {}
    for group in dict.fromkeys(groups):
        others = [row for row, own in zip(rows, groups, strict=True) if own != group]
        found = choose_operating_point(
            ScoreTable(tuple(others)), region=rows[0].region, maximize=maximize
        )
        points[group] = found if isinstance(found, OperatingPoint) else None
    return [_cut(row, points[group]) for row, group in zip(rows, groups, strict=True)]


def best_points(
    rows: Sequence[CaseScores], *, limit: float
) -> tuple[OperatingPoint | None, OperatingPoint | None]:
    """Return the point of most dice · (1 − alarms) on these very cases, and that of most dice.

    The second alarms on at most the share ``limit`` of the negative cases; None where every point
    alarms more often. Means are over cases;
    tried are all thresholds that occur, and a gate at every image score that occurs.
    """
    ordered = sorted(rows, key=lambda row: -row.image_score)
    bins = occurring_bins(ordered)
    dice, alarms = (np.zeros((len(rows), len(bins))) for _ in range(2))
    for k, row in enumerate(ordered):
        tp, fp = cumulative(row, bins)
        if row.n_inside:
            dice[k] = 2 * tp / (tp + fp + row.n_inside)
        else:
            alarms[k] = fp > 0
    n_positive = sum(row.n_inside > 0 for row in rows)
    mean_dice = np.cumsum(dice, axis=0) / max(1, n_positive)
    rate = np.cumsum(alarms, axis=0) / max(1, len(rows) - n_positive)
    scores = np.array([row.image_score for row in ordered])
    # A gate lets all cases of one image score pass or none.
    whole = np.append(scores[1:] < scores[:-1], True)[:, np.newaxis]
    product = np.where(whole, mean_dice * (1 - rate), -1.0)
    under = np.where(whole & (rate <= limit), mean_dice, -1.0)
    edges = bin_edges()

    def point_at(values: NDArray[np.float64]) -> OperatingPoint | None:
        case, place = np.unravel_index(int(values.argmax()), values.shape)
        if values[case, place] < 0:
            return None
        gate = 0.0 if case == len(rows) - 1 else float(scores[case])
        return OperatingPoint(rows[0].region, float(edges[bins[place]]), gate=gate)

    return point_at(product), point_at(under)


def table_lines(given: argparse.Namespace) -> Iterator[str]:
    """Yield what was tried on the data sets asked for: dice / found / alarms at each cut."""
    for name in given.sets.split(","):
        folder = given.out / "development" / data_folder(name, given.limit)
        names = given.names.split(",") if given.names else sorted(p.name for p in folder.glob("*"))
        paths = [path for own in names for path in sorted((folder / own).glob("*.json"))]
        records = [read_json(path) for path in paths]
        kept = [r for r in records if given.length in (None, _length(r))]
        if not kept:
            yield f"Nothing was tried of {name} in {folder}."
        for key in dict.fromkeys(_same(record) for record in kept):
            same = [record for record in kept if _same(record) == key]
            length, judged, region = key
            yield f"## {name}, {length}, {region} of {judged} cases: dice / found / alarms"
            yield ""
            yield from _lines(same)
            yield ""
            yield from transfer_lines(same)
            if len(_named(same)) > 1:
                cut = "left_out" if judged == "validation" else "chosen"
                yield f"**{CUTS[cut]}**"
                yield ""
                found = {name: _findings(own, cut) for name, own in _named(same).items()}
                yield from difference_lines(found)


def transfer_lines(records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield how far found and alarms on the judged cases lie from what was told out of fold.

    Told is what each group reaches at the point that is chosen without it, judged what the mean of
    all networks does at the point itself. Only of recipes in folds that found a point.
    """
    rows: defaultdict[str, list[tuple[float, ...]]] = defaultdict(list)
    for record in records:
        evidence = (record["points"]["chosen"] or {}).get("evidence")
        if not record["recipe"]["split"]["folds"] or evidence is None:
            continue
        values = estimates(over_seeds(_findings([record], "chosen")))
        pairs = [(evidence["chosen"][name], values[m].value) for name, m in TOLD.items()]
        if all(isinstance(told, float) and is_defined(reached) for told, reached in pairs):
            rows[record["asked"]["name"]].append(tuple(v for pair in pairs for v in pair))
    if not rows:
        return
    yield f"| in folds | trainings | {' | '.join(f'{n}: out of fold → judged' for n in TOLD)} |"
    yield "|---" * (len(TOLD) + 2) + "|"
    for name, own in rows.items():
        table = np.array(own)
        cells = []
        for k in range(len(TOLD)):
            told, reached = table[:, 2 * k], table[:, 2 * k + 1]
            apart = 100.0 * np.abs(reached - told)
            cells.append(
                f"{told.mean():.1%} → {reached.mean():.1%} ({apart.mean():.0f} points apart, at "
                f"most {apart.max():.0f})"
            )
        yield f"| {name} | {len(own)} | {' | '.join(cells)} |"
    yield ""


def _length(record: Mapping[str, Any]) -> str:
    asked = record["asked"]
    return f"{asked['steps']}steps" if asked["budget"] is None else str(asked["budget"])


def _same(record: Mapping[str, Any]) -> tuple[str, str, str]:
    return _length(record), record["asked"]["judge"], record["asked"]["region"]


def _named(records: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    named: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for record in records:
        named[record["asked"]["name"]].append(record)
    return dict(named)


def _findings(records: Sequence[Mapping[str, Any]], cut: str) -> BySeed:
    """Return the findings by seed; a case counts once for each outer fold that it is tried in."""
    found: defaultdict[int, dict[str, Finding]] = defaultdict(dict)
    for record in records:
        for case in record["cases"]:
            counts = case["cuts"].get(cut)
            if counts is None:
                continue
            key = f"{record['asked']['outer']}/{case['id']}"
            values = {name: float(counts[name]) for name in MEASURES if name in counts}
            found[record["asked"]["seed"]][key] = Finding(
                key, case["object"], case["kind"], "dice" in values, values
            )
    return dict(found)


def _lines(records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    cuts = [cut for cut in CUTS if any(cut in r["cases"][0]["cuts"] for r in records)]
    titles = " | ".join(CUTS[cut] for cut in cuts)
    yield f"| recipe | trainings | {titles} | AUC | silent | steps | seconds |"
    yield "|---" * (len(cuts) + 6) + "|"
    for name, own in _named(records).items():
        cells = []
        for cut in cuts:
            values = estimates(over_seeds(_findings(own, cut)))
            dice, found, alarmed = (values[measure].value for measure in MEASURES)
            cells.append(
                " / ".join(
                    [
                        f"{dice:.3f}" if is_defined(dice) else "—",
                        *(f"{v:.0%}" if is_defined(v) else "—" for v in (found, alarmed)),
                    ]
                )
            )
        areas = [record["auc"] for record in own if record["auc"] is not None]
        silent = sum(
            not any(case["cuts"]["chosen"].get("found") for case in record["cases"])
            for record in own
        )
        seconds = np.median([sum(record["seconds"].values()) for record in own])
        yield (
            f"| {name} | {len(own)} | {' | '.join(cells)} | "
            f"{f'{np.mean(areas):.3f}' if areas else '—'} | {silent} | "
            f"{np.median([record['steps'] for record in own]):.0f} | {seconds:.0f} |"
        )


if __name__ == "__main__":
    _work(*sys.argv[1:])
