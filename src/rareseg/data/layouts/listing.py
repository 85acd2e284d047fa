"""What a layout finds in a folder, and parts that several layouts share."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rareseg.data.layouts.dataset_json import NOTHING_DECLARED, Declared, read_dataset_json
from rareseg.data.layouts.file_tree import FileTree
from rareseg.data.records import ROLES, Case, Role
from rareseg_runner.formats import stem_of
from rareseg_runner.image_records import IGNORE

_CHANNEL = re.compile(r"(?P<id>.+)_(?P<channel>\d{4})")
ROLE_WORDS: Mapping[str, Role] = {
    **{role: role for role in ROLES},
    "training": "train",
    "select": "validation",  # as earlier versions called it
    "val": "validation",
    "valid": "validation",
    "testing": "test",
}
"""The words for a split in folders and manifests, lower case."""


@dataclass(frozen=True)
class Listing:
    """What a layout found: the cases, what is declared of the classes, and what is to be said.

    ``missing`` holds the ids of the cases whose mask was not found (their ``mask`` is ``None``).
    ``problems`` stop a training, ``notes`` say how the folder was taken; one sentence each.
    ``split_from`` names the folders or lists that say the cases' roles, "" where a table names them
    case by case, or nothing does: such a split may be declined. ``passed_over`` are files that the
    layout knows and does not read, such as a second drawing of every mask.
    """

    cases: tuple[Case, ...]
    missing: tuple[str, ...] = ()
    declared: Declared = NOTHING_DECLARED
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    split_from: str = ""
    passed_over: tuple[Path, ...] = ()

    def without_split(self) -> Listing:
        """Return the listing without roles."""
        cases = tuple(replace(case, role=None) for case in self.cases)
        return replace(self, cases=cases, split_from="")


def declared_in(tree: FileTree) -> Declared:
    """Return what a ``dataset.json`` in the folder declares; nothing where there is none."""
    return read_dataset_json(tree.root) if tree.has("dataset.json") else NOTHING_DECLARED


def number_classes(names: Iterable[str], said: Declared) -> Declared:
    """Return mask values for classes that files or folders name.

    Those that ``said`` gives, where it names every class; otherwise 1, 2, … by name, without the
    value that counts nowhere. Such a class may be in no mask at all.
    """
    if said.labels is not None and set(names) <= set(said.labels):
        return said
    free = (value for value in itertools.count(1) if value not in (IGNORE, said.ignore_value))
    return replace(said, labels=dict(zip(sorted(names), free, strict=False)), named_by_files=True)


def group_channels(paths: Sequence[Path]) -> dict[str, tuple[Path, ...]]:
    """Gather files ``ID_0000.ext, ID_0001.ext, …`` into cases, channels in order.

    A name without such an ending is a case of its own.
    """
    found: defaultdict[str, list[tuple[int, Path]]] = defaultdict(list)
    for path in paths:
        match = _CHANNEL.fullmatch(stem_of(path))
        name, channel = (match["id"], int(match["channel"])) if match else (stem_of(path), 0)
        found[name].append((channel, path))
    return {name: tuple(path for _, path in sorted(files)) for name, files in found.items()}


def some(names: Sequence[str]) -> str:
    """Write a list of names for a sentence: the first three, and how many more."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
