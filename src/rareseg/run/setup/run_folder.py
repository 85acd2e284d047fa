"""The folder of a run: where each file lies, and whether it may be written to."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from rareseg.data.atomic_files import atomic_write, is_leftover, remove_leftovers
from rareseg.data.dataset import AS_IT_IS, MissingMask, open_dataset
from rareseg.data.folder_lock import is_lock
from rareseg.data.identity import DIGESTS
from rareseg.data.records import ROLES, Case, Dataset, MaskRules, Role, role_named
from rareseg.data.references import open_references
from rareseg.errors import OutputError, RunError
from rareseg.evaluation.statistics.intervals import count_groups
from rareseg.report.wording.numbers import count
from rareseg.text_files import read_json, read_table


@dataclass(frozen=True)
class DataOptions:
    """How a data set is opened: what ``open_dataset`` is told beside the path.

    ``group_from`` and ``missing_mask`` are None where nothing was said: then a data set that is
    used with a run is opened as the run's own (:meth:`like`). An empty pattern is said too:
    groups are then those that the data declare. ``layout`` None lets the folder's names decide.
    ``mask_name`` and ``folder_split`` are as in :func:`rareseg.data.dataset.open_dataset`; None is
    what the run was told. ``rules`` say how mask files are read; what they leave open is taken from
    the run's too.
    """

    path: str
    group_from: str | None = None
    missing_mask: MissingMask | None = None
    layout: str | None = None
    mask_name: str | None = None
    folder_split: bool | None = None
    rules: MaskRules = AS_IT_IS

    def open(self) -> Dataset:
        """Open the data set."""
        return self._opened(Path(self.path))

    def open_references(self) -> Dataset:
        """Open the data set for its labels alone: its images may be missing."""
        return self.open() if self.layout else open_references(self.path, self._opened)

    def _opened(self, data: Path | Sequence[Case]) -> Dataset:
        return open_dataset(
            data,
            group_from=self.group_from or None,
            missing_mask=self.missing_mask or "error",
            layout=self.layout,
            mask_name=self.mask_name,
            folder_split=self.folder_split is not False,
            rules=self.rules,
        )

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> DataOptions:
        """Make the record from what :meth:`to_dict` wrote; TypeError for unknown names."""
        return cls(**{**content, "rules": MaskRules.from_dict(content.get("rules", {}))})

    def to_dict(self) -> dict[str, Any]:
        """Return the options as they hold, as plain JSON values."""
        rules = self.rules.to_dict()
        return {
            "path": str(Path(self.path).resolve()),
            "group_from": self.group_from or None,
            "missing_mask": self.missing_mask or "error",
            "layout": self.layout,
            **({"mask_name": self.mask_name} if self.mask_name else {}),
            **({"folder_split": False} if self.folder_split is False else {}),
            **({"rules": rules} if rules else {}),
        }

    def like(self, earlier: Mapping[str, Any]) -> DataOptions:
        """Return the options with what was not said taken from ``earlier``, as `to_dict` wrote."""
        return replace(
            self,
            group_from=earlier["group_from"] if self.group_from is None else self.group_from,
            missing_mask=self.missing_mask or earlier["missing_mask"],
            mask_name=self.mask_name or earlier.get("mask_name"),
            folder_split=(
                earlier.get("folder_split") if self.folder_split is None else self.folder_split
            ),
            rules=MaskRules.from_dict({**earlier.get("rules", {}), **self.rules.to_dict()}),
        )

    def grouping(self, dataset: Dataset) -> str:
        """Say in how many groups the cases are, and by what."""
        groups = count_groups([case.group for case in dataset.cases])
        cases = count(len(dataset.cases), "case")
        if all(case.group is None for case in dataset.cases):
            return f"{cases}, each taken as independent: no group is known (--group-from)"
        by = f", by --group-from {self.group_from!r}" if self.group_from else ""
        return f"{cases} in {count(groups, 'group')}{by}"


@dataclass(frozen=True)
class RunFolder:
    """The places inside ``RUN``."""

    root: Path

    @property
    def about(self) -> Path:
        """The file that makes a folder a run: which data, opened how."""
        return self.root / "run.json"

    @property
    def recipe(self) -> Path:
        """Everything the run was told, with reasons."""
        return self.root / "recipe.yaml"

    @property
    def split(self) -> Path:
        """The role of every case."""
        return self.root / "split.csv"

    @property
    def folds(self) -> Path:
        """The fold of every case that is learnt from, in cross-validation."""
        return self.root / "folds.csv"

    @property
    def fingerprint(self) -> Path:
        """What inspection found."""
        return self.root / "fingerprint.json"

    @property
    def store(self) -> Path:
        """The memory-mapped cases."""
        return self.root / "store"

    @property
    def training(self) -> Path:
        """Checkpoints and logs."""
        return self.root / "training"

    def stage(self, number: int) -> Path:
        """Checkpoints and logs of one of two stages, 1 or 2."""
        return self.training / f"stage_{number}"

    @property
    def bundle(self) -> Path:
        """The model that is used and handed on."""
        return self.root / "bundle"

    def scores(self, role: Role) -> Path:
        """The score table of one role's cases."""
        return self._role_file(role, ".npz")

    @property
    def test_scorecard(self) -> Path:
        """The newest scorecards of the run's own test cases, wherever a report was written."""
        return self.root / "scores" / "test_scorecard.json"

    @property
    def evaluated(self) -> Path:
        """The digests of other data whose labels an evaluation has shown."""
        return self.root / "evaluated.json"

    @property
    def data_identity(self) -> Path:
        """The digests of every case's image and mask, and of the split."""
        return self.root / "data_identity.json"

    @property
    def file_digests(self) -> Path:
        """Digests of the data's files by path, size and time, so that they are not read again."""
        return self.root / "file_digests.csv"

    @property
    def certified(self) -> Path:
        """The digests of images that were asked to stand for a guarantee, each with its data's."""
        return self.root / "certified.json"

    def components(self, role: Role) -> Path:
        """The component table of one role's cases."""
        return self._role_file(role, "_components.npz")

    def _role_file(self, role: Role, ending: str) -> Path:
        """Return a file of one role's cases; earlier versions wrote "select" for validation."""
        path, earlier = (self.root / "scores" / f"{name}{ending}" for name in (role, "select"))
        return earlier if role == "validation" and earlier.is_file() else path


