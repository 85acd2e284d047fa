"""Build the store of a data set, and rebuild it only when files or settings changed."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from rareseg.data.case_files import read_case_image
from rareseg.data.checks.fingerprint import Fingerprint, inspect_dataset
from rareseg.data.folder_lock import one_writer
from rareseg.data.identity import content_hash
from rareseg.data.records import Case, Dataset
from rareseg.data.store.case_labels import read_labels
from rareseg.data.store.store import Store
from rareseg.data.store.store_writing import (
    BUILD_WAIT_S,
    Labels,
    Source,
    open_current,
    store_key,
    write_store,
)
from rareseg.errors import ProblemsError, StoreError
from rareseg.progress import Track, silent
from rareseg_runner.image_records import Classes, Image
from rareseg_runner.preprocessing.photo_channels import with_channels
from rareseg_runner.preprocessing.preprocess import Preprocessing


@one_writer("folder", beside=True, wait_s=BUILD_WAIT_S)
def build_store(
    dataset: Dataset,
    folder: Path | str,
    *,
    preprocessing: Preprocessing | None = None,
    fingerprint: Fingerprint | None = None,
    jobs: int = -1,
    track: Track = silent,
) -> Store:
    """Write every case of a data set into a store at ``folder``, or open the one that is there.

    A store that was made from the same files (by path, size and time), with the same preprocessing
    and the same declared classes, is opened as it is; a store of anything else is replaced, and any
    other content is refused. ``preprocessing`` ``None`` normalises each case and channel to mean 0
    and deviation 1 on its own grid; ``fingerprint`` ``None`` inspects the data set first.

    Raises :class:`ProblemsError` for a data set with problems, :class:`StoreError` where a file
    changed after the fingerprint was taken, :class:`OutputError` where the folder holds something
    else, and :class:`WorkError` for a full disk.
    """
    folder = Path(folder)
    key = store_key(content_hash(dataset), preprocessing)
    known = open_current(folder, key)
    if known is not None:
        return known
    if fingerprint is None:
        fingerprint = inspect_dataset(dataset, jobs=jobs, track=track)
    if fingerprint.problems:
        raise ProblemsError(fingerprint.problems)
    if fingerprint.content_hash != content_hash(dataset):
        raise StoreError(
            f"The files of {dataset.root} changed since they were inspected; inspect them again."
        )
    facts = {fact.id: fact for fact in fingerprint.cases}
    if preprocessing is None:
        flat = any(fact.dimension == 2 for fact in fingerprint.cases)
        preprocessing = Preprocessing(dimension=2 if flat else 3)
    sources = [
        Source(
            id=case.id,
            group=case.group,
            shape=facts[case.id].shape,
            spacing=facts[case.id].spacing,
            dtype=facts[case.id].dtype,
            channels=facts[case.id].channels,
            load=partial(_read_case, case, fingerprint.classes, facts[case.id].channels),
        )
        for case in dataset.cases
    ]
    return write_store(
        folder,
        sources,
        classes=fingerprint.classes,
        preprocessing=preprocessing,
        key=key,
        jobs=jobs,
        track=track,
    )


def _read_case(case: Case, classes: Classes, channels: int) -> tuple[Image, Labels]:
    """Read one case's files; a grey photograph among coloured ones is repeated."""
    image, _ = with_channels(read_case_image(case), channels)
    return image, read_labels(case, classes, image)
