"""Find a model by what users name: a run, a bundle, a bundle in one file, an exported model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rareseg.run.setup.run_folder import RunFolder, finished_run
from rareseg_runner.bundle_archive import DESCRIPTION, unpacked


@contextmanager
def opened_bundle(root: Path) -> Iterator[Path]:
    """Give the bundle of the finished run at ``root``; ``root`` itself where it is a bundle.

    A bundle in one file is unpacked into a temporary folder. Raises :class:`RunError` where there
    is neither, :class:`BundleError` for a file that is no bundle.
    """
    if root.is_file():
        with unpacked(root) as folder:
            yield folder
    elif (root / DESCRIPTION).is_file():
        yield root
    else:
        yield finished_run(root).bundle


def find_run(root: Path) -> RunFolder | None:
    """Return the records of the run at ``root``, None where a bundle lies there alone."""
    if (root / RunFolder.RECORDS / "run.json").is_file():
        return RunFolder(root / RunFolder.RECORDS, root)
    return RunFolder(root) if (root / "run.json").is_file() else None
