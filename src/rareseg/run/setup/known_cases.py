"""What a run knows of its data: the bytes of every case, and which role it played."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass

from rareseg.data.atomic_files import atomic_write
from rareseg.data.identity import DIGESTS, CaseIdentity, files_of, identify
from rareseg.data.records import Case, Role
from rareseg.errors import DataError, RunError
from rareseg.report.wording.numbers import count
from rareseg.run.setup.run_folder import RunFolder, read_split
from rareseg.text_files import read_json

LEARNED: tuple[Role, ...] = ("train", "validation", "certify")
"""The roles whose images were used for the model, its points or what is promised of them."""


@dataclass(frozen=True)
class SeenCase:
    """A case whose image a run has seen: the run's own case that holds it, and its role."""

    id: str
    own_id: str
    role: Role


def write_known_cases(folder: RunFolder, cases: Sequence[Case]) -> None:
    """Note the identity of the run's cases and of its split, and the digests of their files."""
    found = identify(cases)
    content = {
        "split": _digest_of_split(folder),
        "cases": {name: asdict(identity) for name, identity in found.items()},
    }
    with atomic_write(folder.data_identity) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    DIGESTS.save(folder.file_digests, (path for case in cases for path in files_of(case)))


def read_known_cases(folder: RunFolder) -> dict[str, CaseIdentity] | None:
    """Return the identity of the run's cases by id; None for a run of an earlier version.

    Raises :class:`RunError` where the file is damaged, or the split is not the one that the run was
    begun with.
    """
    if not folder.data_identity.is_file():
        return None
    try:
        content = read_json(folder.data_identity)
        split, cases = str(content["split"]), content["cases"]
        found = {name: CaseIdentity(**identity) for name, identity in cases.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"{folder.data_identity} is damaged ({error}); copy the run again."
        ) from error
    if split != _digest_of_split(folder):
        raise RunError(
            f"{folder.split} changed since the run was begun, so that it no longer says which "
            "cases the model has seen; put the file back, or train into another --out."
        )
    return found


def require_unchanged(folder: RunFolder, cases: Sequence[Case], ids: Collection[str]) -> None:
    """Raise :class:`DataError` unless ``cases`` are those that the run knows as ``ids``.

    Cases of a run of an earlier version, which noted nothing of them, are only counted.
    """
    missing = sorted(set(ids) - {case.id for case in cases})
    if missing:
        raise DataError(
            f"{count(len(missing), 'case')} of {folder.root} ({_few(missing)}) are gone from its "
            "data; put the files back."
        )
    known = read_known_cases(folder)
    if known is None:
        return
    changed = []
    for name, identity in identify(cases).items():
        was = known.get(name)
        if was is None or was.image != identity.image:
            changed.append(f"the image of {name}")
        elif was.mask != identity.mask:
            gone = identity.mask == ""
            changed.append(f"the mask of {name}" + (", which is gone" if gone else ""))
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise DataError(
            f"The data of {folder.root} changed since it was begun: {changed[0]}{more}; put the "
            "files back. Corrected labels are another data set: copy the folder and name the copy."
        )


def find_seen(folder: RunFolder, cases: Sequence[Case]) -> tuple[SeenCase, ...]:
    """Return those of ``cases`` whose image the run was trained, chosen or certified on.

    By the bytes of the image files, whatever they are called. None for a run of an earlier version,
    which noted nothing.
    """
    known = read_known_cases(folder)
    if known is None:
        return ()
    roles = read_split(folder.split)
    own: dict[str, str] = {}
    for name, identity in known.items():
        if roles.get(name) in LEARNED:
            own[identity.image] = name
    return tuple(
        SeenCase(name, own[identity.image], roles[own[identity.image]])
        for name, identity in identify(cases).items()
        if identity.image in own
    )


def seen_in_words(seen: Sequence[SeenCase]) -> str:
    """Say how many cases had which role, as "12 train, 3 validation"."""
    counts = {role: sum(case.role == role for case in seen) for role in LEARNED}
    return ", ".join(f"{number} {role}" for role, number in counts.items() if number)


def image_digests(cases: Sequence[Case]) -> dict[str, str]:
    """Return the digest of every case's image by the case's id."""
    return {name: identity.image for name, identity in identify(cases).items()}


def digest_of_images(digests: Mapping[str, str]) -> str:
    """Return one digest of a set of images, whatever they are called and in which order."""
    return hashlib.sha256("\n".join(sorted(digests.values())).encode()).hexdigest()


def _digest_of_split(folder: RunFolder) -> str:
    """Return a digest of which case plays which role in which group."""
    return hashlib.sha256(repr(sorted(read_split(folder.split).items())).encode()).hexdigest()


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
