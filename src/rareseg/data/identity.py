"""Identify images and masks by their bytes, wherever they lie and whatever they are called.

A file's digest is computed once and remembered under its path, size and time; where any of these
differs it is computed again.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

from joblib import Parallel, delayed

from rareseg.data.records import Case, Dataset, MaskSource
from rareseg.errors import DataError, ReadError
from rareseg_runner.atomic_files import atomic_write
from rareseg_runner.formats import EMBEDDING, said_beside
from rareseg_runner.formats import files_of as read_from
from rareseg_runner.formats.embedded_picture import embedded_bytes

DIGEST_BYTES = 16
_TOGETHER = 64
_COLUMNS = ("path", "size", "time", "digest")

_Stamp = tuple[str, int, int]
"""Absolute path, size in bytes and modification time in nanoseconds."""


@dataclass(frozen=True)
class CaseIdentity:
    """What a case is by its bytes: hexadecimal digests of its image's and of its mask's files.

    ``image`` is "" of a reference without an image, ``mask`` where the case is known to hold
    nothing. A mask that is drawn in another way than as one file counts by its files and by how it
    is made of them.
    """

    image: str
    mask: str


class FileDigests:
    """Digests of files, remembered by path, size and time.

    :data:`DIGESTS` is that of the process; :meth:`load` and :meth:`save` keep it from one call to
    the next.
    """

    def __init__(self) -> None:
        self._known: dict[_Stamp, str] = {}

    def of(self, path: Path) -> str:
        """Return the digest of a file, or of all files of a folder; "" where there is none.

        Of a header it is that of the header and of its data file, of a TIFF that of the file and of
        the spacing that a JSON file beside it says.
        """
        files = read_from(path)
        if path.is_dir() or len(files) > 1:
            whole = hashlib.blake2b(digest_size=DIGEST_BYTES)
            for file in files:
                digest = self._of_file(file) if file.is_file() else ""
                whole.update(f"{file.name}\0{digest}\n".encode())
            return whole.hexdigest()
        own, beside = self._of_file(path), said_beside(path)
        return _short(own + beside) if own and beside else own

    def of_image(self, path: Path) -> str:
        """Return the digest of an image: of one in an annotation file that of the picture alone.

        What is drawn in the file may change, and the image stays the same.
        """
        stamp = _stamp(path) if path.suffix.lower() == EMBEDDING else None
        if stamp is None:
            return self.of(path)
        stamp = (f"{stamp[0]}\0", *stamp[1:])  # beside the digest of the file itself
        if stamp not in self._known:
            try:
                content = embedded_bytes(path)
            except ReadError:
                return self.of(path)
            self._known[stamp] = hashlib.blake2b(content, digest_size=DIGEST_BYTES).hexdigest()
        return self._known[stamp]

    def _of_file(self, path: Path) -> str:
        stamp = _stamp(path)
        if stamp is None:
            return ""
        found = self._known.get(stamp)
        if found is None:
            with path.open("rb") as content:
                found = hashlib.file_digest(content, _blake2b).hexdigest()
            self._known[stamp] = found
        return found

    def compute(self, paths: Iterable[Path], *, jobs: int = -1) -> dict[Path, str]:
        """Return the digests of many files, in parallel; those that are known are not read."""
        files = list(dict.fromkeys(paths))
        parts = [files[start : start + _TOGETHER] for start in range(0, len(files), _TOGETHER)]
        # Hashing releases the interpreter's lock, so that threads are enough.
        found = Parallel(n_jobs=jobs, prefer="threads")(delayed(self._all)(part) for part in parts)
        return dict(zip(files, (digest for part in found for digest in part), strict=True))

    def _all(self, paths: Sequence[Path]) -> list[str]:
        return [self.of(path) for path in paths]

    def load(self, path: Path, *, verify: bool = False) -> None:
        """Take over what :meth:`save` wrote; a file that is absent or damaged adds nothing.

        With ``verify`` nothing is taken over, and what is known is forgotten: every file is read
        again, also where its size and time are the same.
        """
        if verify:
            self._known.clear()
            return
        try:
            with path.open(newline="", encoding="utf-8") as file:
                for row in csv.DictReader(file):
                    stamp = (row["path"], int(row["size"]), int(row["time"]))
                    self._known.setdefault(stamp, row["digest"])
        except (OSError, KeyError, TypeError, ValueError):
            return  # a cache: what cannot be read is computed again

    def save(self, path: Path, files: Iterable[Path]) -> None:
        """Write the digests of ``files``, folders and headers included, atomically."""
        read = dict.fromkeys(part for file in files for part in read_from(file))
        stamps = [stamp for file in read if (stamp := _stamp(file)) is not None]
        with atomic_write(path) as temporary, temporary.open("w", newline="") as target:
            writer = csv.writer(target)
            writer.writerow(_COLUMNS)
            writer.writerows(
                (*stamp, self._known[stamp]) for stamp in stamps if stamp in self._known
            )


DIGESTS = FileDigests()
"""The digests that this process knows."""


def identify(cases: Sequence[Case], *, jobs: int = -1) -> dict[str, CaseIdentity]:
    """Return the identity of every case by its id; of an id that occurs twice, the last one's.

    Raises :class:`~rareseg.errors.DataError` where a file cannot be read.
    """
    try:
        known = DIGESTS.compute((path for case in cases for path in files_of(case)), jobs=jobs)
        return {case.id: _identity(case, known) for case in cases}
    except OSError as error:
        raise DataError(
            f"{error.filename} cannot be read ({error.strerror}); see that it is there and may be "
            "read."
        ) from error


def files_of(case: Case) -> tuple[Path, ...]:
    """Return the files of a case's image, mask and annotations; folders are not looked into."""
    annotations = tuple(mask for _, mask in case.annotations if mask is not None)
    return (*case.images, *case.mask_files, *annotations)


