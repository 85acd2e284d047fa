"""Which of several networks leaves out which cases, in cross-validation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from rareseg.prediction.model import Model
from rareseg.run.setup.run_folder import RunFolder
from rareseg.run.setup.split_files import read_folds


@dataclass(frozen=True)
class Folds:
    """The fold of every case that is learnt from, and how many of them each network leaves out.

    There are as many networks as folds. Network k, numbered from 0, leaves out the ``held_out``
    folds k, k + 1, …, counted round, so that every case is left out by as many networks.
    ``fold_of`` leads from case id to fold, numbered from 0; empty where there are no folds.
    """

    fold_of: Mapping[str, int]
    held_out: int = 1

    def __bool__(self) -> bool:
        return bool(self.fold_of)

    @cached_property
    def count(self) -> int:
        """The number of folds, and of networks."""
        return len(set(self.fold_of.values()))

    @property
    def sentence(self) -> str:
        """What is learnt from which cases, in words."""
        told = f"{self.count} folds of the train cases, one network each"
        return told if self.held_out == 1 else f"{told}, which leaves {self.held_out} of them out"

    def leaves_out(self, network: int, case: str) -> bool:
        """Tell whether a network has never seen a case that others learnt from."""
        fold = self.fold_of.get(case)
        return fold is not None and (fold - network) % self.count < self.held_out

    def unseen_by(self, network: int) -> list[str]:
        """Return the cases that a network leaves out."""
        return [case for case in self.fold_of if self.leaves_out(network, case)]

    def seen_by(self, network: int) -> list[str]:
        """Return the cases that a network learns from."""
        return [case for case in self.fold_of if not self.leaves_out(network, case)]

    def blind_to(self, fold: int) -> tuple[int, ...]:
        """Return the networks that leave out a fold, ascending."""
        return tuple(sorted((fold - back) % self.count for back in range(self.held_out)))


def folds_of_run(folder: RunFolder, model: Model) -> Folds:
    """Return the folds of a finished run, none where it has none.

    Raises :class:`RunError` where ``folds.csv`` is damaged.
    """
    if not folder.folds.is_file():
        return Folds({})
    return Folds(read_folds(folder.folds), model.recipe.split.held_out)
