"""Define the rows of `few_labels.py` that are not rareseg: other tools, as their users call them.

A rival is a program in `rivals/`. It gets the fold as a task in JSON, learns within the same time
or for as many steps on as many pixels, and writes the probabilities of whole images; its masks are
the most probable class (0.5 of a single one), as its own tutorials take them. A tuned row cuts the
same probabilities at the points that `rareseg tune --probabilities` chooses.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from few_labels_rows import Outcome, Row, Task, call
from filelock import FileLock
from numpy.typing import NDArray
from rivals.task import Report, RivalTask

from rareseg.data.checks.fingerprint import inspect_dataset
from rareseg.data.dataset import open_dataset
from rareseg.data.layouts.manifests.manifest_writing import write_manifest
from rareseg.data.records import Case, Dataset, Role
from rareseg.data.score_files.probability_files import read_probabilities
from rareseg.data.splits import make_split
from rareseg.decision.decisions import Decisions
from rareseg.errors import UsageError, WorkError
from rareseg.evaluation.tables.score_table import CaseScores, ScoreTable, score_regions
from rareseg.run.scores.case_scoring import read_labels
from rareseg.run.setup.split_files import write_split
from rareseg.training.budget import parse_duration
from rareseg.training.plan import plan_recipe
from rareseg_runner.decision.cut_point import apply_point
from rareseg_runner.decision.region_scores import region_scores
from rareseg_runner.formats import mask_suffix, read_image, write_mask
from rareseg_runner.image_records import Classes, Image

BENCHMARKS = Path(__file__).resolve().parent
SPLIT = "split.csv"
ENVIRONMENT = BENCHMARKS.parent / ".venv-rivals" / "bin" / "python"

Masks = dict[str, NDArray[np.bool_]]
"""The masks (z, y, x) of one case by region."""

Cut = Callable[[NDArray[np.float32], Image], Masks]
"""Turn the probabilities (classes, z, y, x) of an image into masks."""


@dataclass(frozen=True)
class Rival:
    """A program of `rivals/`: whether it needs the environment of its own, and what it learns.

    ``validates`` says whether it leaves validation cases out of what it learns: those that
    `rareseg train` takes for that. Otherwise it learns from all cases.
    """

    module: str
    apart: bool
    validates: bool
    dimensions: tuple[int, ...] = (2,)


@dataclass(frozen=True)
class Learned:
    """What a rival left: its task, its report, and the command that called it."""

    task: RivalTask
    report: Report
    command: str


MONAI = Rival("rivals.monai_unet", apart=False, validates=True, dimensions=(2, 3))
SMP = Rival("rivals.smp_unet", apart=True, validates=True)
NNUNET = Rival("rivals.nnunet_2d", apart=True, validates=False, dimensions=(2, 3))


def learn_rival(rival: Rival, row: Row, task: Task) -> Outcome:
    """Let a rival learn the fold, and take the most probable class of each pixel."""
    learned = learn(rival, task)
    classes = learned.task.classes
    return _outcome(
        learned,
        task,
        partial(most_probable, classes=classes),
        seconds=learned.report.seconds,
        command=learned.command,
        ungated=True,
    )


def learn_tuned(rival: Rival, sibling: str, row: Row, task: Task) -> Outcome:
    """Choose points for the network of the row ``sibling``, which learns now unless it did.

    The time is that of the network, and of the choice.
    """
    shared = task.folder.parents[1] / sibling / task.folder.name
    learned = learn(rival, replace(task, folder=shared))
    points = task.folder / "points"
    arguments = [
        "tune",
        *("--probabilities", str(learned.task.scores("validation"))),
        # All cases of the fold say what the classes are; those of role "validation" are scored.
        *("--references", str(task.learns)),
        *("--split", str(shared / "cases" / SPLIT)),
        *("--out", str(points)),
    ]
    shutil.rmtree(points, ignore_errors=True)
    seconds = call(arguments, task.folder / "tune.log", threads=task.threads)
    classes = learned.task.classes
    decisions = Decisions.load(points, classes.regions)
    evaluation = task.folder / "evaluation"
    call(
        [
            "evaluate",
            *("--probabilities", str(learned.task.scores("tested"))),
            *("--references", str(task.tested)),
            *("--points", str(points)),
            *("--out", str(evaluation)),
        ],
        task.folder / "evaluate.log",
        threads=task.threads,
    )
    outcome = _outcome(
        learned,
        task,
        partial(at_points, decisions=decisions, classes=classes),
        seconds=learned.report.seconds + seconds,
        command=" ".join(["rareseg", *arguments]),
        ungated=False,
    )
    return replace(
        outcome,
        points={region: point.to_dict() for region, point in decisions.points.items()},
        about={**outcome.about, "network": sibling},
        own_cases=evaluation / "cases.csv",
    )


def learn(rival: Rival, task: Task) -> Learned:
    """Return what the rival left of the task in its folder, and let it learn where it did not.

    A training that was stopped begins anew. Raises UsageError where the rival cannot take the data
    or its environment is missing, and WorkError where it fails, or learnt another task there.
    """
    task.folder.mkdir(parents=True, exist_ok=True)
    # Two rows may need one network, and may run at a time.
    with FileLock(task.folder / "rival.lock"):
        asked = prepare(rival, task)
        place = asked.folder / "task.json"
        command = [str(_interpreter(rival)), "-m", rival.module, str(place)]
        told = " ".join([Path(command[0]).name, *command[1:]])
        if asked.report.is_file():
            if RivalTask.read(place) != asked:
                raise WorkError(
                    f"{asked.folder} holds another task of {rival.module}; choose another --out, "
                    "or remove it."
                )
            return Learned(asked, Report.read(asked.report), told)
        shutil.rmtree(asked.folder, ignore_errors=True)
        asked.write(place)
        _run(command, task)
        return Learned(asked, Report.read(asked.report), told)


def prepare(rival: Rival, task: Task) -> RivalTask:
    """Divide the fold as `rareseg train` does and return the rival's task.

    Windows and batch are those of the plan.
    """
    dataset = open_dataset(task.learns)
    fingerprint = inspect_dataset(dataset, jobs=1)
    recipe = plan_recipe(fingerprint).recipe
    if recipe.data.dimension not in rival.dimensions:
        raise UsageError(
            f"{rival.module} learns photographs and slices alone, and {task.data.name} holds "
            "volumes; leave it out of --only."
        )
    shares: dict[Role, float] = {
        "train": recipe.split.train,
        "validation": recipe.split.validation,
        "certify": recipe.split.certify,
        "test": recipe.split.test,
    }
    roles = make_split(fingerprint, shares=shares, seed=recipe.split.seed)
    learnt = ("train",) if rival.validates else ("train", "validation")
    folder = task.folder / "cases"
    folder.mkdir(parents=True, exist_ok=True)
    write_split(folder / SPLIT, roles, {case.id: case.group for case in dataset.cases})
    return RivalTask(
        learns=_manifest(folder / "learns.csv", dataset, roles, learnt),
        validates=_manifest(folder / "validates.csv", dataset, roles, ("validation",))
        if rival.validates
        else None,
        tested=task.tested.absolute(),
        classes=fingerprint.classes,
        patch_size=tuple(recipe.sampling.patch_size),
        batch_size=recipe.sampling.batch_size,
        seconds=None if task.budget is None else parse_duration(task.budget),
        steps=task.steps,
        seed=task.seed,
        threads=task.threads,
        folder=(task.folder / "rival").absolute(),
    )


def _manifest(
    path: Path, dataset: Dataset, roles: Mapping[str, Role], wanted: tuple[Role, ...]
) -> Path:
    """Write the cases of some roles as a manifest without roles."""
    cases = [replace(case, role=None) for case in dataset.cases if roles[case.id] in wanted]
    path.unlink(missing_ok=True)
    return write_manifest(path.absolute(), replace(dataset, cases=tuple(cases)), {})


def _interpreter(rival: Rival) -> Path:
    """Return the Python that a rival runs in; ``RARESEG_RIVALS`` names another environment's."""
    if not rival.apart:
        return Path(sys.executable)
    python = Path(os.environ.get("RARESEG_RIVALS", ENVIRONMENT))
    if not python.is_file():
        raise UsageError(
            f"{rival.module} needs an environment of its own, and {python} is not there; call "
            "`make rivals`, or name its Python in RARESEG_RIVALS."
        )
    return python