def begin_run(root: Path, data: DataOptions) -> RunFolder:
    """Return the folder of a new run, or of the run of the same data that stands there.

    A run without a recipe has not begun to learn, and may yet be told of other data. Raises
    :class:`OutputError` where ``root`` holds anything else, and :class:`RunError` where the run
    there was begun with other data.
    """
    folder = RunFolder(root)
    if folder.about.is_file():
        remove_leftovers(root)  # of a folder that is ours alone
    DIGESTS.load(folder.file_digests)
    about = data.to_dict()
    if folder.about.is_file():
        known = read_about(folder)
        keys = dict.fromkeys([*about, *known])
        changed = [key for key in keys if known.get(key) != about.get(key)]
        if not changed:
            return folder
        if folder.recipe.is_file():
            if changed == ["path"]:
                return folder  # the same data elsewhere, or not: their bytes will tell
            key = changed[0]
            raise RunError(
                f"{root} was begun with {key} {known.get(key)!r}, not {about.get(key)!r}; "
                "choose another --out, or call it as it was begun."
            )
    else:
        require_free(root)
    with atomic_write(folder.about) as temporary:
        temporary.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    return folder


def note_path(folder: RunFolder, data: DataOptions) -> None:
    """Note where the data of a run lie now."""
    about = data.to_dict()
    if read_about(folder) != about:
        with atomic_write(folder.about) as temporary:
            temporary.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def open_run(root: Path) -> RunFolder:
    """Return the folder of a finished run; raises :class:`RunError` where there is none."""
    folder = RunFolder(root)
    if not folder.about.is_file():
        raise RunError(
            f"{root} is no run: run.json is missing; name a folder that `rareseg train --out` "
            "wrote."
        )
    if not (folder.bundle / "bundle.json").is_file():
        raise RunError(
            f"{root} holds an unfinished run; call `rareseg train` on it again to finish it."
        )
    DIGESTS.load(folder.file_digests)
    return folder


def find_bundle(root: Path) -> Path:
    """Return the bundle of the finished run at ``root``; ``root`` itself where it is a bundle.

    Raises :class:`RunError` where there is neither.
    """
    if (root / "bundle.json").is_file():
        return root
    return open_run(root).bundle


def read_about(folder: RunFolder) -> dict[str, Any]:
    """Read ``run.json``; raises :class:`RunError` where it is damaged."""
    try:
        about: dict[str, Any] = read_json(folder.about)
        DataOptions.from_dict(about)
    except (ValueError, TypeError, AttributeError) as error:
        raise RunError(f"{folder.about} is damaged ({error}); choose another --out.") from error
    return about


