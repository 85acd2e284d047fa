"""The layout of lists in JSON: the Decathlon's dataset.json and MONAI's datalists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rareseg.data.layouts.case_names import unique_names
from rareseg.data.layouts.dataset_json import NOTHING_DECLARED, read_description
from rareseg.data.layouts.file_tree import FileTree
from rareseg.data.layouts.layout_registry import Layout, register
from rareseg.data.layouts.listing import ROLE_WORDS, Listing
from rareseg.data.records import Case, Role
from rareseg.errors import DataError
from rareseg_runner.formats import stem_of
from rareseg_runner.text_files import RECORD_BYTES, RepeatedNameError, parse_json, read_bytes

LARGEST = 50_000_000
"""A JSON file of more bytes than this is not looked at, unless it is named."""
_GROUP_KEYS = ("group", "patient", "patient_id", "subject", "subject_id")


@dataclass
class _DatalistEntries:
    entries: list[tuple[Role | None, Mapping[str, Any]]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    lists: list[str] = field(default_factory=list)


def _recognise(tree: FileTree) -> str | None:
    found = _find(tree)
    if found is None:
        return None
    path, content = found
    there = any(
        (tree.root / image).exists()
        for entry in _dicts(content, "training")
        for image in _files(entry.get("image"))
    )
    return f"its {path.name} lists images as 'training'" if there else None


def _find(tree: FileTree) -> tuple[Path, Mapping[str, Any]] | None:
    """Return the file that lists images, and what it holds."""
    if tree.file is not None:
        names = [tree.file.name] if tree.file.suffix.lower() == ".json" else []
    else:
        names = [name for name in tree.files() if name.lower().endswith(".json")]
        names.sort(key=lambda name: name != "dataset.json")
    for name in names:
        path = tree.root / name
        content = _content(path) if tree.file or path.stat().st_size <= LARGEST else None
        if content is not None:
            return path, content
    return None


def _content(path: Path) -> Mapping[str, Any] | None:
    """Return a JSON object that lists images as 'training'; None for any other file."""
    try:
        text = read_bytes(path, RECORD_BYTES).decode("utf-8-sig")
    except (OSError, ValueError):
        return None  # whoever needs the file says what is wrong with it
    if '"training"' not in text:
        return None
    try:
        content = parse_json(text)
    except RepeatedNameError as error:
        raise DataError(f"{path} cannot be read as a list of cases: {error}.") from error
    except ValueError:
        return None
    is_list = isinstance(content, dict) and any(_dicts(content, "training"))
    return content if is_list else None


def _dicts(content: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    listed = content.get(key)
    entries = listed if isinstance(listed, list) else []
    return [entry for entry in entries if isinstance(entry, dict) and "image" in entry]


def _read(tree: FileTree) -> Listing:
    """Read the list ``training``, and of ``validation`` and ``test`` what has a label.

    ``image`` is a file or a list of channels, ``label`` a file. Paths are relative to the list.
    """
    found = _find(tree)
    if found is None:
        raise DataError(
            f"{tree.file or tree.root} holds no JSON that lists images as 'training'; write "
            '{"training": [{"image": FILE, "label": FILE}, …]}.'
        )
    path, content = found
    collected = _collect(path, content)
    split = len(collected.lists) > 1
    paths = [_place(_files(entry.get("image"))[0]) for _, entry in collected.entries]
    names = unique_names(paths)
    cases, missing = [], []
    for name, (role, entry) in zip(names, collected.entries, strict=True):
        images = tuple(tree.root / image for image in _files(entry["image"]))
        label = entry.get("label")
        mask = tree.root / label if isinstance(label, str) and label else None
        if mask is None or not mask.exists():
            missing.append(name)
            mask = None
        said = next((entry[key] for key in _GROUP_KEYS if entry.get(key) is not None), None)
        group = None if said is None else str(said)
        cases.append(Case(name, images, mask, group, role if split else None))
    return Listing(
        tuple(cases),
        tuple(missing),
        read_description(path) if _describes(content) else NOTHING_DECLARED,
        tuple(collected.problems),
        tuple(collected.notes),
        split_from=f"the lists {', '.join(collected.lists)} of {path.name}" if split else "",
    )


def _collect(path: Path, content: Mapping[str, Any]) -> _DatalistEntries:
    """Return the entries of all lists with their roles."""
    found = _DatalistEntries()
    for key, listed in content.items():
        role = ROLE_WORDS.get(key.lower())
        if role is None or not isinstance(listed, list):
            continue
        entries = []
        for number, entry in enumerate(listed):
            if isinstance(entry, dict) and _files(entry.get("image")):
                entries.append(entry)
            elif key == "training":
                found.problems.append(
                    f"{path} names no image in entry {number} of 'training'; add it."
                )
        kept = [e for e in entries if e.get("label") or key == "training"]
        if len(kept) < len(listed) and key != "training":
            found.notes.append(
                f"{len(listed) - len(kept)} images of the list '{key}' have no label and are left "
                "out"
            )
        if kept:
            found.lists.append(key)
        found.entries += [(role, entry) for entry in kept]
    folds = {str(entry["fold"]) for _, entry in found.entries if "fold" in entry}
    if folds:
        found.notes.append(
            f"the {len(folds)} folds of {path.name} are not taken over; folds are drawn anew, and "
            "keep groups together"
        )
    return found


def _files(said: Any) -> list[str]:
    """Return the files of ``image``: one, or a list of channels; [] for anything else."""
    listed = said if isinstance(said, list) else [said]
    return listed if listed and all(isinstance(one, str) and one for one in listed) else []


def _place(image: str) -> Sequence[str]:
    path = Path(image)
    return (*(part for part in path.parent.parts if part not in ("/", ".", "..")), stem_of(path))


def _describes(content: Mapping[str, Any]) -> bool:
    return any(key in content for key in ("labels", "regions", "channel_names", "modality"))


register(
    Layout(
        "decathlon",
        "a list in JSON, as of the Decathlon and of MONAI: "
        '{"training": [{"image": FILE, "label": FILE}]}',
        _recognise,
        _read,
        instead_of=("nnunet", "folders", "case_folders", "side_by_side"),
        lists_files=True,
    )
)
