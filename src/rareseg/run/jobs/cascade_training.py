"""Train a cascade in two stages: foreground out of fold, then its classes within.

The second stage learns on what the first one finds in cases that it has not seen, since that is
what it will be given. Both stages together take as many steps as one network would.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray

from rareseg.data.splits import make_folds
from rareseg.data.store.relabelled_store import relabel
from rareseg.data.store.store import Store
from rareseg.data.store.store_writing import open_current
from rareseg.errors import RunError
from rareseg.evaluation.tables.score_table import score_regions
from rareseg.evaluation.tables.threshold_bins import N_BINS, bin_edges
from rareseg.prediction.model import Model, join_members
from rareseg.prediction.presence_head import without_image_head
from rareseg.prediction.scorer import score_array
from rareseg.progress import Track
from rareseg.recipe import CascadeSettings, Recipe, WeightedLossSection, make_recipe, merge
from rareseg.report.wording.initial_weights_text import stage_sentences
from rareseg.run.jobs.training_job import TrainingJob
from rareseg.run.setup.prepare import JobInputs, Machine, PreparedRun, Say
from rareseg.training.loop import OnValidation
from rareseg_runner.atomic_files import atomic_write
from rareseg_runner.image_records import IGNORE
from rareseg_runner.scoring.cascade_model import (
    Cascade,
    first_stage_classes,
    found_within,
)
from rareseg_runner.text_files import read_json

NOTE = "cascade.json"

Floats = NDArray[np.float32]


def learn_cascade(
    run: PreparedRun,
    machine: Machine,
    fabric: Fabric,
    *,
    on_validation: OnValidation,
    track: Track,
    say: Say,
) -> Model:
    """Train both stages from wherever they stand and return the model of both together.

    Raises :class:`RunError` where the first stage leaves nothing to learn from.
    """
    settings = run.recipe.training.cascade
    assert settings is not None, "there are two stages only where the recipe says so"
    first = _FirstStage.learn(run, settings, machine, fabric, track=track, say=say)
    threshold = first.threshold(settings.recall, track)
    folder = run.folder.stage(2)
    with fabric.rank_zero_first():
        store, cascade = _second_store(run, first, threshold, settings, folder / "store", track)
    for sentence in stage_sentences(cascade):
        say(sentence)
    inputs = JobInputs(
        train=store.subset(case.id for case in run.cases("train")),
        validate=store.subset(case.id for case in run.cases("validation")),
        folder=folder,
        unseen=(),
        recipe=second_recipe(run.recipe),
    )
    say("stage two")
    job = TrainingJob(run, inputs, machine, fabric)
    model = job.model(job.learn(track, say, on_validation))
    # What is said of whole images is the first stage's: the second sees only what that found.
    weights = join_members([*first.weights, without_image_head(model.weights)])
    return replace(
        model,
        recipe=run.recipe,
        classes=run.store.classes,
        weights=weights,
        members=len(first.weights) + 1,
        cascade=cascade,
        # What the second stage was shown is no share of anything in whole images.
        training=replace(model.training, delivered=None, steps=run.recipe.training.steps),
    )


def first_recipe(recipe: Recipe) -> Recipe:
    """Return the recipe of each fold's network in the first stage."""
    settings = recipe.training.cascade
    assert settings is not None, "there are two stages only where the recipe says so"
    by_name = recipe.sampling.strategy == "table"
    weighted = isinstance(recipe.loss, WeightedLossSection)
    sampling = {"strategy": "balanced", "shares": None} if by_name else {}
    return _changed(
        recipe,
        # Each keeps its last weights: a checkpoint chosen on the fold held out has seen it.
        {"steps": settings.first_steps(recipe.training.steps), "validations": 1},
        loss={"class_weights": None} if weighted else {},
        sampling=sampling,
    )


def second_recipe(recipe: Recipe) -> Recipe:
    """Return the recipe of the second stage, whose windows lie about what was found."""
    settings = recipe.training.cascade
    assert settings is not None, "there are two stages only where the recipe says so"
    steps = recipe.training.steps
    left = max(1, steps - settings.folds * settings.first_steps(steps))
    return _changed(recipe, {"steps": left}, sampling={"strategy": "balanced", "phases": None})


def _changed(
    recipe: Recipe, training: Mapping[str, object], **sections: Mapping[str, object]
) -> Recipe:
    values = {"training": {**training, "cascade": None}, **sections}
    return make_recipe(merge(recipe.model_dump(), values))


