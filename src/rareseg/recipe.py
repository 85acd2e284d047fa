"""Everything a run can be told, and nothing else.

A :class:`Recipe` is complete: every value is set, by the plan or by the user. It is read from and
written to YAML, each value with the reason for it as a comment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rareseg.errors import RecipeError, nearest

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0.0)]
NonNegativeFloat = Annotated[float, Field(ge=0.0)]


class Section(BaseModel):
    """A part of the recipe: immutable, and closed to keys that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class DataSection(Section):
    """How cases are brought to the network's grid and scale."""

    dimension: Literal[2, 3] = Field(default=2, description="2: slices or photographs; 3: volumes")
    target_spacing: tuple[PositiveFloat, PositiveFloat, PositiveFloat] | None = Field(
        default=None,
        description="z, y, x in mm (pixels for photographs); null keeps each file's own",
    )
    normalisation: Literal["zscore", "dataset", "range", "none"] = Field(
        default="zscore",
        description="zscore: per case and channel; dataset: by the whole data set",
    )


class SplitSection(Section):
    """Which share of the groups plays which role."""

    seed: int = 0
    train: Probability = 0.65
    select: Probability = 0.15
    certify: Probability = 0.0
    test: Probability = 0.2

    @model_validator(mode="after")
    def _sums_to_one(self) -> SplitSection:
        total = self.train + self.select + self.certify + self.test
        if abs(total - 1.0) > 1e-6:
            raise ValueError(f"the shares train + select + certify + test are {total:g}, not 1")
        return self


class SamplingSection(Section):
    """Where the network looks while it learns."""

    strategy: str = Field(default="balanced", description="the name of a sampling strategy")
    patch_size: tuple[PositiveInt, ...] = Field(
        default=(256, 256), description="(z,) y, x in voxels"
    )
    batch_size: PositiveInt = 8
    border: Literal["reflect", "background", "shift"] = "reflect"
    weighting: Literal["voxel", "case"] = Field(
        default="case",
        description="voxel: every voxel of a pool alike; case: the case is drawn first",
    )
    positive_share: Probability = Field(
        default=0.5, description="strategy negatives: the share of windows that hold foreground"
    )

    @model_validator(mode="after")
    def _patch_has_two_or_three_axes(self) -> SamplingSection:
        if len(self.patch_size) not in (2, 3):
            raise ValueError(f"patch_size has {len(self.patch_size)} values, not 2 or 3")
        return self


class AugmentationSection(Section):
    """How patches are varied; every probability is per patch, every strength a largest value."""

    mirror: Probability = Field(default=0.5, description="per axis")
    rotate: Probability = Field(default=0.5, description="probability of a rotation")
    rotate_degrees: Annotated[float, Field(ge=0, le=180)] = 15.0
    scale: Probability = Field(default=0.5, description="probability of a change of size")
    scale_range: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.2, description="sizes from 1 - r to 1 + r"
    )
    brightness: Probability = 0.5
    brightness_range: NonNegativeFloat = Field(
        default=0.2, description="shift, in standard deviations"
    )
    contrast: Probability = 0.5
    contrast_range: Annotated[float, Field(ge=0, lt=1)] = 0.25
    gamma: Probability = 0.3
    gamma_range: Annotated[float, Field(ge=0, lt=1)] = 0.3
    noise: Probability = 0.2
    noise_level: NonNegativeFloat = Field(default=0.2, description="standard deviation")
    blur: Probability = 0.1
    blur_sigma: NonNegativeFloat = Field(default=1.0, description="in voxels")


class NetworkSection(Section):
    """The network, by name and width."""

    name: str = "half_unet"
    width: tuple[PositiveInt, ...] = Field(
        default=(16, 32, 64, 128), description="channels per level"
    )
    residual_units: Annotated[int, Field(ge=0, le=8)] = 0
    norm: Literal["instance", "batch", "group"] = "group"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @model_validator(mode="after")
    def _has_levels(self) -> NetworkSection:
        if len(self.width) < 2:
            raise ValueError(f"width has {len(self.width)} value, a network needs 2 levels")
        return self


