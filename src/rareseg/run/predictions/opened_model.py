"""Find a model by what users name: a run, a bundle, a bundle in one file, an exported model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rareseg.prediction.bundle import bundle_at
from rareseg.run.setup.run_folder import RunFolder, finished_run, run_at
from rareseg_runner.bundle_archive import DESCRIPTION


@contextmanager
def opened_bundle(root: Path) -> Iterator[Path]:
    """Give the bundle of the finished run at ``root``; ``root`` itself where it is a bundle.

    A bundle in one file is unpacked into a temporary folder. Raises :class:`RunError` where there
    is neither, :class:`BundleError` for a file that is no bundle.
    """
    if not root.is_file() and not (root / DESCRIPTION).is_file():
        finished_run(root)
    with bundle_at(root) as folder:
        yield folder


def find_run(root: Path) -> RunFolder | None:
    """Return the records of the run at ``root``, None where a bundle lies there alone."""
    folder = run_at(root)
    return folder if folder.about.is_file() else None
