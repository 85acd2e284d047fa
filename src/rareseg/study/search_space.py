"""The search space: keys of the recipe with their ranges and choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from rareseg.errors import RecipeError, UsageError
from rareseg.recipe import FAMILIES, Recipe, check_values, merge, parse_settings
from rareseg.study.comparison_rows import require_own

DEFAULT_RANGES = (
    "training.learning_rate=3e-4..1e-2:log",
    "training.weight_decay=1e-4..1e-1:log",
    "sampling.positive_share=0.3..0.9",
    "network.dropout=0..0.3",
)
DEFAULT_CHOICES = (
    "sampling.strategy=random|balanced|negatives|hard_negative",
    "loss.name=cross_entropy|dice_cross_entropy|dice_hard_cross_entropy|focal|tversky",
)
"""What is searched where nothing else is asked for."""


@dataclass(frozen=True)
class Space:
    """The distribution of every key ``section.key`` that is varied.

    Choices are YAML texts, so that lists can be chosen from as well.
    """

    distributions: Mapping[str, BaseDistribution]

    def overrides(self, values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Return a recipe's nested values for what a trial drew.

        Settings of a network or a loss that was not drawn are left out.
        """
        settings = [
            f"{key}={values[key]}"
            for key, distribution in self.distributions.items()
            if isinstance(distribution, CategoricalDistribution)
        ]
        numbers: dict[str, dict[str, Any]] = {}
        for key, distribution in self.distributions.items():
            if not isinstance(distribution, CategoricalDistribution):
                section, _, name = key.partition(".")
                numbers.setdefault(section, {})[name] = values[key]
        merged = merge(parse_settings(settings), numbers)
        for place, family in FAMILIES.items():
            own = merged.get(place, {})
            if own.get("name") is not None:
                merged[place] = family.keep_readable(own, own["name"])
        return merged

    def within(self, recipe: Recipe) -> dict[str, Any]:
        """Return those of a recipe's values that the space holds."""
        found: dict[str, Any] = {}
        values = recipe.model_dump(mode="json")
        for key, distribution in self.distributions.items():
            section, _, name = key.partition(".")
            value = values[section].get(name)
            if isinstance(distribution, CategoricalDistribution):
                same = [t for t in distribution.choices if yaml.safe_load(str(t)) == value]
                if same:
                    found[key] = same[0]
            elif isinstance(value, int | float):
                assert isinstance(distribution, IntDistribution | FloatDistribution)
                if distribution.low <= value <= distribution.high:
                    found[key] = value
        return found

    def to_dict(self) -> dict[str, str]:
        """Return plain values that tell one space from another."""
        return {key: str(distribution) for key, distribution in self.distributions.items()}


def make_space(ranges: Sequence[str], choices: Sequence[str]) -> Space:
    """Return the space of ``section.key=LOW..HIGH[:log]`` and ``section.key=A|B|C``.

    Whole bounds make a whole number. Without any of either the default space is searched. Raises
    :class:`RecipeError` for what is none, for values that a recipe does not take, and for keys that
    all trainings share.
    """
    if not ranges and not choices:
        ranges, choices = DEFAULT_RANGES, DEFAULT_CHOICES
    distributions: dict[str, BaseDistribution] = {}
    for text in ranges:
        key, found, ends = _range(text)
        _check(key, ends, f"--range {text!r}")
        _add(distributions, key, found)
    for text in choices:
        key, equals, rest = text.partition("=")
        offered = [part.strip() for part in rest.split("|")]
        if not equals or len(offered) < 2 or not all(offered):
            raise RecipeError(
                f"--choice {text!r} is not of the form section.key=A|B, such as "
                "loss.name=focal|tversky."
            )
        _check(key.strip(), offered, f"--choice {text!r}")
        _add(distributions, key.strip(), CategoricalDistribution(offered))
    return Space(distributions)


def _range(text: str) -> tuple[str, BaseDistribution, list[str]]:
    key, equals, rest = text.partition("=")
    bounds, colon, how = rest.partition(":")
    ends = [part.strip() for part in bounds.split("..")]
    try:
        low, high = (_number(end) for end in ends)
        if not equals or (colon and how.strip() != "log") or not low < high:
            raise ValueError
        log = bool(colon)
        if log and low <= 0:
            raise ValueError
    except ValueError as error:
        raise RecipeError(
            f"--range {text!r} is not of the form section.key=LOW..HIGH with LOW below HIGH, such "
            "as network.dropout=0..0.3, or training.learning_rate=1e-4..1e-2:log for a scale of "
            "factors."
        ) from error
    if isinstance(low, int) and isinstance(high, int) and not _takes_fractions(key.strip()):
        return key.strip(), IntDistribution(low, high, log=log), ends
    return key.strip(), FloatDistribution(float(low), float(high), log=log), ends


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def _takes_fractions(key: str) -> bool:
    """Whether the recipe takes a half for the key."""
    try:
        check_values(parse_settings([f"{key}=0.5"]))
    except RecipeError:
        return False
    return True


def _check(key: str, offered: Sequence[str], source: str) -> None:
    for value in offered:
        values = parse_settings([f"{key}={_plain(value)}"])
        require_own(values, source)
        check_values(values, source=source)


def _plain(text: str) -> str:
    """Return a number as YAML reads one; it takes 1e-4 for a word."""
    try:
        return yaml.safe_dump(_number(text)).splitlines()[0]
    except ValueError:
        return text


def _add(known: dict[str, BaseDistribution], key: str, found: BaseDistribution) -> None:
    if key in known:
        raise UsageError(f"{key} is to be varied twice; give it one --range or --choice.")
    known[key] = found
