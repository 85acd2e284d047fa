"""The layouts of nnU-Net's raw data and of the Medical Segmentation Decathlon."""

from __future__ import annotations

from collections import defaultdict

from rareseg.data.formats import stem_of
from rareseg.data.layouts.dataset_json import read_dataset_json
from rareseg.data.layouts.file_tree import FileTree
from rareseg.data.layouts.layout_registry import Layout, register
from rareseg.data.layouts.listing import Listing, group_channels, some
from rareseg.data.records import Case


def _recognise_decathlon(tree: FileTree) -> str | None:
    if "imagesTr" not in tree.folders() or not tree.has("dataset.json"):
        return None
    entries = read_dataset_json(tree.root).training
    there = any((tree.root / str(entry.get("image"))).exists() for entry in entries)
    return "its dataset.json lists images as 'training'" if there else None


def _recognise_nnunet(tree: FileTree) -> str | None:
    return "it holds imagesTr/" if "imagesTr" in tree.folders() else None


def _read_nnunet(tree: FileTree) -> Listing:
    """Read an nnU-Net raw folder: ``imagesTr/ID_0000.ext``, ``labelsTr/ID.ext``."""
    root = tree.root
    declared = read_dataset_json(root)
    masks = {stem_of(path): path for path in tree.images("labelsTr")}
    cases, missing, problems = [], [], []
    counts: defaultdict[int, list[str]] = defaultdict(list)
    for name, paths in group_channels(tree.images("imagesTr")).items():
        counts[len(paths)].append(name)
        mask = masks.pop(name, None)
        cases.append(Case(name, paths, mask))
        if mask is None:
            missing.append(name)
    commonest = max(counts, key=lambda count: len(counts[count]), default=0)
    expected = len(declared.channel_names or ()) or commonest
    for count, names in counts.items():
        if count != expected:
            problems.append(
                f"{root / 'imagesTr'} holds {count} of {expected} channel files "
                f"(ID_0000 … ID_{expected - 1:04d}) for {some(names)}; add the missing files."
            )
    problems += [
        f"{path} is a mask without an image; add imagesTr/{stem}_0000.* or remove the mask."
        for stem, path in masks.items()
    ]
    return Listing(tuple(cases), tuple(missing), declared, tuple(problems))


def _read_decathlon(tree: FileTree) -> Listing:
    """Read a Medical Segmentation Decathlon folder: the ``training`` list of ``dataset.json``."""
    root = tree.root
    declared = read_dataset_json(root)
    cases, missing, problems = [], [], []
    for number, entry in enumerate(declared.training):
        image, label = entry.get("image"), entry.get("label")
        if not image:
            problems.append(
                f"{root / 'dataset.json'} names no image in entry {number} of 'training'; add it."
            )
            continue
        path = root / image
        mask = root / label if label else None
        if mask is None or not mask.exists():
            missing.append(stem_of(path))
        found = mask if mask is not None and mask.exists() else None
        cases.append(Case(stem_of(path), (path,), found))
    return Listing(tuple(cases), tuple(missing), declared, tuple(problems))


register(Layout("decathlon", "a Decathlon folder", _recognise_decathlon, _read_decathlon, True))
register(Layout("nnunet", "an nnU-Net raw folder", _recognise_nnunet, _read_nnunet))
