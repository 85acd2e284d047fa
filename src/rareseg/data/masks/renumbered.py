"""Masks of a data set whose classes have other values than those that a model knows by name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rareseg.data.records import Dataset, MaskSource
from rareseg.errors import DataError
from rareseg_runner.formats import read_mask
from rareseg_runner.image_records import Classes, Image, Mask


@dataclass(frozen=True)
class Renumbered(MaskSource):
    """A mask whose values are exchanged: ``pairs`` are (value, new value), others stay."""

    source: Path | MaskSource
    pairs: tuple[tuple[int, int], ...]

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of the mask."""
        return (self.source,) if isinstance(self.source, Path) else self.source.files

    def __str__(self) -> str:
        return str(self.source)

    def read(self, image: Image) -> Mask:
        """Return the mask with its new values; raises ReadError as the mask itself does."""
        mask = (
            read_mask(self.source, image=image)
            if isinstance(self.source, Path)
            else self.source.read(image)
        )
        largest = max(new for _, new in self.pairs)
        kind = np.promote_types(mask.array.dtype, np.min_scalar_type(largest))
        values = mask.array.astype(kind)
        for old, new in self.pairs:
            values[mask.array == old] = new
        return replace(mask, array=values)


def by_names_of(dataset: Dataset, classes: Classes) -> Dataset:
    """Return a data set with the values that ``classes`` have for the names of its classes.

    Annotation files know names, and what number stands for one differs from export to export. Where
    both have one class, it is taken for the same. Nothing changes where no names are declared.

    Raises:
        DataError: a class with a name that is not known has the value of another that is.
    """
    if not dataset.labels:
        return dataset
    known = {name: classes.values[k] for k, name in enumerate(classes.names) if k > 0}
    if len(known) == 1 and len(dataset.labels) == 1:
        (value,), (wanted,) = dataset.labels.values(), known.values()
        pairs = {value: wanted}
    else:
        pairs = {value: known[name] for name, value in dataset.labels.items() if name in known}
        for name, value in dataset.labels.items():
            if name not in known and value in known.values():
                other = next(own for own, number in known.items() if number == value)
                raise DataError(
                    f"{dataset.root} calls the value {value} '{name}', which the model knows as "
                    f"'{other}' (its classes are {', '.join(known)}); give the classes the same "
                    "names."
                )
    changed = tuple((old, new) for old, new in pairs.items() if old != new)
    if not changed:
        return dataset
    return replace(
        dataset,
        labels={name: pairs.get(value, value) for name, value in dataset.labels.items()},
        regions=None
        if dataset.regions is None
        else {
            name: tuple(pairs.get(value, value) for value in values)
            for name, values in dataset.regions.items()
        },
        cases=tuple(
            case if case.mask is None else replace(case, mask=Renumbered(case.mask, changed))
            for case in dataset.cases
        ),
    )
