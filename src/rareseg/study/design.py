"""Design a comparison: rows, seeds and folds, each run with its complete recipe.

Everything that a cell's result depends on stands in the design and in the hashes of the code and
the data, so that two machines can tell whether they work on the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import torch

from rareseg.data.checks.fingerprint import Fingerprint
from rareseg.data.records import Role
from rareseg.data.splits import make_folds, make_split
from rareseg.errors import UsageError
from rareseg.prediction.networks import require_fitting_windows
from rareseg.recipe import Overrides, Recipe, differences, make_recipe, merge
from rareseg.study.comparison_rows import ComparisonRow
from rareseg.training.plan import plan_recipe

Roles = Mapping[str, Role]


@dataclass(frozen=True)
class StudyCell:
    """One training: a row, a seed, a fold, and the complete recipe that follows from them.

    ``key`` is the hash of all that its result depends on.
    """

    row: str
    seed: int
    fold: int
    recipe: Recipe
    key: str

    @property
    def title(self) -> str:
        """What the cell is called."""
        return f"{self.row}, seed {self.seed}, fold {self.fold}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**vars(self), "recipe": self.recipe.model_dump(mode="json")}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> StudyCell:
        """Return the cell that :meth:`to_dict` wrote."""
        return cls(**{**record, "recipe": make_recipe(record["recipe"])})


@dataclass(frozen=True)
class Design:
    """A comparison as it is asked for.

    ``base`` is the recipe that all rows depart from, ``recipes`` lead from a row's name to its own,
    seed aside; ``roles`` give the role of every case, fold by fold. ``data`` and ``code`` are
    hashes.
    """

    base: Recipe
    recipes: Mapping[str, Recipe]
    seeds: tuple[int, ...]
    roles: tuple[Roles, ...]
    data: str
    code: str

    @property
    def rows(self) -> tuple[str, ...]:
        """The rows' names, in their order."""
        return tuple(self.recipes)

    def cells(self) -> tuple[StudyCell, ...]:
        """Return all cells, such that every row has been tried once before any is tried twice."""
        return tuple(
            self._cell(row, seed, fold)
            for seed in self.seeds
            for fold in range(len(self.roles))
            for row in self.recipes
        )

    def departures(self, row: str) -> list[str]:
        """Return in which values a row departs from the first."""
        return differences(self.recipes[self.rows[0]], self.recipes[row])

    def identity(self) -> dict[str, Any]:
        """Return plain values that are equal for all who work on the same comparison.

        Rows and seeds are not among them: more can be asked for later.
        """
        return {
            "code": self.code,
            "torch": torch.__version__,
            "data": self.data,
            "folds": len(self.roles),
            "split": _digest([sorted(roles.items()) for roles in self.roles]),
            "shared": self.base.model_dump(mode="json"),
        }

    def named_recipes(self) -> dict[str, Any]:
        """Return the recipe of every row as plain values."""
        return {row: recipe.model_dump(mode="json") for row, recipe in self.recipes.items()}

    def _cell(self, row: str, seed: int, fold: int) -> StudyCell:
        values = merge(self.recipes[row].model_dump(), {"training": {"seed": seed}})
        recipe = make_recipe(values)
        parts = [self.identity(), fold, recipe.model_dump(mode="json")]
        return StudyCell(row, seed, fold, recipe, _digest(parts))


def make_design(
    fingerprint: Fingerprint,
    rows: Sequence[ComparisonRow],
    shared: Overrides,
    *,
    seeds: int,
    folds: int,
    declared: Roles,
) -> Design:
    """Return the comparison of ``rows`` over ``seeds`` seeds from ``training.seed`` on.

    One fold means the recipe's own split; of several each is the test set once, and the other cases
    are divided into train and validation in the recipe's proportion. ``declared`` are roles that
    the data set states, with which there is one fold. Raises :class:`UsageError` and
    :class:`~rareseg.errors.RecipeError` for what cannot be compared.
    """
    if seeds < 1 or folds < 1:
        raise UsageError(f"{seeds} seeds and {folds} folds leave no cell; give 1 or more of each.")
    recipes = {
        row.name: plan_recipe(fingerprint, merge(shared, row.settings)).recipe for row in rows
    }
    for recipe in recipes.values():
        require_fitting_windows(recipe)
    base = plan_recipe(fingerprint, shared).recipe
    if base.split.folds:
        raise UsageError(
            "split.folds trains several networks in one run; compare with --folds instead."
        )
    roles = _roles(fingerprint, base, folds, declared)
    for role in ("validation", "test"):
        if any(role not in own.values() for own in roles):
            raise UsageError(
                f"No case has the role {role}, and without it rows cannot be told apart; give "
                f"split.{role} a share, or some cases that role."
            )
    return Design(
        base=base,
        recipes=recipes,
        seeds=tuple(range(base.training.seed, base.training.seed + seeds)),
        roles=tuple(roles),
        data=data_hash(fingerprint),
        code=code_hash(),
    )


def data_hash(fingerprint: Fingerprint) -> str:
    """Return a hash of what the data hold; neither paths nor times of files count."""
    facts = [_rounded(asdict(case)) for case in fingerprint.cases]
    return _digest([facts, fingerprint.classes.to_dict()])


def _rounded(content: Any) -> Any:
    """Leave six digits of every float: sums differ in the last ones between processors."""
    if isinstance(content, float):
        return f"{content:.6g}"
    if isinstance(content, Mapping):
        return {key: _rounded(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_rounded(value) for value in content]
    return content


@cache
def code_hash() -> str:
    """Return a hash of this package's source files."""
    digest = hashlib.sha256()
    for name, content in sorted(_sources(files("rareseg"), "")):
        digest.update(name.encode() + b"\0" + content + b"\0")
    return digest.hexdigest()


def _sources(folder: Traversable, within: str) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for item in folder.iterdir():
        name = f"{within}/{item.name}"
        if item.is_dir():
            found += _sources(item, name)
        elif item.name.endswith(".py"):
            found.append((name, item.read_bytes()))
    return found


def _roles(
    fingerprint: Fingerprint, recipe: Recipe, folds: int, declared: Roles
) -> list[dict[str, Role]]:
    split = recipe.split
    shares: dict[Role, float] = {
        "train": split.train,
        "validation": split.validation,
        "certify": split.certify,
        "test": split.test,
    }
    if folds == 1:
        return [make_split(fingerprint, shares=shares, seed=split.seed, declared=dict(declared))]
    if declared:
        raise UsageError(
            f"The data set states who is tested, which leaves one fold, not {folds}; leave --folds "
            "out, or the roles."
        )
    ids = {case.id for case in fingerprint.cases}
    fold_of = make_folds(fingerprint, count=folds, seed=split.seed, ids=ids)
    rest = split.train + split.validation
    learning: dict[Role, float] = {
        "train": split.train / rest,
        "validation": split.validation / rest,
    }
    return [
        make_split(
            fingerprint,
            shares=learning,
            seed=split.seed,
            declared={case: "test" for case, own in fold_of.items() if own == fold},
        )
        for fold in range(folds)
    ]


def _digest(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
