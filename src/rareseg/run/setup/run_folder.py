"""The folder of a run: where each file lies, and whether it may be written to."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from rareseg.data.dataset import AS_IT_IS, MissingMask, open_dataset
from rareseg.data.folder_lock import is_lock
from rareseg.data.identity import DIGESTS
from rareseg.data.records import Case, Dataset, MaskRules, Role
from rareseg.data.references import open_references
from rareseg.errors import OutputError, RunError
from rareseg.evaluation.statistics.intervals import count_groups
from rareseg.report.wording.numbers import count
from rareseg.typed_records import require_types
from rareseg_runner.atomic_files import atomic_write, is_leftover, remove_leftovers
from rareseg_runner.bundle_archive import DESCRIPTION
from rareseg_runner.text_files import read_json

UNFINISHED = ".rareseg-unfinished"
"""A file that stands in a folder of results while not all of them are there."""


@dataclass(frozen=True)
class DataOptions:
    """How a data set is opened: what ``open_dataset`` is told beside the path.

    ``group_from`` and ``missing_mask`` are None where nothing was said: then a data set that is
    used with a run is opened as the run's own (:meth:`like`). An empty pattern is said too:
    groups are then those that the data declare. ``layout`` None lets the folder's names decide.
    ``mask_name`` and ``folder_split`` are as in :func:`rareseg.data.dataset.open_dataset`; None is
    what the run was told. ``rules`` say how mask files are read; what they leave open is taken from
    the run's too. ``verify`` computes every digest anew and is no part of what is written down.
    """

    path: str
    group_from: str | None = None
    missing_mask: MissingMask | None = None
    layout: str | None = None
    mask_name: str | None = None
    folder_split: bool | None = None
    rules: MaskRules = AS_IT_IS
    verify: bool = False

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
        """Make the record from what :meth:`to_dict` wrote; TypeError for anything else."""
        options = cls(**{**content, "rules": MaskRules.from_dict(content.get("rules", {}))})
        require_types(options)
        return options

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
    """The places inside ``RUN``.

    Of an exported model ``root`` is the folder of its records, and ``model`` its own.
    """

    RECORDS: ClassVar = "records"
    """The folder of an exported model in which the records of its run lie."""

    root: Path
    model: Path | None = None

    @property
    def name(self) -> str:
        """The name of the folder that the user knows."""
        return (self.model or self.root).name

    @property
    def records(self) -> tuple[Path, ...]:
        """What the run knows of its data, which an exported model takes along."""
        return (
            self.about,
            self.recipe,
            self.split,
            self.folds,
            self.fingerprint,
            self.data_identity,
            self.look_alikes,
            self.later_look_alikes,
            self.evaluated,
            self.certified,
            self.test_scorecard,
        )

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
        return self.model or self.root / "bundle"

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
    def look_alikes(self) -> Path:
        """What the run's own images look like, by which their copies are known."""
        return self.root / "look_alikes.npz"

    @property
    def later_look_alikes(self) -> Path:
        """What other images look like that were evaluated or stood for a guarantee."""
        return self.root / "later_look_alikes.npz"

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
    require_no_links_out(root)
    if folder.about.is_file():
        remove_leftovers(root)  # of a folder that is ours alone
    DIGESTS.load(folder.file_digests, verify=data.verify)
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


def open_run(root: Path, *, verify: bool = False) -> RunFolder:
    """Return the folder of a finished run; raises :class:`RunError` where there is none.

    With ``verify`` nothing is taken from the digests that it remembers of its files. It may be
    written to: raises as :func:`require_no_links_out`.
    """
    folder = finished_run(root)
    require_no_links_out(root)
    DIGESTS.load(folder.file_digests, verify=verify)
    return folder


def run_at(root: Path) -> RunFolder:
    """Return the folder of a run, or of an exported model, whose records lie in a folder below."""
    records = root / RunFolder.RECORDS
    is_exported = (root / DESCRIPTION).is_file() and records.is_dir()
    return RunFolder(records, root) if is_exported else RunFolder(root)


def finished_run(root: Path) -> RunFolder:
    """Return the folder of a finished run or exported model; RunError where there is none."""
    folder = run_at(root)
    if not folder.about.is_file():
        if (root / DESCRIPTION).is_file():
            raise RunError(
                f"{root} is a model without the records of its run, by which it is known what it "
                "has seen; name the run, or export it again with --records."
            )
        raise RunError(
            f"{root} is no run: run.json is missing; name a folder that `rareseg train --out` "
            "wrote."
        )
    if not (folder.bundle / DESCRIPTION).is_file():
        raise RunError(
            f"{root} holds an unfinished run; call `rareseg train` on it again to finish it."
        )
    return folder


def read_about(folder: RunFolder) -> dict[str, Any]:
    """Read ``run.json``; raises :class:`RunError` where it is damaged."""
    try:
        about: dict[str, Any] = read_json(folder.about)
        DataOptions.from_dict(about)
    except (ValueError, TypeError, AttributeError) as error:
        raise RunError(f"{folder.about} is damaged ({error}); choose another --out.") from error
    return about


def require_free(root: Path) -> None:
    """Raise :class:`OutputError` unless ``root`` is absent, empty, or holds unfinished results."""
    if root.is_dir() and (not held_entries(root) or (root / UNFINISHED).is_file()):
        return
    if root.exists():
        held = "a file" if root.is_file() else f"{len(held_entries(root))} entries"
        raise OutputError(
            f"{root} exists and holds {held} that are not of this run; nothing was changed. "
            "Choose another --out or empty it first."
        )


def require_no_links_out(root: Path) -> None:
    """Raise :class:`OutputError` where a link below ``root`` leads out of it.

    What is written there would land elsewhere. ``root`` itself may be a link.
    """
    whole = root.resolve()
    folders = [root] if root.is_dir() else []
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                path = Path(entry.path)
                if entry.is_symlink():
                    if not path.resolve().is_relative_to(whole):
                        raise OutputError(
                            f"{path} is a link to {path.resolve()}, and nothing is written outside "
                            f"{root}; remove the link, or choose another --out."
                        )
                elif entry.is_dir():
                    folders.append(path)


def held_entries(root: Path) -> list[Path]:
    """Return what a folder holds but for locks and leftovers of ours."""
    return [path for path in root.iterdir() if not is_lock(path) and not is_leftover(path)]


def claim(
    out: Path, name: str, content: Mapping[str, Any], what: str, *, later: str | None = None
) -> None:
    """Note in ``out/name`` what the folder is for, or see that it was made for the same.

    ``later`` is a key of what is noted there in the end, which says nothing of what it is for.
    Raises :class:`OutputError` where ``out`` holds anything else, or ``what`` of another content,
    and as :func:`require_no_links_out`.
    """
    note = out / name
    require_no_links_out(out)
    if note.is_file():
        remove_leftovers(out)  # of a folder that is ours alone
    text = json.dumps(content, indent=1) + "\n"
    if not note.is_file():
        require_free(out)
        with atomic_write(note) as temporary:
            temporary.write_text(text, encoding="utf-8")
    elif _noted(note, later) != json.loads(text):
        raise OutputError(f"{out} holds {what}; remove it or choose another --out.")


def _noted(note: Path, later: str | None) -> Any:
    """Return what a note says, None where it is damaged."""
    try:
        content = read_json(note)
    except (OSError, ValueError):
        return None
    if isinstance(content, dict):
        content.pop(later, None)
    return content