def _run(command: list[str], task: Task) -> None:
    """Call a rival's program; what it says goes to ``rival.log``.

    Raises WorkError with the last lines where it fails.
    """
    log = task.folder / "rival.log"
    paths = [str(BENCHMARKS), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "OMP_NUM_THREADS": str(task.threads),
    }
    with log.open("w", encoding="utf-8") as file:
        done = subprocess.run(
            [*command, str(time.time())],
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment,
            check=False,
        )
    if done.returncode:
        said = log.read_text(encoding="utf-8", errors="replace").splitlines()[-3:]
        raise WorkError(f"{command[2]} ended with {done.returncode} ({log}): {' '.join(said)}")


def most_probable(probabilities: NDArray[np.float32], image: Image, *, classes: Classes) -> Masks:
    """Return where each region's classes are the most probable ones."""
    labels = probabilities.argmax(axis=0)
    return {name: np.isin(labels, members) for name, members in classes.regions.items()}


def at_points(
    probabilities: NDArray[np.float32], image: Image, *, decisions: Decisions, classes: Classes
) -> Masks:
    """Return the masks at the points of the regions, at 0.5 where one has none."""
    scores, spacing = region_scores(probabilities, classes), image.geometry.spacing
    return {
        region: apply_point(scores[region], point, spacing=spacing)
        for region, point in decisions.points_in_use.items()
    }


