"""Pair images and masks by their names."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Collection, Mapping


def name_key(name: str) -> str:
    """Return a name by which files belong together, however capitals and accents are written."""
    return unicodedata.normalize("NFC", name).casefold()


def pair_names(images: Collection[str], masks: Collection[str]) -> Mapping[str, str]:
    """Return the mask's name for each image's that has one.

    Equal names first; of what is left, names that differ in capitals or in how an accent is written
    alone, where one image and one mask are called so.
    """
    known = set(masks)
    pairs = {name: name for name in images if name in known}
    left: defaultdict[str, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    for side, names in enumerate((images, masks)):
        for name in names:
            if name not in pairs:
                left[name_key(name)][side].append(name)
    for here, there in left.values():
        if len(here) == len(there) == 1:
            pairs[here[0]] = there[0]
    return pairs
