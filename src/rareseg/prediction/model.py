"""Record of a trained model: its weights and everything that its scores depend on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from rareseg.prediction.training_facts import TrainingFacts
from rareseg.recipe import Recipe
from rareseg_runner.exported_model import EngineFiles
from rareseg_runner.image_records import Classes
from rareseg_runner.preprocessing.preprocess import Preprocessing
from rareseg_runner.scoring.cascade_model import Cascade
from rareseg_runner.scoring.presence_scaling import PresenceScaling

IMAGE_HEAD = "image_head."
"""What the names of a network's image head begin with among its weights."""


@dataclass(frozen=True, eq=False)
class Model:
    """A model, which nothing that is decided about its scores changes.

    ``weights`` are those of one network, or of ``members`` networks (:func:`join_members`) that are
    averaged as the recipe's ``prediction.mean_of`` says, or joined as ``cascade`` says.
    ``channels`` is the number of image channels; ``precision`` (``"32"`` or ``"bf16"``) the
    arithmetic in which cases are scored; ``training`` how the weights came about. ``presence`` says
    how what the networks tell of whole images becomes each region's presence, which gates and
    tables read. ``digest`` is the SHA-256 of the file of weights, which tells one model from
    another; "" of a model that no file holds yet. An exported model has no weights here: ``engine``
    computes it from the files in ``folder``.
    """

    recipe: Recipe
    classes: Classes
    channels: int
    preprocessing: Preprocessing
    precision: str
    weights: Mapping[str, Tensor]
    training: TrainingFacts
    members: int = 1
    cascade: Cascade | None = None
    presence: Mapping[str, PresenceScaling] = field(default_factory=dict)
    digest: str = ""
    engine: EngineFiles | None = None
    folder: Path | None = None

    @property
    def tells_presence(self) -> bool:
        """Whether the networks say which regions an image holds: gates then cut √(q·m)."""
        if self.engine is not None:
            return self.engine.tells_presence
        of_one = (name.removeprefix(f"{name.split('.', 1)[0]}.") for name in self.weights)
        names = self.weights if self.members == 1 else of_one
        return any(name.startswith(IMAGE_HEAD) for name in names)

    @property
    def nodata_value(self) -> str | None:
        """The number in images that means that nothing was measured, None where none was named."""
        return None if self.training.images is None else self.training.images.nodata_value

    def arithmetic(self, device: str) -> dict[str, Any]:
        """Return what the scores depend on, on a type of device: a certificate is void under other.

        ``device`` is torch's name of the type, such as "cpu".
        """
        scaled = {
            f"presence of {region}": [own.slope, own.bias] for region, own in self.presence.items()
        }
        prediction = self.recipe.prediction.model_dump(mode="json")
        if self.members == 1 or prediction["mean_of"] == "probabilities":
            # As it was before there was anything else: certificates of then stand.
            del prediction["mean_of"]
        own = {"weights": self.digest, "precision": self.precision, "backend": f"torch on {device}"}
        if (files := self.engine) is not None:
            own["precision"] = files.engine.computes_in(files.precision)
            own["backend"] = files.backend
        return {**scaled, **prediction, **own}

    def member(self, number: int) -> Model:
        """Return one of several networks as a model of its own, numbered from 0."""
        return self.mean_of([number])

    def mean_of(self, numbers: Sequence[int]) -> Model:
        """Return the model that averages some of several networks, numbered from 0."""
        if self.engine is not None:
            networks = tuple(self.engine.networks[number] for number in numbers)
            fewer = replace(self.engine, networks=networks)
            return replace(self, engine=fewer, members=len(networks))
        every = split_members(self)
        chosen = [every[number] for number in numbers]
        return replace(self, weights=join_members(chosen), members=len(chosen))

    def ignoring(self, value: int | None) -> Model:
        """Return the model for data whose masks mark what does not count by ``value``.

        The model as it is, where the value is None or one of its classes.
        """
        if value is None or value in self.classes.values:
            return self
        return replace(self, classes=replace(self.classes, ignore_value=value))


def join_members(members: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return the weights of several networks as one mapping; of one, its own."""
    if len(members) == 1:
        return dict(members[0])
    return {f"{k}.{name}": t for k, weights in enumerate(members) for name, t in weights.items()}


def split_members(model: Model) -> list[dict[str, Tensor]]:
    """Return the weights of every network of a model: what :func:`join_members` joined."""
    if model.members == 1:
        return [dict(model.weights)]
    parts: list[dict[str, Tensor]] = [{} for _ in range(model.members)]
    for name, tensor in model.weights.items():
        member, own = name.split(".", 1)
        parts[int(member)][own] = tensor
    return parts
