"""One whole training run: data to plan, store, model, operating points, scorecard and report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from rareseg.data.records import IGNORE
from rareseg.data.store import Store
from rareseg.decision.operating_point import default_point
from rareseg.errors import RecipeError
from rareseg.evaluation.component_storage import save_components
from rareseg.evaluation.metrics import checkpoint_score
from rareseg.evaluation.scores import ScoreTable, score_regions
from rareseg.evaluation.storage import save_table
from rareseg.evaluation.values import is_defined
from rareseg.prediction.bundle import Bundle, join_members, save_bundle
from rareseg.prediction.networks import build_network, deepest
from rareseg.prediction.predictor import Predictor, prepare_network, score_array, score_images
from rareseg.prediction.transfer import Transfer, begin_with
from rareseg.progress import Track, silent
from rareseg.recipe import make_recipe, merge
from rareseg.run.beginning import initial_weights, read_beginning, write_beginning
from rareseg.run.evaluate import TRAIN_SAMPLE, Evaluation, evaluate_run
from rareseg.run.folder import DataOptions, open_run
from rareseg.run.prepare import (
    Lesson,
    Machine,
    PreparedRun,
    Say,
    Wishes,
    nobody,
    prepare_run,
    write_recipe,
)
from rareseg.run.scoring import merge_scored, score_all
from rareseg.run.tune import tune
from rareseg.sampling.augment import window_for
from rareseg.sampling.mined import nothing_mined
from rareseg.sampling.mining import Predict, mine
from rareseg.sampling.sampler import MOST_ROUNDS, PatchSampler
from rareseg.training.budget import parse_duration, plan_steps
from rareseg.training.fit import Fitted, Validate, fit, measure_step
from rareseg.training.losses import Loss, make_loss
from rareseg.training.plan import Plan
from rareseg.training.presence import WithPresence, without_presence


def train(
    data: DataOptions | Path | str,
    out: Path | str,
    *,
    wishes: Wishes | None = None,
    machine: Machine | None = None,
    track: Track = silent,
    say: Say = nobody,
) -> Evaluation | None:
    """Train on ``data`` into the run folder ``out`` and return the evaluation of its test cases.

    Of several processes the first evaluates; the others return ``None``.

    Called again on the same ``out`` it goes on where it stopped, and ends with the same weights as
    an uninterrupted run on the same machine. Raises what
    :func:`rareseg.run.prepare.prepare_run` raises.
    """
    started = time.monotonic()
    options = data if isinstance(data, DataOptions) else DataOptions(str(data))
    wishes, machine = wishes or Wishes(), machine or Machine()
    budget = None if wishes.budget is None else parse_duration(wishes.budget)
    fabric = machine.fabric("32")
    fabric.launch()
    if not fabric.is_global_zero:
        track, say = silent, nobody
    with fabric.rank_zero_first():
        run = prepare_run(options, Path(out), wishes, device=fabric.device, track=track, say=say)
    torch.set_num_threads(run.recipe.training.threads)
    if not (run.folder.bundle / "bundle.json").is_file():
        learners = _learners(run, machine, fabric)
        if not run.folder.recipe.is_file():
            if budget is not None:
                run = _fit_into(budget, started, learners[0], say)
                learners = _learners(run, machine, fabric)
            if fabric.is_global_zero:
                write_recipe(run.folder, run.plan)
        fabric.barrier()
        bundles = []
        for number, learner in enumerate(learners, start=1):
            if len(learners) > 1:
                say(f"fold {number} of {len(learners)}")
            bundles.append(learner.bundle(learner.learn(track, say)))
        if fabric.is_global_zero:
            if run.folds:
                _score_unseen(run, learners, bundles, fabric.device, track)
            save_bundle(run.folder.bundle, _average(bundles))
    fabric.barrier()
    if not fabric.is_global_zero:
        return None
    folder = open_run(Path(out))
    tune(folder.root, maximize=run.recipe.decision.maximize, device=fabric.device, track=track)
    return evaluate_run(folder.root, device=fabric.device, track=track)


def _learners(run: PreparedRun, machine: Machine, fabric: Fabric) -> list[_Learner]:
    """Return one learner, or one for each fold."""
    return [_Learner(run, lesson, machine, fabric) for lesson in run.lessons()]


def _average(bundles: Sequence[Bundle]) -> Bundle:
    """Return the bundle that averages the probabilities of all; of one, itself."""
    weights = join_members([bundle.weights for bundle in bundles])
    return replace(bundles[0], weights=weights, members=len(bundles))


def _score_unseen(
    run: PreparedRun,
    learners: Sequence[_Learner],
    bundles: Sequence[Bundle],
    device: torch.device,
    track: Track,
) -> None:
    """Score every case that was learnt from by the one network that has not seen it, and save."""
    parts = [
        score_all(
            Predictor(bundle, device=device),
            learner.lesson.unseen,
            role="out-of-fold",
            closely=True,
            track=track,
            doing=f"scoring fold {number}",
        )
        for number, (learner, bundle) in enumerate(zip(learners, bundles, strict=True), start=1)
    ]
    scored = merge_scored(parts, n_points=0)
    save_components(scored.components, run.folder.components("out-of-fold"))
    save_table(scored.table, run.folder.scores("out-of-fold"))


class _Learner:
    """What learning one lesson needs, made from a prepared run."""

    def __init__(self, run: PreparedRun, lesson: Lesson, machine: Machine, fabric: Fabric) -> None:
        self.run, self.recipe, self.lesson = run, run.recipe, lesson
        self.precision = self.recipe.training.precision
        self.fabric = fabric
        if self.precision == "bf16":
            self.fabric = machine.fabric("bf16")
            self.fabric.launch()
        settings = self.recipe.sampling
        if settings.batch_size % fabric.world_size:
            raise RecipeError(
                f"sampling.batch_size is {settings.batch_size}, which {fabric.world_size} devices "
                "cannot share; give a multiple."
            )
        # A network that cannot be made or begun is found here, before the recipe is written.
        with torch.device("meta"):
            untrained = self._untrained()
        self.beginning: Transfer | None = None
        if not (lesson.folder / "last.pt").is_file():
            self.beginning = initial_weights(self.recipe, untrained)
        self.loss: Loss = make_loss(self.recipe.loss, run.store.classes)
        self.sampler = PatchSampler.from_settings(
            lesson.train,
            settings,
            seed=self.recipe.training.seed,
            mining=self.recipe.mining,
            steps=self.recipe.training.steps,
            patch_size=window_for(self.recipe.augmentation, settings.patch_size),
            rank=fabric.global_rank,
            world_size=fabric.world_size,
        )

    def network(self) -> torch.nn.Module:
        """Return the untrained network, the same for the same seed."""
        torch.manual_seed(self.recipe.training.seed)
        network = self._untrained()
        if self.beginning is not None:
            begin_with(network, self.beginning.weights)
        if self.recipe.loss.presence > 0:
            at, features = deepest(self.recipe.network)
            network = WithPresence(
                network,
                deepest=at,
                features=features,
                dimension=self.recipe.data.dimension,
                classes=self.run.store.classes.count,
            )
        return prepare_network(network, self.recipe, self.fabric.device)

    def _untrained(self) -> torch.nn.Module:
        return build_network(
            self.recipe.network,
            dimension=self.recipe.data.dimension,
            channels=self.run.store.channels,
            classes=self.run.store.classes.count,
        )

    def learn(self, track: Track, say: Say) -> Fitted:
        """Train to the last step, from wherever the run stands."""
        if self.beginning is not None:
            for line in self.beginning.describe():
                say(line)
            if self.fabric.is_global_zero:
                write_beginning(self.lesson.folder, self.beginning)
        return fit(
            self.network(),
            self.loss,
            self.sampler,
            self.validation(),
            self.recipe,
            self.lesson.folder,
            fabric=self.fabric,
            make_predict=self.predict_with,
            track=track,
            report=say,
        )

    def predict_with(self, network: torch.nn.Module) -> Predict:
        """Return the function that gives the probabilities of images with a network."""

        def predict(images: Tensor) -> Tensor:
            return score_images(network, images, self.recipe, self.fabric.device, self.precision)

        return predict

    def validation(self) -> Validate:
        """Return the function that scores whole cases that are not learnt from with a network."""
        store = self.lesson.validate
        chosen = choose_cases(store, self.recipe.training.validation_cases)

        def validate(network: torch.nn.Module) -> float:
            rows = [row for case in chosen for row in self._score(network, store, case).rows]
            value = checkpoint_score(ScoreTable(tuple(rows)))
            return value if is_defined(value) else 0.0

        return validate

    def _score(self, network: torch.nn.Module, store: Store, row: int) -> ScoreTable:
        probabilities = score_array(
            network,
            store.values(row),
            self.recipe,
            device=self.fabric.device,
            precision=self.precision,
        )
        return score_regions(
            probabilities, store.label(row), store.classes, case_id=store.cases.ids[row]
        )

    def seconds_per_validation(self) -> float:
        """Return the seconds that one validation takes, from a few of its cases."""
        network, store = self.network().eval(), self.lesson.validate
        rows = choose_cases(store, self.recipe.training.validation_cases)
        some = rows[:: max(1, len(rows) // 5)]
        self._score(network, store, some[0])
        started = time.perf_counter()
        for row in some:
            self._score(network, store, row)
        return (time.perf_counter() - started) / len(some) * len(rows)

    def seconds_per_case(self) -> float:
        """Return the seconds that scoring a case from its files takes, the mean over a few."""
        fitted = Fitted(self.network().state_dict(), 0, 0.0, 0, 0.0)
        predictor = Predictor(self.bundle(fitted), device=self.fabric.device)
        halves = {region: default_point(region) for region in self.run.store.classes.regions}
        cases = self.lesson.unseen or self.run.cases("select")
        some = cases[:: max(1, len(cases) // 5)]
        score_all(predictor, some[:1], role="select", points=(halves, halves), closely=True)
        started = time.perf_counter()
        score_all(predictor, some, role="select", points=(halves, halves), closely=True)
        return (time.perf_counter() - started) / len(some)

    def seconds_per_mining(self) -> float:
        """Return the seconds that one round of mining takes, from a small part of one; or 0."""
        if self.sampler.epoch_length is None:
            return 0.0
        store, settings = self.sampler.store, self.recipe.mining
        predict = self.predict_with(self.network().eval())
        if settings.voxels:
            some = settings.model_copy(update={"voxels": min(settings.voxels, 16)})
            larger = settings.voxels / some.voxels
        else:
            some, ids = settings, store.cases.ids[:: max(1, len(store) // 5)]
            larger = len(store) / len(ids)
            store = store.subset(ids)
        for _ in range(2):  # the first compiles
            started = time.perf_counter()
            mine(
                store,
                predict,
                self.recipe.sampling,
                some,
                last=nothing_mined(store),
                step=0,
                weights="",
                seed=0,
            )
        return (time.perf_counter() - started) * larger

    def bundle(self, fitted: Fitted) -> Bundle:
        """Return the model that learning ended with."""
        store, roles = self.run.store, self.run.roles
        delivered = self.sampler.delivered()
        return Bundle(
            recipe=self.recipe,
            classes=store.classes,
            channels=store.channels,
            preprocessing=store.preprocessing,
            precision=self.precision,
            weights=without_presence(fitted.weights),
            points={},
            trained={
                "steps": fitted.steps,
                "best_step": fitted.best_step,
                "select_score": fitted.best_score,
                "waiting_share": fitted.waiting_share,
                "files_per_case": len(self.run.dataset.cases[0].images),
                "cases": {
                    role: list(roles.values()).count(role) for role in sorted(set(roles.values()))
                },
                "data": self.run.fingerprint.content_hash,
                "delivered": delivered.to_dict(),
                "initial_weights": read_beginning(self.lesson.folder),
            },
        )


def choose_cases(store: Store, most: int) -> list[int]:
    """Return at most ``most`` rows, evenly spread, as many with foreground as without where it can.

    The same store gives the same rows.
    """
    labels = [store.label(row) for row in range(len(store))]
    holds = [bool(((label != 0) & (label != IGNORE)).any()) for label in labels]
    positive = [row for row, held in enumerate(holds) if held]
    negative = [row for row, held in enumerate(holds) if not held]
    of_positive = max(min(len(positive), most // 2), min(len(positive), most - len(negative)))
    return sorted(_spread(positive, of_positive) + _spread(negative, most - of_positive))


def _spread(rows: Sequence[int], most: int) -> list[int]:
    """Return at most ``most`` of the rows, at even distances."""
    if len(rows) <= most:
        return list(rows)
    return [rows[int(place)] for place in np.linspace(0, len(rows) - 1, most)] if most else []


def _fit_into(seconds: float, started: float, learner: _Learner, say: Say) -> PreparedRun:
    """Measure this machine once and write into the plan how many steps fit into the budget."""
    run, recipe = learner.run, learner.recipe
    step_seconds = measure_step(
        learner.network(), learner.loss, learner.sampler, recipe, fabric=learner.fabric
    )
    validations = recipe.training.validations * learner.seconds_per_validation()
    case_seconds = learner.seconds_per_case()
    mining = learner.seconds_per_mining()
    if recipe.mining.every is None:
        validations += mining * MOST_ROUNDS
    else:
        step_seconds += mining / recipe.mining.every
    validations *= max(1, recipe.split.folds)
    gone = time.monotonic() - started + validations
    # Several processes follow the clock of the first.
    step_seconds, case_seconds, gone = learner.fabric.broadcast((step_seconds, case_seconds, gone))
    # Folds learn one after the other, and each of their networks scores whatever all score.
    networks = max(1, run.recipe.split.folds)
    chosen_on = len(run.folds) or len(run.cases("select"))
    shown = networks * (len(run.cases("test")) + 2 * TRAIN_SAMPLE)
    budget = plan_steps(
        seconds,
        step_seconds=networks * step_seconds,
        case_seconds=case_seconds,
        cases_to_score=chosen_on + shown,
        gone=gone,
    )
    say(f"{budget.steps} steps fit into the budget ({step_seconds:.3f} s a step)")
    reasons = {**run.plan.reasons, "training.steps": budget.reason}
    longer = make_recipe(merge(recipe.model_dump(), {"training": {"steps": budget.steps}}))
    return replace(run, plan=Plan(longer, reasons))
