"""The layout ``images/`` and ``masks/`` with equal names, and ``negatives/`` without masks."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from rareseg.data.formats import stem_of
from rareseg.data.layouts.file_tree import FileTree
from rareseg.data.layouts.layout_registry import Layout, register
from rareseg.data.layouts.listing import Listing, declared_in
from rareseg.data.layouts.names import pair_names
from rareseg.data.records import Case
from rareseg.errors import nearest


def _recognise(tree: FileTree) -> str | None:
    found = [name for name in ("images", "negatives") if name in tree.folders()]
    return f"it holds {found[0]}/" if found else None


def _read(tree: FileTree) -> Listing:
    masks: defaultdict[str, list[Path]] = defaultdict(list)
    for path in tree.images("masks"):
        masks[stem_of(path)].append(path)
    problems = [
        f"{tree.path('masks')} holds several masks of {stem}: "
        f"{', '.join(path.name for path in paths)}; keep one."
        for stem, paths in masks.items()
        if len(paths) > 1
    ]
    cases, missing = [], []
    images = tree.images("images")
    pairs = pair_names({stem_of(path) for path in images}, masks)
    for path in images:
        drawn = masks.pop(pairs.get(stem_of(path), ""), None)
        cases.append(Case(stem_of(path), (path,), drawn[0] if drawn else None))
        if drawn is None:
            missing.append(stem_of(path))
    cases += [Case(stem_of(path), (path,), None) for path in tree.images("negatives")]
    problems += [
        f"{paths[0]} is a mask without an image; add {tree.path('images', stem)}.* or remove the "
        f"mask{nearest(stem, missing)}."
        for stem, paths in masks.items()
    ]
    return Listing(tuple(cases), tuple(missing), declared_in(tree), tuple(problems))


register(Layout("folders", "a folder with images/ and masks/ (or negatives/)", _recognise, _read))
