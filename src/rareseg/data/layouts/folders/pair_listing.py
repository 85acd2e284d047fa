"""List the cases of images and the masks that were found for them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rareseg.data.layouts.case_names import outer_groups, unique_names
from rareseg.data.layouts.dataset_json import Declared
from rareseg.data.layouts.file_tree import FileTree
from rareseg.data.layouts.folders.folder_places import FolderEntry, split_names
from rareseg.data.layouts.folders.folder_words import holds_nothing, is_any_defect
from rareseg.data.layouts.folders.pairing import OBJECT, FoundMasks
from rareseg.data.layouts.listing import Listing, declared_in, number_classes
from rareseg.data.masks.class_files import ClassFiles
from rareseg.data.records import Case, MaskSource, Role
from rareseg.errors import nearest

MOST_SENTENCES = 3
"""More faults of a kind in one folder than this are one sentence with a count."""
_LABEL_STUDIO = re.compile(r"task-\d+-annotation-\d+-by-", re.IGNORECASE)


@dataclass(frozen=True)
class OnePart:
    """A layout does not take over the split of its folders, for the reason given as a note."""

    why: str


def list_pairs(
    tree: FileTree, images: Sequence[FolderEntry], drawn: FoundMasks, one: OnePart | None = None
) -> Listing:
    """Return the cases of images with what is drawn on them.

    Images in a folder for negatives (``negatives``, ``good``) hold nothing where no mask is theirs.
    A part for testing without any mask is left out. The outermost folder that differs is the
    group, unless folders tell kinds of defects.
    """
    every = images
    images, left_out = _with_masks(tree, images, drawn)
    declared = _declared(tree, drawn)
    kinds = any(holds_nothing(name) for image in images for name in image.place.rest)
    paths = [(*image.place.rest, image.stem) for image in images]
    names = unique_names(paths, [image.place.role for image in images])
    groups = [None] * len(images) if kinds else outer_groups([e.place.rest for e in images])
    split = one is None and len({image.place.role for image in images}) > 1
    cases, missing = [], []
    problems = _several(images, names, drawn)
    for image, name, group in zip(images, names, groups, strict=True):
        parts = drawn.parts.get(image.path, [])
        mask = _mask(parts, declared)
        role = image.place.role if split else None
        cases.append(Case(name, (image.path, *image.more), mask, group, role))
        if mask is None and not _is_negative(image):
            missing.append(name)
    problems += _unmatched(tree, images, drawn.unmatched, missing)
    notes = [*left_out]
    if drawn.rule and drawn.rule != "names are equal":
        notes.append(f"masks belong to images because {drawn.rule}")
    if one is not None and any(image.place.role for image in images):
        notes.append(one.why)
    if 1 < len(set(groups)) < len(groups):
        notes.append(
            f"the folders are taken for {len(set(groups))} groups, such as '{groups[0]}'; "
            "--group-from '(.+)' makes every case its own"
        )
    return Listing(
        tuple(cases),
        tuple(missing),
        declared,
        tuple(problems),
        tuple(notes),
        split_from=split_names([image.place for image in images]) if split else "",
        passed_over=(*drawn.passed, *_without(every, images)),
    )


def _without(every: Sequence[FolderEntry], images: Sequence[FolderEntry]) -> list[Path]:
    """Return the files of images that are left out."""
    kept = {image.path for image in images}
    return [path for e in every if e.path not in kept for path in (e.path, *e.more)]


def _is_negative(image: FolderEntry) -> bool:
    return image.place.kind == "negative" or any(map(holds_nothing, image.place.rest))


def _with_masks(
    tree: FileTree, images: Sequence[FolderEntry], drawn: FoundMasks
) -> tuple[list[FolderEntry], list[str]]:
    """Return the images without the part for testing, where it has no mask at all.

    Contests keep those back; images to learn from without a mask are a fault that is told.
    """
    by_role: defaultdict[Role | None, list[FolderEntry]] = defaultdict(list)
    for image in images:
        by_role[image.place.role].append(image)
    bare = [
        role
        for role, some_images in by_role.items()
        if role == "test"
        and len(by_role) > 1
        and not any(image.path in drawn.parts or _is_negative(image) for image in some_images)
    ]
    notes = [
        f"{tree.path(by_role[role][0].place.folder)} is left out: none of its "
        f"{len(by_role[role])} images has a mask"
        for role in bare
    ]
    if not drawn.parts:
        return list(images), []
    return [image for image in images if image.place.role not in bare], notes


def _declared(tree: FileTree, drawn: FoundMasks) -> Declared:
    """Return what ``dataset.json`` says, and the classes that files and folders name."""
    said = declared_in(tree)
    names = {name for files in drawn.parts.values() for name, _ in files} - {"", OBJECT}
    if not names or all(map(is_any_defect, names)):
        return said
    return number_classes(names, said)


def _mask(parts: Sequence[tuple[str, Path]], declared: Declared) -> Path | MaskSource | None:
    if not parts:
        return None
    if parts[0][0] == "":
        return parts[0][1]
    labels = declared.labels or {}
    only = next(iter(labels.values())) if len(labels) == 1 else 1
    return ClassFiles(tuple(sorted((labels.get(name, only), path) for name, path in parts)))


def _several(images: Sequence[FolderEntry], names: Sequence[str], drawn: FoundMasks) -> list[str]:
    """Say where several files claim to be an image's only mask."""
    problems = []
    apart: dict[tuple[str, str], list[tuple[str, Path, Path]]] = {}
    for image, name in zip(images, names, strict=True):
        paths = [path for part, path in drawn.parts.get(image.path, ()) if part == ""]
        if len(paths) < 2:
            continue
        if len({path.parent for path in paths}) == 1:
            problems.append(
                f"{paths[0].parent} holds several masks of {name}: "
                f"{', '.join(path.name for path in paths)}; keep one."
            )
        else:
            folders = (paths[0].parent.name, paths[1].parent.name)
            apart.setdefault(folders, []).append((name, paths[0], paths[1]))
    for (one, other), found in apart.items():
        name, first, second = found[0]
        more = f", and so for {len(found) - 1} more cases" if len(found) > 1 else ""
        problems.append(
            f"{first} and {second} are both masks of {name}{more}; say in which folder the masks "
            f"lie (--mask-name '{one}/{{id}}' or '{other}/{{id}}')."
        )
    return problems