def note_evaluated(folder: RunFolder, digests: Iterable[str]) -> None:
    """Note the images on which an evaluation has shown how the model does, by their digests."""
    known = read_evaluated(folder)
    merged = list(dict.fromkeys([*known, *digests]))
    if len(merged) > len(known):
        with atomic_write(folder.evaluated) as temporary:
            temporary.write_text(json.dumps(merged, indent=1) + "\n", encoding="utf-8")


def read_evaluated(folder: RunFolder) -> tuple[str, ...]:
    """Return the digests of all images that were evaluated; RunError where the file is damaged.

    Those of earlier versions are of whole data sets.
    """
    if not folder.evaluated.is_file():
        return ()
    try:
        return tuple(map(str, read_json(folder.evaluated)))
    except (OSError, ValueError, TypeError) as error:
        raise RunError(f"{folder.evaluated} is damaged ({error}); copy the run again.") from error


def note_certified(folder: RunFolder, images: Iterable[str], digest: str) -> None:
    """Note images that were asked to stand for a guarantee, and the digest of their data."""
    known = read_certified(folder)
    merged = {**dict.fromkeys(images, digest), **known}
    if len(merged) > len(known):
        with atomic_write(folder.certified) as temporary:
            temporary.write_text(json.dumps(merged, indent=1) + "\n", encoding="utf-8")


def read_certified(folder: RunFolder) -> dict[str, str]:
    """Return what :func:`note_certified` noted; RunError where the file is damaged."""
    if not folder.certified.is_file():
        return {}
    try:
        content = read_json(folder.certified)
        return {str(image): str(digest) for image, digest in content.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise RunError(f"{folder.certified} is damaged ({error}); copy the run again.") from error


def require_free(root: Path) -> None:
    """Raise :class:`OutputError` unless ``root`` is absent or an empty folder."""
    if root.is_dir() and not held_entries(root):
        return
    if root.exists():
        held = "a file" if root.is_file() else f"{len(held_entries(root))} entries"
        raise OutputError(
            f"{root} exists and holds {held} that are not of this run; nothing was changed. "
            "Choose another --out or empty it first."
        )


def held_entries(root: Path) -> list[Path]:
    """Return what a folder holds but for locks and leftovers of ours."""
    return [path for path in root.iterdir() if not is_lock(path) and not is_leftover(path)]


def claim(out: Path, name: str, content: Mapping[str, Any], what: str) -> None:
    """Note in ``out/name`` what the folder is for, or see that it was made for the same.

    Raises :class:`OutputError` where ``out`` holds anything else, or ``what`` of another content.
    """
    note = out / name
    if note.is_file():
        remove_leftovers(out)  # of a folder that is ours alone
    text = json.dumps(content, indent=1) + "\n"
    if not note.is_file():
        require_free(out)
        with atomic_write(note) as temporary:
            temporary.write_text(text, encoding="utf-8")
    elif note.read_text(encoding="utf-8") != text:
        raise OutputError(f"{out} holds {what}; remove it or choose another --out.")


def write_split(path: Path, roles: Mapping[str, Role], groups: Mapping[str, str | None]) -> None:
    """Write ``id, group, role`` for every case."""
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "group", "role"))
        writer.writerows((case, groups[case] or "", role) for case, role in roles.items())


def write_folds(path: Path, folds: Mapping[str, int]) -> None:
    """Write ``id, fold`` for every case that has one, folds numbered from 0."""
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "fold"))
        writer.writerows(folds.items())


def read_folds(path: Path) -> dict[str, int]:
    """Read what :func:`write_folds` wrote; raises :class:`RunError` where it is damaged."""
    try:
        return {row["id"]: int(row["fold"]) for row in read_table(path)}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{path} cannot be read as folds ({error}); train into another --out."
        ) from error


def read_split(path: Path) -> dict[str, Role]:
    """Read what :func:`write_split` wrote; raises :class:`RunError` where it is damaged."""
    try:
        rows = [(row["id"], role_named(row["role"] or "")) for row in read_table(path)]
    except (OSError, KeyError, ValueError) as error:
        raise RunError(
            f"{path} cannot be read as a split ({error}); it needs the columns id and role, as "
            "UTF-8 text."
        ) from error
    roles = dict(rows)
    if len(roles) < len(rows):
        twice = next(name for name, number in Counter(n for n, _ in rows).items() if number > 1)
        raise RunError(f"{path} names the case '{twice}' twice; keep one line of each case.")
    if not roles:
        raise RunError(f"{path} names no case; copy the run again, or train into another --out.")
    strange = sorted(set(roles.values()) - set(ROLES))
    if strange:
        raise RunError(f"{path} holds the role {strange[0]!r}; allowed are {', '.join(ROLES)}.")
    return cast(dict[str, Role], roles)
