"""The recipe: all settings of a run, checked, read and written.

A :class:`Recipe` is complete: every value is set, by the plan or by the user. It is read from and
written to YAML, each value with the reason for it as a comment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import yaml
from pydantic import BeforeValidator, SerializeAsAny, ValidationError, model_validator

from rareseg.errors import RecipeError, nearest
from rareseg.recipe.family import Family
from rareseg.recipe.loss_sections import (
    LOSS_SECTIONS,
    DiceCrossEntropySection,
    LossSection,
    RecordedLossSection,
    WeightedLossSection,
)
from rareseg.recipe.network_sections import (
    NETWORK_SECTIONS,
    NO_WEIGHTS,
    HalfUNetSection,
    NetworkSection,
)
from rareseg.recipe.renamed_keys import with_current_keys
from rareseg.recipe.section import Section
from rareseg.recipe.sections import (
    AugmentationSection,
    CascadeSettings,
    DataSection,
    DecisionSection,
    MiningSection,
    Phase,
    PredictionSection,
    SamplingSection,
    SplitSection,
    TrainingSection,
)
from rareseg.yaml_files import parse_yaml, read_yaml

__all__ = [
    "FAMILIES",
    "LOSS_SECTIONS",
    "NETWORK_SECTIONS",
    "AugmentationSection",
    "CascadeSettings",
    "DataSection",
    "DecisionSection",
    "Family",
    "LossSection",
    "MiningSection",
    "NetworkSection",
    "Overrides",
    "Phase",
    "PredictionSection",
    "Recipe",
    "SamplingSection",
    "Section",
    "SplitSection",
    "TrainingSection",
    "WeightedLossSection",
    "check_values",
    "differences",
    "make_recipe",
    "merge",
    "parse_settings",
    "read_overrides",
    "read_recipe",
    "recorded_recipe",
    "to_yaml",
]


FAMILIES: Mapping[str, Family[Any]] = {"network": NETWORK_SECTIONS, "loss": LOSS_SECTIONS}
"""The sections of the recipe that are one of several, by their place."""


class _Parts(Section):
    """All sections, each sound by itself."""

    data: DataSection = DataSection()
    split: SplitSection = SplitSection()
    sampling: SamplingSection = SamplingSection()
    mining: MiningSection = MiningSection()
    augmentation: AugmentationSection = AugmentationSection()
    network: Annotated[
        SerializeAsAny[NetworkSection], BeforeValidator(NETWORK_SECTIONS.validate)
    ] = HalfUNetSection()
    loss: Annotated[SerializeAsAny[LossSection], BeforeValidator(LOSS_SECTIONS.validate)] = (
        DiceCrossEntropySection()
    )
    training: TrainingSection = TrainingSection()
    prediction: PredictionSection = PredictionSection()
    decision: DecisionSection = DecisionSection()


class Recipe(_Parts):
    """One whole run, from the data to the decision."""

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

    @model_validator(mode="after")
    def _freezes_what_was_learned(self) -> Recipe:
        share = self.training.freeze_encoder
        weights = getattr(self.network, "encoder_weights", NO_WEIGHTS)
        if share and self.training.initial_weights is None and weights == NO_WEIGHTS:
            raise ValueError(
                f"training.freeze_encoder is {share:g}, but there are neither initial_weights nor "
                "a pretrained encoder; an encoder that learned nothing is not to be kept, so leave "
                "it at 0"
            )
        return self

    @model_validator(mode="after")
    def _splits_once(self) -> Recipe:
        if self.training.cascade is not None and self.split.folds:
            raise ValueError(
                "training.cascade and split.folds both divide the train cases; leave one of them "
                "out"
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


def recorded_recipe(values: Overrides, source: str) -> Recipe:
    """Return the recipe that a finished model recorded.

    A loss that is not registered here is kept as it was written: a model is used without its loss.
    All else as :func:`make_recipe`.
    """
    loss = values.get("loss", {})
    if loss.get("name") is None or loss["name"] in LOSS_SECTIONS.names:
        return make_recipe(values, source)
    recipe = make_recipe({name: part for name, part in values.items() if name != "loss"}, source)
    return recipe.model_copy(update={"loss": RecordedLossSection.model_validate(loss)})


def check_values(values: Overrides, source: str = "recipe") -> None:
    """Check values before the rest is planned: each by itself, sizes not against the dimension.

    Raises as :func:`make_recipe`.
    """
    _validated(_Parts, values, source)


P = TypeVar("P", bound=_Parts)


def _validated(kind: type[P], values: Overrides, source: str) -> P:
    try:
        return kind.model_validate(with_current_keys(values, source))
    except ValidationError as error:
        sentences = (_explain(fault, source, values) for fault in error.errors())
        raise RecipeError(" ".join(sentences)) from error


def read_overrides(path: Path) -> dict[str, dict[str, Any]]:
    """Read a recipe file, complete or partial, into plain nested values.

    Raises :class:`RecipeError` where the file is missing, is no YAML or is not a mapping of
    sections; unknown keys are found by :func:`make_recipe`.
    """
    try:
        content = read_yaml(path)
    except FileNotFoundError as error:
        raise RecipeError(f"{path} does not exist; `rareseg plan DATA` writes a recipe.") from error
    except (OSError, ValueError) as error:
        raise RecipeError(f"{path} cannot be read as YAML: {error}.") from error
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(v, dict) for v in content.values()):
        raise RecipeError(
            f"{path} must hold sections such as `training:` with keys below them "
            "(`rareseg plan DATA` writes an example)."
        )
    return with_current_keys(content, str(path))


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
            values.setdefault(section, {})[key] = parse_yaml(text)
        except ValueError as error:
            raise RecipeError(
                f"--set {setting[:80]!r}: the value cannot be read as YAML: {error}."
            ) from error
    return with_current_keys(values, "--set", notice=True)


def merge(*layers: Overrides) -> dict[str, dict[str, Any]]:
    """Lay values over each other; later layers win, key by key.

    Where a later layer names another network or loss, earlier settings that the new one does not
    read go with the old one.
    """
    merged: dict[str, dict[str, Any]] = {}
    for layer in layers:
        for section, values in layer.items():
            before = merged.get(section, {})
            family, name = FAMILIES.get(section), values.get("name")
            if family is not None and before and name not in (None, before.get("name")):
                before = family.keep_readable(before, name)
            merged[section] = {**before, **values}
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
            lines.append(f"  {key}: {_yaml_value(section.model_dump(mode='json')[key])}")
    return "\n".join(lines) + "\n"


_UNICODE_LINE_BREAKS = "\x85\u2028\u2029"
"""YAML folds them within a text into a space, unless they are written as escapes."""


def _yaml_value(value: Any) -> str:
    """Return a value as YAML on one line."""
    plain = not any(letter in str(value) for letter in _UNICODE_LINE_BREAKS)
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=plain)
    return str(text).removesuffix("...\n").strip()


def differences(first: Recipe, second: Recipe) -> list[str]:
    """Return one ``section.key: a → b`` for each value in which two recipes differ.

    Of two networks (or losses) the name and the settings that both read are compared.
    """
    found = []
    for section, values in first.model_dump(mode="json").items():
        others = second.model_dump(mode="json")[section]
        found += [
            f"{section}.{key}: {value} → {others[key]}"
            for key, value in values.items()
            if key in others and value != others[key]
        ]
    return found


def _explain(fault: Any, source: str, values: Overrides) -> str:
    """Turn one pydantic fault into one sentence with the nearest key or the allowed values."""
    place = [str(part) for part in fault["loc"]]
    where = ".".join(part for part in place if not part.isdigit()) or "recipe"
    if fault["type"] == "extra_forbidden":
        known = list(_section_at(place[:-1], values).model_fields)
        return (
            f"{source}: '{where}' is not a key of {_holder(place[:-1], values)}"
            f"{nearest(place[-1], known)}; allowed here: {', '.join(known)}."
        )
    if fault["type"] == "value_error":
        prefix = f"{source}: " if where == "recipe" else f"{source}: {where}: "
        return prefix + str(fault["ctx"]["error"]) + "."
    return f"{source}: {where} is {fault['input']!r}; {_lower_first(fault['msg'])}."


def _holder(place: Sequence[str], values: Overrides) -> str:
    """Say what holds the keys at a place: the recipe, or the named network or loss in it."""
    if len(place) == 1 and place[0] in FAMILIES:
        name = _section_at(place, values).model_fields["name"].default
        return f"the {place[0]} {name}"
    return "the recipe"


def _section_at(place: Sequence[str], values: Overrides) -> type[Section]:
    """Return what holds the keys at a place of the recipe; numbers count the items of a list."""
    section: type[Section] = Recipe
    for depth, part in enumerate(place):
        if depth == 0 and part in FAMILIES:
            family = FAMILIES[part]
            section = family.section_of(family.current(values[part]))
        elif not part.isdigit():
            inside = _section_in(section.model_fields[part].annotation)
            assert inside is not None, "only sections have keys"
            section = inside
    return section


def _section_in(annotation: Any) -> type[Section] | None:
    """Find the section in an annotation such as ``tuple[Phase, ...] | None``."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next(filter(None, map(_section_in, get_args(annotation))), None)


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