def _outcome(
    learned: Learned, task: Task, cut: Cut, *, seconds: float, command: str, ungated: bool
) -> Outcome:
    """Cut and count what a rival has scored."""
    masks, rows = task.folder / "masks", list[CaseScores]()
    for case in open_dataset(task.tested).cases:
        rows += _judge(case, learned.task, masks, cut)
    return Outcome(
        masks=masks,
        table=ScoreTable(tuple(rows)),
        points={},
        command=command,
        settings=learned.report.settings,
        steps=learned.report.steps,
        seconds=seconds,
        resumed=False,
        about={"versions": dict(learned.report.versions)},
        ungated=ungated,
    )


def _judge(case: Case, asked: RivalTask, masks: Path, cut: Cut) -> tuple[CaseScores, ...]:
    """Write the masks of one case and return its rows of the score table."""
    image = read_image(case.images)
    probabilities = read_probabilities(asked.scores("tested") / f"{case.id}.npz", image)
    for region, mask in cut(probabilities, image).items():
        place = masks / region / f"{case.id}{mask_suffix(case.images[0])}"
        place.parent.mkdir(parents=True, exist_ok=True)
        write_mask(place, mask, image.geometry)
    table = score_regions(
        probabilities,
        read_labels(case, asked.classes, image),
        asked.classes,
        case_id=case.id,
        group=case.group,
        role="test",
        spacing=image.geometry.spacing,
    )
    return table.rows


RIVALS = {
    row.name: row
    for row in (
        Row("monai", "MONAI's usual recipe, its U-Net", partial(learn_rival, MONAI)),
        Row(
            "smp_unet",
            "the usual U-Net of segmentation_models.pytorch on the same encoder and weights",
            partial(learn_rival, SMP),
        ),
        Row(
            "smp_unet_tuned",
            "the same network at points chosen by rareseg tune --probabilities",
            partial(learn_tuned, SMP, "smp_unet"),
        ),
        Row("nnunet_2d", "nnU-Net v2, configuration 2d", partial(learn_rival, NNUNET)),
    )
}
"""The rows of other tools, which follow those of rareseg in the tables."""