class LossSection(Section):
    """What a mistake costs while the network learns."""

    name: str = "dice_cross_entropy"
    class_weights: tuple[PositiveFloat, ...] | None = Field(
        default=None, description="one per class, background first; used by the cross-entropies"
    )
    batch_dice: bool = Field(default=False, description="dice over the whole batch, not per patch")
    hardest_share: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.02, description="dice_hard_cross_entropy: share of the background voxels"
    )
    focal_gamma: NonNegativeFloat = 2.0
    tversky_false_positive: Probability = 0.3
    tversky_false_negative: Probability = 0.7


class TrainingSection(Section):
    """How long and how fast to learn."""

    seed: int = 0
    steps: PositiveInt = 1000
    learning_rate: PositiveFloat = 1e-3
    weight_decay: NonNegativeFloat = 1e-2
    warmup_share: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.05, description="share of the steps in which the learning rate rises"
    )
    gradient_clip: PositiveFloat = Field(default=1.0, description="largest norm of the gradient")
    average: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.99,
        description="decay of the running average of the weights that is kept; 0: none",
    )
    validations: PositiveInt = Field(
        default=4, description="times that whole select cases are scored"
    )
    validation_cases: PositiveInt = Field(
        default=100, description="at most so many of them, positives and negatives alike"
    )
    patience: Annotated[int, Field(ge=0)] = Field(
        default=0, description="stop after so many validations without a better one; 0: never"
    )
    precision: Literal["auto", "32", "bf16"] = Field(
        default="auto", description="auto: bf16 where the machine computes in it"
    )
    threads: Annotated[int, Field(ge=0)] = Field(
        default=0,
        description="CPU threads; 0: as many as the machine has, written down at the first start",
    )


class PredictionSection(Section):
    """How whole cases are scored. A certificate holds for these values alone."""

    tile: tuple[PositiveInt, ...] | None = Field(
        default=None, description="window in voxels; null: the whole image at once"
    )
    overlap: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.5, description="share by which neighbouring windows overlap"
    )
    mirror: bool = Field(default=False, description="average over mirrored images as well")


class DecisionSection(Section):
    """What the operating point is chosen for."""

    maximize: Literal["dice"] = "dice"


class _Parts(Section):
    """All sections, each sound by itself."""

    data: DataSection = DataSection()
    split: SplitSection = SplitSection()
    sampling: SamplingSection = SamplingSection()
    augmentation: AugmentationSection = AugmentationSection()
    network: NetworkSection = NetworkSection()
    loss: LossSection = LossSection()
    training: TrainingSection = TrainingSection()
    prediction: PredictionSection = PredictionSection()
    decision: DecisionSection = DecisionSection()


class Recipe(_Parts):
    """One whole run: data, split, sampling, augmentation, network, loss, training, decision."""

    @model_validator(mode="after")
    def _axes_agree(self) -> Recipe:
        for name, size in (
            ("sampling.patch_size", self.sampling.patch_size),
            ("prediction.tile", self.prediction.tile),
        ):
            if size is not None and len(size) != self.data.dimension:
                raise ValueError(
                    f"{name} has {len(size)} values, but data.dimension is {self.data.dimension}"
                )
        return self


Overrides = Mapping[str, Mapping[str, Any]]
"""Values that the user sets, as ``{section: {key: value}}``."""


def make_recipe(values: Overrides, source: str = "recipe") -> Recipe:
    """Return the complete recipe for ``values``; keys that are not given take their defaults.

    Raises :class:`RecipeError` with one sentence per fault, naming ``source``, the key, the value
    met and what is allowed.
    """
    return _validated(Recipe, values, source)


def check_values(values: Overrides, source: str = "recipe") -> None:
    """Check values before the rest is planned: each by itself, sizes not against the dimension.

    Raises as :func:`make_recipe`.
    """
    _validated(_Parts, values, source)


P = TypeVar("P", bound=_Parts)


def _validated(kind: type[P], values: Overrides, source: str) -> P:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise RecipeError(" ".join(_explain(fault, source) for fault in error.errors())) from error


