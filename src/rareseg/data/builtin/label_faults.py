"""Copy a data set with known label faults, and list them.

What finds faults in labels can only be measured where it is known which ones are wrong. Objects
(connected components of all foreground) are left out, moved, or partly given to another class, and
outlines of objects are drawn where there is none. Images stay as they are.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from rareseg.data.case_files import read_case_mask
from rareseg.data.dataset import open_dataset
from rareseg.data.records import Case, Dataset, MaskSource, object_named
from rareseg.errors import DataError, OutputError, UsageError
from rareseg.progress import Track, silent
from rareseg_runner.atomic_files import atomic_folder, atomic_write
from rareseg_runner.components import label_components
from rareseg_runner.formats import read_mask, write_mask
from rareseg_runner.text_files import read_json

FaultKind = Literal["missed object", "spurious label", "wrong boundary", "wrong class"]
FAULT_KINDS: tuple[FaultKind, ...] = get_args(FaultKind)

RECORD = "faults.json"
"""The name of the list of faults in the copy."""

GAP = 3
"""Voxels that lie at least between what is drawn anew and any object."""

TRIES = 200

Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
Values = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class FaultSettings:
    """How many faults are planted: each rate is a share of the number of objects.

    ``missed``: left out of the mask. ``spurious``: the outline of an object drawn where nothing is,
    in any image that has a mask. ``shifted``: moved in its plane by a share of its diameter that is
    drawn from ``shift``. ``swapped``: the largest part of one of its classes given to another
    class. No object has two faults.
    """

    missed: float = 0.1
    spurious: float = 0.1
    shifted: float = 0.1
    swapped: float = 0.0
    shift: tuple[float, float] = (0.4, 0.6)
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("missed", "spurious", "shifted", "swapped"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise UsageError(f"faults: {name} is {value:g}; it must lie between 0 and 1.")
        whole = self.missed + self.shifted + self.swapped
        if whole > 1.0:
            raise UsageError(
                f"faults: missed, shifted and swapped are {whole:g} together, and no object has "
                "two faults; lower them to 1 in all."
            )
        low, high = self.shift
        if not 0.0 < low <= high:
            raise UsageError(f"faults: shift is {low:g} to {high:g}; give 0 < low ≤ high.")


@dataclass(frozen=True)
class Fault:
    """One fault: in which case, of which kind, and the box that it and what is true lie in.

    ``true`` and ``drawn`` are the mask values that should stand there and that do, where one value
    says it, else None. ``voxels`` are those whose value is wrong.
    """

    case_id: str
    kind: FaultKind
    box: Box
    voxels: int
    true: int | None = None
    drawn: int | None = None


@dataclass(frozen=True, eq=False)
class _Object:
    """One object: where, and its mask values in that box, 0 where others or nothing lie."""

    case: int
    corner: tuple[int, int, int]
    values: Values


def plant_faults(
    source: Path | str, out: Path, settings: FaultSettings, *, track: Track = silent
) -> tuple[Fault, ...]:
    """Copy the data set ``source`` to ``out`` with faults in its masks, and return these.

    They are written to ``faults.json`` in the copy as well. The same settings plant the same
    faults. A fault for which there is no room (a shift that would touch another object) is not
    planted and not listed. Raises :class:`DataError` where masks do not lie within ``source`` or
    there is no object, :class:`OutputError` where ``out`` exists.
    """
    root = Path(source).resolve()
    dataset = open_dataset(root)
    if out.exists():
        raise OutputError(f"{out} exists already; name another folder, or remove it.")
    drawn = [case.mask for case in dataset.cases if isinstance(case.mask, MaskSource)]
    if drawn:
        raise DataError(
            f"{drawn[0]} is no file of mask values, and faults are planted in such files alone; "
            "write the data set as a manifest first (rareseg audit --write-manifest)."
        )
    files = [case.mask for case in dataset.cases if isinstance(case.mask, Path)]
    outside = [mask for mask in files if not _within(mask, root)]
    if outside:
        raise DataError(
            f"{outside[0]} lies outside of {root}, so that a copy of the folder would not hold it; "
            "move the masks into the folder."
        )
    objects = _list_objects(dataset, track)
    if not objects:
        raise DataError(f"{root} holds no object to plant; give a data set with positive cases.")
    wanted = _assign(dataset, objects, settings)
    faults: list[Fault] = []
    with atomic_folder(out) as temporary:
        shutil.copytree(root, temporary, dirs_exist_ok=True)
        for number, case in track(enumerate(dataset.cases), "planting faults", len(dataset.cases)):
            if not wanted[number]:
                continue
            assert isinstance(case.mask, Path), "faults are only wanted where there is a file"
            mask = read_mask(case.mask)
            own = [component for component in objects if component.case == number]
            planter = _FaultPlanter(case, np.array(mask.array), own, dataset, settings, number)
            faults += planter.plant(wanted[number])
            copied = temporary / case.mask.resolve().relative_to(root)
            write_mask(copied, planter.mask, mask.geometry)
        save_faults(temporary / RECORD, faults)
    return tuple(faults)


def save_faults(path: Path, faults: Sequence[Fault]) -> None:
    """Write a list of faults as JSON."""
    content = {"faults": [asdict(fault) for fault in faults]}
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def load_faults(path: Path) -> tuple[Fault, ...]:
    """Read what :func:`save_faults` wrote; raises :class:`DataError` for anything else."""
    try:
        entries = read_json(path)["faults"]
        boxes = [tuple((low, high) for low, high in entry["box"]) for entry in entries]
        return tuple(
            Fault(**{**entry, "kind": object_named(entry["kind"]), "box": box})
            for entry, box in zip(entries, boxes, strict=True)
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} holds no list of faults ({error}); plant them again with plant_faults."
        ) from error


def _within(path: Path, root: Path) -> bool:
    return path.resolve().is_relative_to(root)


def _list_objects(dataset: Dataset, track: Track) -> list[_Object]:
    """Return the components of all foreground of every case."""
    objects = []
    for number, case in track(enumerate(dataset.cases), "listing objects", len(dataset.cases)):
        drawn = read_case_mask(case)
        if drawn is None:
            continue
        mask = drawn.array
        labels, count = label_components(_is_object(mask, dataset.ignore_value))
        for index, box in enumerate(ndimage.find_objects(labels, count), start=1):
            values = np.where(labels[box] == index, mask[box], 0)
            z, y, x = (int(side.start) for side in box)
            objects.append(_Object(number, (z, y, x), values))
    return objects


def _is_object(mask: Values, ignore: int | None) -> NDArray[np.bool_]:
    on = mask != 0
    return np.asarray(on if ignore is None else on & (mask != ignore), np.bool_)


def _assign(
    dataset: Dataset, objects: Sequence[_Object], settings: FaultSettings
) -> list[list[tuple[FaultKind, _Object]]]:
    """Return for every case which faults it is to have, with the object that each is about."""
    rng = np.random.default_rng([settings.seed, 0])
    wanted: list[list[tuple[FaultKind, _Object]]] = [[] for _ in dataset.cases]
    order = iter(rng.permutation(len(objects)).tolist())
    of_objects: tuple[tuple[FaultKind, float], ...] = (
        ("wrong boundary", settings.shifted),
        ("wrong class", settings.swapped),
        ("missed object", settings.missed),
    )
    for kind, rate in of_objects:
        # Rates may round to one object more than there are.
        for index, _ in zip(order, range(round(rate * len(objects))), strict=False):
            wanted[objects[index].case].append((kind, objects[index]))
    drawable = [number for number, case in enumerate(dataset.cases) if case.mask is not None]
    for _ in range(round(settings.spurious * len(objects))):
        pattern = objects[int(rng.integers(len(objects)))]
        wanted[drawable[int(rng.integers(len(drawable)))]].append(("spurious label", pattern))
    return wanted


class _FaultPlanter:
    """Plants the faults of one case in its mask (z, y, x)."""

    def __init__(
        self,
        case: Case,
        mask: Values,
        objects: Sequence[_Object],
        dataset: Dataset,
        settings: FaultSettings,
        number: int,
    ) -> None:
        self.case, self.mask, self.settings = case, mask, settings
        self.rng = np.random.default_rng([settings.seed, 1, number])
        self.taken = np.array(mask != 0)
        """Where something lies or lay, ignored voxels too: nothing is drawn there."""
        self.values = sorted(
            set((dataset.labels or {}).values())
            | {int(value) for component in objects for value in np.unique(component.values)}
        )

    def plant(self, wanted: Sequence[tuple[FaultKind, _Object]]) -> list[Fault]:
        """Plant what is wanted, as far as there is room."""
        plant = {
            "missed object": self._leave_out,
            "spurious label": self._draw,
            "wrong boundary": self._shift,
            "wrong class": self._swap,
        }
        found = [plant[kind](component) for kind, component in wanted]
        return [fault for fault in found if fault is not None]

    def _fault(
        self, kind: FaultKind, box: Box, voxels: int, true: int | None, drawn: int | None
    ) -> Fault:
        return Fault(self.case.id, kind, box, voxels, true, drawn)

    def _leave_out(self, component: _Object) -> Fault:
        on = component.values != 0
        self.mask[_slices(component.corner, on.shape)][on] = 0
        box = _box(component.corner, on.shape)
        return self._fault("missed object", box, int(on.sum()), _only(component.values), 0)

    def _draw(self, component: _Object) -> Fault | None:
        on = component.values != 0
        room = [whole - side for whole, side in zip(self.mask.shape, on.shape, strict=True)]
        if min(room) < 0:
            return None
        for _ in range(TRIES):
            z, y, x = (int(self.rng.integers(side + 1)) for side in room)
            if self._is_free((z, y, x), on):
                self._put((z, y, x), component.values)
                box = _box((z, y, x), on.shape)
                drawn = _only(component.values)
                return self._fault("spurious label", box, int(on.sum()), 0, drawn)
        return None

    def _shift(self, component: _Object) -> Fault | None:
        on = component.values != 0
        old = _slices(component.corner, on.shape)
        planes = max(1, int(on.any(axis=(1, 2)).sum()))
        diameter = 2.0 * float(np.sqrt(on.sum() / planes / np.pi))
        self.taken[old] &= ~on
        for _ in range(TRIES):
            length = max(1.0, diameter * self.rng.uniform(*self.settings.shift))
            angle = self.rng.uniform(0, 2 * np.pi)
            step = round(length * np.sin(angle)), round(length * np.cos(angle))
            z, y, x = component.corner
            place = (z, y + step[0], x + step[1])
            if step != (0, 0) and self._is_free(place, on):
                before = self.mask.copy()
                self.mask[old][on] = 0
                self._put(place, component.values)
                self.taken[old] |= on
                box = _around(_box(component.corner, on.shape), _box(place, on.shape))
                wrong = int((before != self.mask).sum())
                return self._fault("wrong boundary", box, wrong, None, None)
        self.taken[old] |= on
        return None

    def _swap(self, component: _Object) -> Fault | None:
        present = [value for value in np.unique(component.values).tolist() if value]
        true = int(self.rng.choice(present))
        others = [value for value in self.values if value not in (0, true)]
        if not others:
            return None
        drawn = int(self.rng.choice(others))
        parts, count = label_components(component.values == true)
        part = parts == 1 + int(np.bincount(parts.ravel(), minlength=count + 1)[1:].argmax())
        self.mask[_slices(component.corner, part.shape)][part] = drawn
        inside = [np.flatnonzero(part.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
        z, y, x = (
            (start + int(on[0]), start + int(on[-1]) + 1)
            for start, on in zip(component.corner, inside, strict=True)
        )
        return self._fault("wrong class", (z, y, x), int(part.sum()), true, drawn)

    def _is_free(self, corner: tuple[int, int, int], on: NDArray[np.bool_]) -> bool:
        """Tell whether a shape would lie in the image, :data:`GAP` voxels from anything."""
        ends = [start + side for start, side in zip(corner, on.shape, strict=True)]
        if min(corner) < 0 or any(e > s for e, s in zip(ends, self.mask.shape, strict=True)):
            return False
        near = _slices(corner, on.shape)
        wide = tuple(slice(max(0, side.start - GAP), side.stop + GAP) for side in near)
        around = np.zeros(self.taken[wide].shape, np.bool_)
        start = [side.start - edge.start for side, edge in zip(near, wide, strict=True)]
        around[_slices(start, on.shape)] = on
        reach = ndimage.binary_dilation(around, np.ones((3, 3, 3)), iterations=GAP)
        return not bool((reach & self.taken[wide]).any())

    def _put(self, corner: tuple[int, int, int], values: Values) -> None:
        on = values != 0
        place = _slices(corner, on.shape)
        self.mask[place][on] = values[on]
        self.taken[place] |= on


def _slices(corner: Sequence[int], shape: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(start, start + side) for start, side in zip(corner, shape, strict=True))


def _box(corner: Sequence[int], shape: Sequence[int]) -> Box:
    z, y, x = ((start, start + side) for start, side in zip(corner, shape, strict=True))
    return z, y, x


def _around(first: Box, second: Box) -> Box:
    z, y, x = ((min(a[0], b[0]), max(a[1], b[1])) for a, b in zip(first, second, strict=True))
    return z, y, x


def _only(values: Values) -> int | None:
    """Return the one value beside 0, or None where there are several."""
    present = np.unique(values[values != 0])
    return int(present[0]) if len(present) == 1 else None