@dataclass(frozen=True)
class _FirstStage:
    """The first stage's networks, one for each fold, and the store that they learned from."""

    run: PreparedRun
    store: Store
    folds: Mapping[str, int]
    jobs: Sequence[TrainingJob]
    weights: Sequence[Mapping[str, torch.Tensor]]
    networks: Sequence[torch.nn.Module]

    @classmethod
    def learn(
        cls,
        run: PreparedRun,
        settings: CascadeSettings,
        machine: Machine,
        fabric: Fabric,
        *,
        track: Track,
        say: Say,
    ) -> _FirstStage:
        """Train one network for each fold of the train cases."""
        folder = run.folder.stage(1)
        with fabric.rank_zero_first():
            store = _binary(run.store, folder / "store", track)
        learnt = {case.id for case in run.cases("train")}
        seed = run.recipe.split.seed
        folds = make_folds(run.fingerprint, count=settings.folds, seed=seed, ids=learnt)
        jobs, weights, networks = [], [], []
        for fold in range(settings.folds):
            say(f"stage one, fold {fold + 1} of {settings.folds}")
            inputs = JobInputs(
                train=store.subset(case for case, own in folds.items() if own != fold),
                validate=store.subset(case for case, own in folds.items() if own == fold),
                folder=folder / f"fold_{fold}",
                unseen=(),
                recipe=first_recipe(run.recipe),
            )
            job = TrainingJob(run, inputs, machine, fabric)
            model = job.model(job.learn(track, say, lambda step, score: None))
            network = job.learned(model)
            jobs.append(job)
            weights.append(model.weights)
            networks.append(network)
        return cls(run, store, folds, jobs, weights, networks)

    def foreground(self, row: int) -> Floats:
        """Return p₁ (z, y, x) of a row of the store, by networks that have not seen the case."""
        case = self.store.cases.ids[row]
        fold = self.folds.get(case)
        chosen = self.networks if fold is None else [self.networks[fold]]
        total = sum(self._scores(network, row) for network in chosen)
        return np.asarray(total / np.float32(len(chosen)))

    def _scores(self, network: torch.nn.Module, row: int) -> Floats:
        job = self.jobs[0]
        array = self.store.values(row)
        scores = score_array(
            network,
            array,
            job.recipe,
            device=job.fabric.device,
            precision=job.precision,
        )
        return np.asarray(scores.probabilities[1])

    def rows(self, ids: Sequence[str]) -> list[int]:
        """Return the rows of cases."""
        known = {case: row for row, case in enumerate(self.store.cases.ids)}
        return [known[case] for case in ids]

    def threshold(self, recall: float, track: Track) -> float:
        """Return the highest edge of a bin at or above which such a share of foreground lies.

        Of the train cases, out of fold, all voxels pooled.
        """
        inside = np.zeros(N_BINS, np.int64)
        rows = self.rows(list(self.folds))
        for row in track(rows, "scoring out of fold", len(rows)):
            foreground = self.foreground(row)
            scores = np.stack([1.0 - foreground, foreground])
            table = score_regions(
                scores, self.store.label(row), self.store.classes, case_id=self.store.cases.ids[row]
            )
            for part in table:
                inside[part.bins] += part.inside
        if not inside.sum():
            raise RunError(
                "no train case of the cascade's first stage holds foreground; leave "
                "training.cascade out, or give more positive cases to train on."
            )
        reached = np.cumsum(inside[::-1])[::-1] >= recall * inside.sum()
        return float(bin_edges()[int(np.flatnonzero(reached)[-1])])


def _binary(store: Store, folder: Path, track: Track) -> Store:
    """Return the store with all foreground as one class; itself, where there is but one."""
    if store.classes.count == 2:
        return store

    def union(row: int) -> NDArray[np.uint8]:
        label = store.label(row)
        return np.where(label == IGNORE, IGNORE, label != 0).astype(np.uint8)

    return relabel(
        store,
        folder,
        union,
        classes=first_stage_classes(store.classes),
        key=f"foreground of {store.key}",
        track=track,
    )


@dataclass
class _StageCounts:
    """Voxels of some cases: all that count, those found, foreground, and foreground found."""

    voxels: int = 0
    found: int = 0
    foreground: int = 0
    foreground_found: int = 0

    def add(self, found: NDArray[np.bool_], label: NDArray[np.uint8]) -> None:
        """Count a case."""
        counts, holds = label != IGNORE, (label != IGNORE) & (label != 0)
        self.voxels += int(counts.sum())
        self.found += int((counts & found).sum())
        self.foreground += int(holds.sum())
        self.foreground_found += int((holds & found).sum())


def _second_store(
    run: PreparedRun,
    first: _FirstStage,
    threshold: float,
    settings: CascadeSettings,
    folder: Path,
    track: Track,
) -> tuple[Store, Cascade]:
    """Return the store of what the second stage learns from, and how the stages meet.

    What the first stage did not find is ignored; so is background, where there are several classes
    of foreground to be told apart.
    """
    note, key = folder.parent / NOTE, _key(run, first, threshold, settings)
    known = open_current(folder, key) if note.is_file() else None
    if known is not None:
        try:
            return known, Cascade.from_dict(read_json(note))
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"{note} is damaged ({error}); remove it, and call again.") from error
    shutil.rmtree(folder, ignore_errors=True)
    tallies = {"train": _StageCounts(), "validation": _StageCounts()}
    roles = run.roles
    several = run.store.classes.count > 2

    def within(row: int) -> NDArray[np.uint8]:
        label = np.array(run.store.label(row))
        role = roles[run.store.cases.ids[row]]
        if role not in tallies:  # nothing may look at it before the end
            return np.full_like(label, IGNORE)
        found = found_within(first.foreground(row), threshold, settings.margin)
        tallies[role].add(found, label)
        label[~found] = IGNORE
        if several:
            label[label == 0] = IGNORE
        return label

    store = relabel(
        run.store,
        folder,
        within,
        classes=run.store.classes,
        key=key,
        track=track,
        doing="finding what stage two learns from",
    )
    cascade = Cascade(
        first_stage=len(first.weights),
        threshold=threshold,
        margin=settings.margin,
        recalls={r: t.foreground_found / max(1, t.foreground) for r, t in tallies.items()},
        kept={r: t.found / max(1, t.voxels) for r, t in tallies.items()},
    )
    with atomic_write(note) as temporary:
        temporary.write_text(json.dumps(cascade.to_dict(), indent=1) + "\n", encoding="utf-8")
    return store, cascade


def _key(run: PreparedRun, first: _FirstStage, threshold: float, settings: CascadeSettings) -> str:
    """Return the hash of all that the second stage's labels are made from."""
    digest = hashlib.sha256(f"{run.store.key} {threshold} {settings.margin}".encode())
    digest.update(repr(sorted(run.roles.items())).encode())
    for weights in first.weights:
        for tensor in weights.values():
            digest.update(tensor.detach().cpu().numpy().tobytes())
    return digest.hexdigest()