def read_overrides(path: Path) -> dict[str, dict[str, Any]]:
    """Read a recipe file, complete or partial, into plain nested values.

    Raises :class:`RecipeError` where the file is missing, is no YAML or is not a mapping of
    sections; unknown keys are found by :func:`make_recipe`.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RecipeError(f"{path} does not exist; `rareseg plan DATA` writes a recipe.") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise RecipeError(f"{path} cannot be read as YAML: {reason}.") from error
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(v, dict) for v in content.values()):
        raise RecipeError(
            f"{path} must hold sections such as `training:` with keys below them "
            "(`rareseg plan DATA` writes an example)."
        )
    return content


def read_recipe(path: Path) -> Recipe:
    """Read and check a recipe file."""
    return make_recipe(read_overrides(path), source=str(path))


def parse_settings(settings: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Turn ``["training.steps=500", ...]`` into nested values; the right side is YAML.

    Raises :class:`RecipeError` for anything that is not ``section.key=value``.
    """
    values: dict[str, dict[str, Any]] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        section, dot, key = name.strip().partition(".")
        if not (equals and dot and section and key):
            raise RecipeError(
                f"--set {setting!r} is not of the form section.key=value, "
                "such as training.steps=500."
            )
        try:
            values.setdefault(section, {})[key] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise RecipeError(f"--set {setting!r}: the value cannot be read as YAML.") from error
    return values


def merge(*layers: Overrides) -> dict[str, dict[str, Any]]:
    """Lay values over each other; later layers win, key by key."""
    merged: dict[str, dict[str, Any]] = {}
    for layer in layers:
        for section, values in layer.items():
            merged.setdefault(section, {}).update(values)
    return merged


def to_yaml(recipe: Recipe, reasons: Mapping[str, str] | None = None) -> str:
    """Write the recipe as YAML, with the reason for each ``section.key`` as a comment above it."""
    reasons = reasons or {}
    lines = ["# A rareseg recipe: every value can be changed here or with --set section.key=value."]
    for section_name in Recipe.model_fields:
        section: Section = getattr(recipe, section_name)
        lines += ["", f"{section_name}:"]
        for key, info in type(section).model_fields.items():
            note = reasons.get(f"{section_name}.{key}") or info.description
            if note:
                lines.append(f"  # {note}")
            value = yaml.safe_dump(
                section.model_dump(mode="json")[key], default_flow_style=True, width=10**6
            )
            lines.append(f"  {key}: {value.removesuffix('...' + chr(10)).strip()}")
    return "\n".join(lines) + "\n"


def differences(first: Recipe, second: Recipe) -> list[str]:
    """Return one ``section.key: a → b`` for each value in which two recipes differ."""
    found = []
    for section, values in first.model_dump(mode="json").items():
        others = second.model_dump(mode="json")[section]
        found += [
            f"{section}.{key}: {value} → {others[key]}"
            for key, value in values.items()
            if value != others[key]
        ]
    return found


def _explain(fault: Any, source: str) -> str:
    """Turn one pydantic fault into one sentence with the nearest key or the allowed values."""
    place = [str(part) for part in fault["loc"]]
    where = ".".join(part for part in place if not part.isdigit()) or "recipe"
    if fault["type"] == "extra_forbidden":
        sections = Recipe.model_fields
        inside = len(place) > 1 and place[0] in sections
        known = list(_section_type(place[0]).model_fields if inside else sections)
        return (
            f"{source}: '{where}' is not a key of the recipe{nearest(place[-1], known)}; "
            f"allowed here: {', '.join(known)}."
        )
    if fault["type"] == "value_error":
        prefix = f"{source}: " if where == "recipe" else f"{source}: {where}: "
        return prefix + str(fault["ctx"]["error"]) + "."
    return f"{source}: {where} is {fault['input']!r}; {_lower_first(fault['msg'])}."


def _section_type(name: str) -> type[Section]:
    annotation = Recipe.model_fields[name].annotation
    assert isinstance(annotation, type)
    assert issubclass(annotation, Section)
    return annotation


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
