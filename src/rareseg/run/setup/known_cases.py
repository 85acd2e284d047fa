"""What a run knows of its data: the bytes of every case, and which role it played."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass

from rareseg.data.checks.fingerprint import Fingerprint
from rareseg.data.identity import DIGESTS, CaseIdentity, files_of, identify, is_content
from rareseg.data.records import Case, Dataset, Role
from rareseg.errors import DataError, RunError
from rareseg.report.wording.numbers import count
from rareseg.run.setup.run_folder import RunFolder
from rareseg.run.setup.split_files import read_folds, read_split
from rareseg_runner.atomic_files import atomic_write
from rareseg_runner.text_files import read_json

_REMEDY = (
    "put the files back. Corrected labels are another data set: copy the folder and name the copy."
)

LEARNED: tuple[Role, ...] = ("train", "validation", "certify")
"""The roles whose images were used for the model, its points or what is guaranteed of them."""


@dataclass(frozen=True)
class KnownCases:
    """The cases of a run by id, and ``inherited``: images that its initial weights have learned.

    ``inherited`` leads from the digest of an image to the role that it had there.
    """

    cases: Mapping[str, CaseIdentity]
    inherited: Mapping[str, Role]


def write_known_cases(
    folder: RunFolder, cases: Sequence[Case], *, inherited: Mapping[str, Role] | None = None
) -> None:
    """Note the identity of the run's cases, of its split and folds, and the digests of their files.

    ``inherited`` is that of :class:`KnownCases`.
    """
    found = identify(cases)
    content = {
        "split": _digest_of_split(folder),
        "folds": _digest_of_folds(folder),
        "cases": {name: asdict(identity) for name, identity in found.items()},
        "inherited": dict(inherited or {}),
    }
    with atomic_write(folder.data_identity) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    DIGESTS.save(folder.file_digests, (path for case in cases for path in files_of(case)))


def read_known_cases(folder: RunFolder) -> KnownCases | None:
    """Return the identity of the run's cases; None for a run of an earlier version.

    Raises :class:`RunError` where the file is damaged, or the split or the folds are not those that
    the run was begun with.
    """
    if not folder.data_identity.is_file():
        return None
    try:
        content = read_json(folder.data_identity)
        split, folds, cases = str(content["split"]), content.get("folds"), content["cases"]
        known = KnownCases(
            {name: CaseIdentity(**identity) for name, identity in cases.items()},
            {str(image): role for image, role in content.get("inherited", {}).items()},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"{folder.data_identity} is damaged ({error}); copy the run again."
        ) from error
    for file, same in (
        (folder.split, split == _digest_of_split(folder)),
        (folder.folds, folds in (None, _digest_of_folds(folder))),
    ):
        if not same:
            raise RunError(
                f"{file} changed since the run was begun, so that it no longer says which cases "
                "the model has seen; put the file back, or train into another --out."
            )
    return known


def require_unchanged(folder: RunFolder, dataset: Dataset, ids: Collection[str]) -> None:
    """Raise :class:`DataError` unless the cases ``ids`` of a data set are those that the run knows.

    Of a run of an earlier version, which noted nothing of its cases, the data as a whole must be
    what they were.
    """
    there = {case.id: case for case in dataset.cases}
    missing = sorted(name for name in ids if name not in there)
    if missing:
        raise DataError(
            f"{count(len(missing), 'case')} of {folder.root} ({_few(missing)}) are gone from its "
            "data; put the files back."
        )
    known = read_known_cases(folder)
    if known is None:
        if folder.fingerprint.is_file():
            begun_with = Fingerprint.from_json(folder.fingerprint).content_hash
            if not is_content(dataset, begun_with):
                raise DataError(f"The data of {folder.root} changed since it was begun; {_REMEDY}")
        return
    changed = []
    for name, identity in identify([there[name] for name in ids]).items():
        was = known.cases.get(name)
        if was is None or was.image != identity.image:
            changed.append(f"the image of {name}")
        elif was.mask != identity.mask:
            gone = identity.mask == ""
            changed.append(f"the mask of {name}" + (", which is gone" if gone else ""))
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise DataError(
            f"The data of {folder.root} changed since it was begun: {changed[0]}{more}; {_REMEDY}"
        )


def image_digests(cases: Sequence[Case]) -> dict[str, str]:
    """Return the digest of every case's image by the case's id."""
    return {name: identity.image for name, identity in identify(cases).items()}


def digest_of_images(digests: Mapping[str, str]) -> str:
    """Return one digest of a set of images, whatever they are called and in which order."""
    return hashlib.sha256("\n".join(sorted(digests.values())).encode()).hexdigest()


def _digest_of_folds(folder: RunFolder) -> str:
    """Return a digest of which case is in which fold; "" where there are none."""
    if not folder.folds.is_file():
        return ""
    return hashlib.sha256(repr(sorted(read_folds(folder.folds).items())).encode()).hexdigest()


def _digest_of_split(folder: RunFolder) -> str:
    """Return a digest of which case plays which role."""
    return hashlib.sha256(repr(sorted(read_split(folder.split).items())).encode()).hexdigest()


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
