"""Read what a ``dataset.json`` declares of classes, regions and channels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rareseg.errors import DataError
from rareseg_runner.text_files import read_json

IGNORE_NAME = "ignore"
"""The label name, as in nnU-Net, of voxels that count nowhere."""


@dataclass(frozen=True)
class Declared:
    """The part of a ``dataset.json`` that says what masks and channels mean.

    ``labels`` maps names to mask values without background, ``regions`` names to the mask values
    that they unite; ``None`` where nothing is said. ``listed_cases`` are those that nnU-Net's key
    ``dataset`` names.
    ``named_by_files`` is whether names of files are the classes' names: then one may be in no mask.
    """

    labels: Mapping[str, int] | None = None
    regions: Mapping[str, tuple[int, ...]] | None = None
    ignore_value: int | None = None
    channel_names: tuple[str, ...] | None = None
    listed_cases: Mapping[str, Any] = field(default_factory=dict)
    named_by_files: bool = False


NOTHING_DECLARED = Declared()


def read_dataset_json(root: Path) -> Declared:
    """Read ``root/dataset.json``; see :func:`read_description`."""
    return read_description(root / "dataset.json")


def read_description(path: Path) -> Declared:
    """Read a JSON file as nnU-Net (v1, v2), the Decathlon, MONAI and rareseg write it.

    ``labels`` maps names to values (nnU-Net v2: or to lists of values) or values to names
    (Decathlon, nnU-Net v1). Where there is a list, every label but background and ignore is a
    region, in the order given. ``regions`` maps names to lists of values;
    ``channel_names`` or ``modality`` maps "0", "1", … to names.

    Raises:
        DataError: unreadable, no JSON, or entries of another kind.
    """
    try:
        content = read_json(path)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}); an nnU-Net or Decathlon folder needs it."
        ) from error
    except ValueError as error:
        raise DataError(f"{path} is no valid JSON ({error}); correct it.") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} holds a {type(content).__name__} where an object is needed.")
    labels, regions, ignore_value = declared_labels(content.get("labels"), path)
    for name, values in _mapping(content.get("regions") or {}, "regions", path).items():
        regions[name] = _values(name, values, path)
    if labels is None and regions:
        labels = _named(value for values in regions.values() for value in values)
    if labels is not None:
        _check_known(regions, labels, path)
    spoken = content.get("channel_names") or content.get("modality") or {}
    channels = _mapping(spoken, "channel_names", path)
    return Declared(
        labels=labels,
        regions=regions or None,
        ignore_value=ignore_value,
        channel_names=tuple(str(name) for name in channels.values()) or None,
        listed_cases=_mapping(content.get("dataset") or {}, "dataset", path),
    )


def declared_labels(
    entries: Any, path: Path
) -> tuple[dict[str, int] | None, dict[str, tuple[int, ...]], int | None]:
    """Return labels (name to value), the regions among them, and the ignored value.

    Values that occur only inside a region's list get the name ``class_VALUE``.
    """
    if not entries:
        return None, {}, None
    labels: dict[str, int] = {}
    regions: dict[str, tuple[int, ...]] = {}
    said = _mapping(entries, "labels", path)
    for key, entry in said.items():
        name, value = key, entry
        if isinstance(entry, str) and key.lstrip("-").isdigit():
            name, value = entry, int(key)
        regions[name] = _values(key, value, path)
        if not isinstance(entry, list):
            labels[name] = regions[name][0]
    ignore_value = labels.pop(IGNORE_NAME, None)
    if not any(isinstance(entry, list) for entry in said.values()):
        regions = {}
    regions = {name: v for name, v in regions.items() if name != IGNORE_NAME and v != (0,)}
    united = {value for values in regions.values() for value in values}
    labels |= _named(united - set(labels.values()))
    labels = {name: value for name, value in labels.items() if value != 0}
    if len(set(labels.values())) < len(labels):
        raise DataError(f"{path} gives two labels the same value: {labels}; make them differ.")
    return labels, regions, ignore_value


def _named(values: Iterable[int]) -> dict[str, int]:
    """Name values that no label names."""
    return {f"class_{value}": value for value in sorted(set(values))}


def _check_known(
    regions: Mapping[str, Sequence[int]], labels: Mapping[str, int], path: Path
) -> None:
    for name, values in regions.items():
        unknown = sorted(set(values) - set(labels.values()))
        if unknown:
            raise DataError(
                f"{path} lets the region '{name}' unite the values {unknown}, which no label has; "
                f"allowed are {sorted(labels.values())}."
            )


def _mapping(entries: Any, key: str, path: Path) -> dict[str, Any]:
    """Return an object, or a list as an object numbered from 0, with text keys."""
    if isinstance(entries, list):
        entries = dict(enumerate(entries))
    if not isinstance(entries, dict):
        raise DataError(f"{path} holds {entries!r} as '{key}', where an object is needed.")
    return {str(name): entry for name, entry in entries.items()}


def _values(name: str, entry: Any, path: Path) -> tuple[int, ...]:
    values = entry if isinstance(entry, list) else [entry]
    if not values or not all(isinstance(v, int) and not isinstance(v, bool) for v in values):
        raise DataError(
            f"{path} gives '{name}' the value {entry!r}, where whole numbers are needed."
        )
    return tuple(values)
