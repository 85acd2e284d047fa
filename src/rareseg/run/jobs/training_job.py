"""Train one network: its loss, its patches, its validation."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TypeVar

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from rareseg import __version__
from rareseg.data.checks.trained_images import facts_of_images
from rareseg.data.store.store import Store
from rareseg.decision.operating_point import default_point
from rareseg.errors import RecipeError
from rareseg.evaluation.tables.score_table import ScoreTable, score_regions
from rareseg.prediction.model import Model
from rareseg.prediction.networks import build_network, deepest, first_weights
from rareseg.prediction.presence_head import kept_weights, load_network
from rareseg.prediction.scorer import ModelScorer, prepare_network, score_array, score_images
from rareseg.prediction.training_facts import TrainingFacts
from rareseg.prediction.weights.weight_transfer import Transfer, begin_with
from rareseg.progress import Track
from rareseg.report.wording.initial_weights_text import initial_weights_sentences
from rareseg.run.scores.case_scoring import score_all
from rareseg.run.setup.initial_weights import (
    ENCODER_NOTE,
    INITIAL_NOTE,
    initial_weights,
    read_origin,
    write_origin,
)
from rareseg.run.setup.prepare import JobInputs, Machine, PreparedRun, Say
from rareseg.sampling.augmentation.augment import window_for
from rareseg.sampling.mining.hard_examples import Predict, mine
from rareseg.sampling.pools.mined_pools import nothing_mined
from rareseg.sampling.sampler import PatchSampler
from rareseg.training.loop import OnValidation, TrainingResult, Validate, fit
from rareseg.training.losses import ComponentLoss, Loss, make_loss
from rareseg.training.presence_losses import WithPresence
from rareseg.training.validation import ValidationResult, check
from rareseg_runner.image_records import IGNORE

T = TypeVar("T")


class TrainingJob:
    """What training one network needs, made from a prepared run."""

    def __init__(
        self, run: PreparedRun, inputs: JobInputs, machine: Machine, fabric: Fabric
    ) -> None:
        self.run, self.recipe, self.inputs = run, inputs.recipe or run.recipe, inputs
        self.classes = inputs.train.classes
        # What is scored while learning is scored as the finished model will be used.
        self.precision = self.recipe.prediction.precision
        self.fabric = fabric
        if self.recipe.training.precision == "bf16":
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
            untrained = self.untrained()
        self.pretrained: Transfer | None = None
        self.initial: Transfer | None = None
        if not (inputs.folder / "last.pt").is_file():
            self.pretrained = first_weights(self.recipe.network, untrained)
            self.initial = initial_weights(self.recipe, untrained)
        self.loss: Loss = make_loss(self.recipe.loss, self.classes)
        self.sampler = PatchSampler.from_settings(
            inputs.train,
            settings,
            seed=self.recipe.training.seed,
            mining=self.recipe.mining,
            steps=self.recipe.training.steps,
            patch_size=window_for(self.recipe.augmentation, settings.patch_size),
            components=isinstance(self.loss, ComponentLoss),
            rank=fabric.global_rank,
            world_size=fabric.world_size,
        )

    def network(self) -> torch.nn.Module:
        """Return the untrained network, the same for the same seed."""
        torch.manual_seed(self.recipe.training.seed)
        network = self.untrained()
        for transfer in (self.pretrained, self.initial):
            if transfer is not None:
                begin_with(network, transfer.weights)
        if self.recipe.loss.presence > 0:
            at, features = deepest(self.recipe.network)
            network = WithPresence(
                network,
                deepest=at,
                features=features,
                dimension=self.recipe.data.dimension,
                classes=self.classes.count,
                regions=tuple(self.classes.regions.values()),
            )
        return prepare_network(network, self.recipe, self.fabric.device)

    def untrained(self) -> torch.nn.Module:
        """Return the network alone, initialised from torch's generator."""
        return build_network(
            self.recipe.network,
            dimension=self.recipe.data.dimension,
            channels=self.run.store.channels,
            classes=self.classes.count,
        )

    def learned(self, model: Model) -> torch.nn.Module:
        """Return the network that learning ended with, ready to score."""
        network = load_network(
            model.weights, self.recipe, channels=model.channels, classes=self.classes.count
        )
        return prepare_network(network, self.recipe, self.fabric.device).eval()

    def learn(self, track: Track, say: Say, on_validation: OnValidation) -> TrainingResult:
        """Train to the last step, from wherever the run stands."""
        for transfer, note in (
            (self.pretrained, ENCODER_NOTE),
            (self.initial, INITIAL_NOTE),
        ):
            if transfer is not None:
                for line in initial_weights_sentences(transfer.origin):
                    say(line)
                if self.fabric.is_global_zero:
                    write_origin(self.inputs.folder / note, transfer.origin)
        return fit(
            self.network(),
            self.loss,
            self.sampler,
            self.validation(),
            self.recipe,
            self.inputs.folder,
            fabric=self.fabric,
            make_predict=self.predict_with,
            track=track,
            report=say,
            on_validation=on_validation,
        )

    def predict_with(self, network: torch.nn.Module) -> Predict:
        """Return the function that gives the probabilities of images with a network."""

        def predict(images: Tensor) -> Tensor:
            device = self.fabric.device
            return score_images(network, images, self.recipe, device, self.precision).probabilities

        return predict

    def validation(self) -> Validate:
        """Return the function that scores whole cases that are not learnt from with a network."""
        store = self.inputs.validate
        chosen = choose_cases(store, self.recipe.training.validation_cases)

        def validate(network: torch.nn.Module) -> ValidationResult:
            rows = [row for case in chosen for row in self._score(network, store, case).rows]
            return check(ScoreTable(tuple(rows)))

        return validate

    def _score(self, network: torch.nn.Module, store: Store, row: int) -> ScoreTable:
        found = score_array(
            network,
            store.values(row),
            self.recipe,
            device=self.fabric.device,
            precision=self.precision,
        )
        return score_regions(
            found.probabilities,
            store.label(row),
            store.classes,
            case_id=store.cases.ids[row],
            presence=found.presence_of(tuple(store.classes.regions)),
        )

    def seconds_per_validation(self) -> float:
        """Return the seconds that one validation takes, from a few of its cases."""
        network, store = self.network().eval(), self.inputs.validate
        rows = choose_cases(store, self.recipe.training.validation_cases)
        some = rows[:: max(1, len(rows) // 5)]
        if not some:
            return 0.0
        self._score(network, store, some[0])
        started = time.perf_counter()
        for row in some:
            self._score(network, store, row)
        return (time.perf_counter() - started) / len(some) * len(rows)

    def seconds_per_case(self) -> float:
        """Return the seconds that scoring a case from its files takes, the mean over a few."""
        fitted = TrainingResult(self.network().state_dict(), 0, 0.0, 0, 0.0)
        scorer = ModelScorer(self.model(fitted), device=self.fabric.device)
        halves = {region: default_point(region) for region in self.classes.regions}
        cases = self.inputs.unseen or self.run.cases("validation") or self.run.cases("train")
        some = cases[:: max(1, len(cases) // 5)]
        score_all(scorer, some[:1], role="validation", points=(halves, halves), detailed=True)
        started = time.perf_counter()
        score_all(scorer, some, role="validation", points=(halves, halves), detailed=True)
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

    def model(self, fitted: TrainingResult) -> Model:
        """Return the model that learning ended with."""
        store, roles = self.run.store, self.run.roles
        return Model(
            recipe=self.recipe,
            classes=self.classes,
            channels=store.channels,
            preprocessing=store.preprocessing,
            precision=self.precision,
            weights=kept_weights(fitted.weights),
            training=TrainingFacts(
                steps=fitted.steps,
                best_step=fitted.kept_step,
                data=self.run.fingerprint.content_hash,
                files_per_case=len(self.run.dataset.cases[0].images),
                validation_score=fitted.kept_score,
                waiting_share=fitted.waiting_share,
                cases={
                    role: list(roles.values()).count(role) for role in sorted(set(roles.values()))
                },
                rareseg=__version__,
                finished=datetime.now(UTC).date().isoformat(),
                delivered=self.sampler.delivered(),
                encoder_weights=read_origin(self.inputs.folder / ENCODER_NOTE),
                initial_weights=read_origin(self.inputs.folder / INITIAL_NOTE),
                images=facts_of_images(
                    self.run.fingerprint, self.run.dataset.cases[0].nodata_value
                ),
            ),
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
    return sorted(evenly(positive, of_positive) + evenly(negative, most - of_positive))


def evenly(items: Sequence[T], most: int) -> list[T]:
    """Return at most ``most`` of the items, at even distances."""
    if len(items) <= most:
        return list(items)
    return [items[int(place)] for place in np.linspace(0, len(items) - 1, most)] if most else []