def _unmatched(
    tree: FileTree,
    images: Sequence[FolderEntry],
    masks: Sequence[FolderEntry],
    missing: Sequence[str],
) -> list[str]:
    """Return the problems of masks without an image; of many in a folder, one."""
    studio = [mask for mask in masks if _LABEL_STUDIO.match(mask.stem)]
    problems = []
    if studio:
        problems.append(
            f"{studio[0].path} and {len(studio) - 1} more are named by Label Studio after its "
            "tasks, which do not name the images; export COCO from Label Studio, or its JSON, "
            "which names them."
        )
    folder = images[0].place.folder if images else "images"
    others: dict[str, list[FolderEntry]] = {}
    for mask in masks:
        if not _LABEL_STUDIO.match(mask.stem):
            others.setdefault(mask.place.folder, []).append(mask)
    for place, here in others.items():
        hint = nearest(here[0].stem, list(missing))
        if len(here) > MOST_SENTENCES:
            problems.append(
                f"{tree.path(place)} holds {len(here)} masks without an image, such as "
                f"{here[0].path.name} and {here[1].path.name}; add the images, remove the masks, "
                f"or say how masks are called (--mask-name '{{id}}_mask'){hint}."
            )
            continue
        problems += [
            f"{mask.path} is a mask without an image; add {tree.path(folder, mask.stem)}.* or "
            f"remove the mask{nearest(mask.stem, list(missing))}."
            for mask in here
        ]
    return problems
