"""Count what a sampler delivered, beside what was asked of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rareseg.sampling.pools.class_counts import count_classes
from rareseg_runner.image_records import IGNORE


@dataclass(frozen=True)
class PasteCount:
    """Windows into which something was pasted, or was to be.

    ``objects`` counts those that got an object, ``textures`` those that got background in the shape
    of one, ``failed`` those that got nothing: what was drawn found no room, or has no known end.
    """

    objects: int = 0
    textures: int = 0
    failed: int = 0

    def __add__(self, other: PasteCount) -> PasteCount:
        return PasteCount(
            self.objects + other.objects,
            self.textures + other.textures,
            self.failed + other.failed,
        )


@dataclass(frozen=True)
class Composition:
    """The patches delivered so far, in the whole run or in one ``phase`` of it.

    ``pools`` are names; ``asked`` the shares asked for (the mean, where rounds of mining changed
    them), ``drawn`` those after the rule for empty pools, ``centres`` the patches centred in each.
    ``classes`` are names; ``voxels`` counts theirs in all patches and ``ignored`` the voxels that
    count nowhere (outside the image, or labelled so). ``with_foreground`` counts the patches that
    hold any foreground voxel, ``cases`` those cut from each case, in the order of the store.

    ``pasted`` counts the windows into which something was pasted; None where nothing was to be.
    ``windows`` counts the different windows, and ``covered`` is the share of each class's voxels
    that a window has held, both from the beginning of the run to the end of the phase; None where
    a class has no voxel. ``phases`` are the parts of a run of several, in their order.
    """

    patches: int
    pools: tuple[str, ...]
    asked: tuple[float, ...]
    drawn: tuple[float, ...]
    centres: tuple[int, ...]
    classes: tuple[str, ...]
    voxels: tuple[int, ...]
    ignored: int
    with_foreground: int
    cases: tuple[int, ...] = ()
    windows: int | None = None
    covered: tuple[float | None, ...] = ()
    pasted: PasteCount | None = None
    phase: str = ""
    phases: tuple[Composition, ...] = ()

    @property
    def prior(self) -> tuple[float, ...]:
        """The share of each class among the voxels that count: the prior that was trained under."""
        total = sum(self.voxels)
        return tuple(count / total if total else 0.0 for count in self.voxels)

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold; :meth:`from_dict` gives the same record back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Composition:
        """Make the record from what :meth:`to_dict` wrote, lists being tuples again."""
        fixed: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
        }
        if fixed.get("pasted") is not None:
            fixed["pasted"] = PasteCount(**fixed["pasted"])
        fixed["phases"] = tuple(cls.from_dict(phase) for phase in values.get("phases", ()))
        return cls(**fixed)


class PhaseCounts:
    """Running counts over the batches of one phase, the pools by name."""

    def __init__(self, cases: int) -> None:
        self.pools: dict[str, int] = {}
        self.asked: NDArray[np.float64] = np.zeros(0)
        self.drawn: NDArray[np.float64] = np.zeros(0)
        self.centres: NDArray[np.int64] = np.zeros(0, np.int64)
        self.voxels: NDArray[np.int64] = np.zeros(IGNORE + 1, np.int64)
        self.with_foreground = 0
        self.cases: NDArray[np.int64] = np.zeros(cases, np.int64)
        self.pasted: PasteCount | None = None
        self._later: torch.Tensor | None = None

    def add(
        self,
        names: Sequence[str],
        asked: NDArray[np.float64],
        drawn: NDArray[np.float64],
        pool: NDArray[np.int16],
        case: NDArray[np.int32],
    ) -> None:
        """Add one batch: the mixture's names and shares, its patches' pools and cases."""
        self.expect(names, asked * len(pool), drawn * len(pool))
        index = self._indices(names)
        np.add.at(self.centres, index, np.bincount(pool, minlength=len(names)))
        self.cases += np.bincount(case, minlength=len(self.cases))

    def expect(
        self, names: Sequence[str], asked: NDArray[np.float64], drawn: NDArray[np.float64]
    ) -> None:
        """Add patches that were asked for of the pools of these names."""
        index = self._indices(names)
        np.add.at(self.asked, index, asked)
        np.add.at(self.drawn, index, drawn)

    def count(self, voxels: NDArray[np.int64], with_foreground: int) -> None:
        """Add voxels by class index (256,) and positive patches."""
        self.voxels += voxels
        self.with_foreground += with_foreground

    def count_labels(self, labels: torch.Tensor, classes: int) -> None:
        """Add the voxels and positive patches of labels, without waiting for their device."""
        if labels.device.type == "cpu":
            self.count(*count_classes(labels.to(torch.uint8).numpy()))
        else:
            counts = count_later(labels, classes)
            self._later = counts if self._later is None else self._later + counts

    def count_pasted(self, pasted: PasteCount | None) -> None:
        """Add what was pasted; None: nothing was to be."""
        if pasted is not None:
            self.pasted = pasted + (self.pasted or PasteCount())

    def fetch_device_counts(self) -> None:
        """Take over what was counted on a device."""
        if self._later is not None:
            *classes, ignored, positive = self._later.cpu().tolist()
            self.voxels[: len(classes)] += classes
            self.voxels[IGNORE] += ignored
            self.with_foreground += positive
            self._later = None

    def _indices(self, names: Sequence[str]) -> list[int]:
        """Return where the pools of these names are counted; new ones get a place."""
        index = [self.pools.setdefault(name, len(self.pools)) for name in names]
        more = len(self.pools) - len(self.centres)
        if more:
            self.asked = np.append(self.asked, np.zeros(more))
            self.drawn = np.append(self.drawn, np.zeros(more))
            self.centres = np.append(self.centres, np.zeros(more, np.int64))
        return index

    def merge(self, other: PhaseCounts) -> None:
        """Add the counts of another phase."""
        other.fetch_device_counts()
        index = self._indices(list(other.pools))
        for name in ("asked", "drawn", "centres"):
            np.add.at(getattr(self, name), index, getattr(other, name))
        self.cases += other.cases
        self.count_pasted(other.pasted)
        self.count(other.voxels, other.with_foreground)

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers, to be saved in a checkpoint."""
        self.fetch_device_counts()
        return {
            "pools": list(self.pools),
            "asked": self.asked.tolist(),
            "drawn": self.drawn.tolist(),
            "centres": self.centres.tolist(),
            "voxels": self.voxels.tolist(),
            "with_foreground": self.with_foreground,
            "cases": self.cases.tolist(),
            "pasted": None if self.pasted is None else asdict(self.pasted),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PhaseCounts:
        """Go on from the numbers that :meth:`to_dict` gave."""
        tally = cls(len(values["cases"]))
        tally._indices(values["pools"])
        for name in ("asked", "drawn", "centres", "voxels", "cases"):
            getattr(tally, name)[:] = values[name]
        tally.with_foreground = int(values["with_foreground"])
        if values.get("pasted") is not None:  # states of before have none
            tally.pasted = PasteCount(**values["pasted"])
        return tally


def count_later(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """Return the voxels of each class, the ignored ones and the positive patches, (classes + 2,).

    ``labels`` is int64 (B, *patch). Nothing waits for the device that it lies on.
    """
    positive = ((labels > 0) & (labels != IGNORE)).flatten(1).any(1).sum()
    voxels = [(labels == index).sum() for index in (*range(classes), IGNORE)]
    return torch.stack([*voxels, positive])
