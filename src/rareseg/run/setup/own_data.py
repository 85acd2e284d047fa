"""The data that a run was begun with: opened where they lie, and held against what is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rareseg.data.records import Case, Dataset, Role
from rareseg.errors import DataError
from rareseg.run.setup.known_cases import require_unchanged
from rareseg.run.setup.run_folder import DataOptions, RunFolder, read_about
from rareseg.run.setup.split_files import read_split


def own_dataset(folder: RunFolder) -> Dataset:
    """Open a run's own data; raises :class:`DataError` where they are gone from their place."""
    options = DataOptions.from_dict(read_about(folder))
    if not Path(options.path).exists():
        raise DataError(
            f"{options.path}, which {folder.root} was made from, is gone; put it back, or say "
            f"where it lies now: `rareseg train NEW_PLACE --out {folder.root}`."
        )
    return options.open()


def cases_of(folder: RunFolder, role: Role, dataset: Dataset | None = None) -> tuple[Case, ...]:
    """Return the cases of a run's own data that play ``role``.

    ``dataset`` is where they lie now, None where they were. Raises :class:`DataError` where a case
    is gone, or its image or mask is not what it was.
    """
    roles = read_split(folder.split)
    dataset = dataset or own_dataset(folder)
    require_unchanged(folder, dataset, [name for name, own in roles.items() if own == role])
    return tuple(case for case in dataset.cases if roles.get(case.id) == role)


def known_dataset(folder: RunFolder) -> Dataset:
    """Open a run's own data, with those of its cases that the run knows.

    Raises :class:`DataError` where the data or a case are gone, or an image or mask is not what it
    was: masks that were moved away would be read as empty ones.
    """
    dataset, roles = own_dataset(folder), read_split(folder.split)
    require_unchanged(folder, dataset, tuple(roles))
    return replace(dataset, cases=tuple(case for case in dataset.cases if case.id in roles))


def require_own_data(folder: RunFolder, role: Role) -> None:
    """Raise :class:`DataError` where cases of a role are not what they were when they were scored.

    Where the data as a whole are gone, the tables that were kept of them stand for them.
    """
    if Path(read_about(folder)["path"]).exists():
        cases_of(folder, role)