def content_hash(dataset: Dataset) -> str:
    """Return a hash (64 hexadecimal digits) of names, bytes and what is declared or named.

    Names are ids, groups and roles; where files lie, when they were written and in which order they
    are listed counts for nothing, so that a copied or moved folder keeps its hash. A file that is
    absent counts as such. Raises :class:`~rareseg.errors.DataError` as :func:`identify` does.
    """
    digest = hashlib.sha256()
    digest.update(repr([dataset.labels, dataset.regions, dataset.ignore_value]).encode())
    found = identify(dataset.cases)
    for case in sorted(dataset.cases, key=lambda case: case.id):
        own = found[case.id]
        drawn = [(name, mask and DIGESTS.of(mask)) for name, mask in case.annotations]
        about = [case.id, case.group, case.role, own.image, own.mask, *([drawn] if drawn else [])]
        named = () if case.nodata_value is None else (f"without {case.nodata_value}",)
        about = [*about, *named]
        digest.update(repr(about).encode())
    return digest.hexdigest()


def is_content(dataset: Dataset, known: str) -> bool:
    """Whether a data set still is what ``known`` was computed of, by any version of rareseg."""
    return known == content_hash(dataset) or known == _earlier_content_hash(dataset)


def _earlier_content_hash(dataset: Dataset) -> str:
    """Return the hash of earlier versions: paths, sizes and times in place of bytes."""
    digest = hashlib.sha256()
    declared = [dataset.labels, dataset.regions, dataset.ignore_value]
    digest.update(json.dumps(declared, sort_keys=True).encode())
    for case in dataset.cases:
        drawn = [(name, mask is None) for name, mask in case.annotations]
        about = [case.id, case.group, case.role, case.mask is None, *([drawn] if drawn else [])]
        digest.update(json.dumps(about).encode())
        for path in files_of(case):
            for file in sorted(path.iterdir()) if path.is_dir() else (path,):
                within = file.is_relative_to(dataset.root)
                name = file.relative_to(dataset.root) if within else file.absolute()
                stat = file.stat() if file.exists() else None
                stamp = (stat.st_size, stat.st_mtime_ns) if stat else None
                digest.update(json.dumps([name.as_posix(), stamp]).encode())
    return digest.hexdigest()


def _identity(case: Case, known: Mapping[Path, str]) -> CaseIdentity:
    image = "".join(
        DIGESTS.of_image(path) if path.suffix.lower() == EMBEDDING else known[path]
        for path in case.images
    )
    mask = "".join(known[path] for path in case.mask_files)
    if isinstance(case.mask, MaskSource):
        made = repr(case.mask)
        for path in case.mask.files:  # which may lie anywhere
            made = made.replace(repr(path), DIGESTS.of(path))
        mask = _short(made)
    return CaseIdentity(_short(image) if len(case.images) > 1 else image, mask)


def _short(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=DIGEST_BYTES).hexdigest()


def _stamp(path: Path) -> _Stamp | None:
    try:
        stat = path.stat()
    except (OSError, ValueError):  # ValueError: a character that no path has
        return None
    if not S_ISREG(stat.st_mode):
        return None  # a pipe or a device would be read for ever
    return str(path.absolute()), stat.st_size, stat.st_mtime_ns


def _blake2b() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=DIGEST_BYTES)
