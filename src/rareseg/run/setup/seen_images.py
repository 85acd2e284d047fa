"""Find which images of new data a run has seen before, under whatever name and however they look.

An image is known by its bytes, a copy (brightened, shifted, saved anew) by what it looks like, and
a case by its group. One search answers `evaluate`, certificates and initial weights alike.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from rareseg.data.checks.copies_between import compare_cases, copies_between
from rareseg.data.checks.fingerprint import CaseFacts, Fingerprint
from rareseg.data.identity import CaseIdentity, identify
from rareseg.data.look_alikes import ComparedCase, read_compared, write_compared
from rareseg.data.records import Case, Role
from rareseg.progress import Track, silent
from rareseg.run.setup.known_cases import LEARNED, read_known_cases
from rareseg.run.setup.run_folder import DataOptions, RunFolder, read_about
from rareseg.run.setup.split_files import read_split
from rareseg.run.setup.used_images import read_certified, read_evaluated

How = Literal["image", "copy", "group"]

_STRONGEST: tuple[Role, ...] = ("train", "validation", "certify", "test")
"""Of an image that played several roles, the first of these is told."""


TAUGHT: tuple[Role, ...] = ("train", "validation")
"""The roles of images that weights have learned, or were chosen by."""


@dataclass(frozen=True)
class SeenCase:
    """A case that a run has seen: how it is known, as what, and which of the run's cases it is.

    ``role`` is "test" of images whose labels an evaluation has shown. ``own_id`` is the case of the
    run's own data, "" where the image was in other data. ``how`` says whether it is the same image,
    a copy, or another image of the same ``group``.
    """

    id: str
    own_id: str
    role: Role
    how: How
    group: str | None = None

    @property
    def known_as(self) -> str:
        """What the run knows it as: "train case 'a'"."""
        if self.own_id:
            return f"{self.role} case '{self.own_id}'"
        if self.role == "test":
            return "images of an earlier evaluation"
        if self.role == "certify":
            return "images of an earlier guarantee"
        return "images that its initial weights have learned"


@dataclass(frozen=True)
class Seen:
    """The cases that a run has seen; ``copies_told`` is False where copies could not be told."""

    cases: tuple[SeenCase, ...]
    copies_told: bool = True


@dataclass(frozen=True)
class _Known:
    """An image that a run has seen: its role, and the case of the run's own, "" for none."""

    role: Role
    own_id: str


def find_seen(
    folder: RunFolder,
    cases: Sequence[Case],
    fingerprint: Fingerprint,
    *,
    groups: bool = False,
    track: Track = silent,
) -> Seen:
    """Return those of ``cases`` that the run has seen in whatever role, each once.

    ``fingerprint`` is what inspection found in them. By the bytes of the images, then by what they
    look like, and with ``groups`` by their groups. Copies cannot be told where nothing notes what
    the run's own images look like and they are gone. Raises :class:`RunError` where what the run
    noted is damaged.
    """
    found: dict[str, SeenCase] = {}

    def note(name: str, known: _Known, how: How, group: str | None = None) -> None:
        seen = SeenCase(name, known.own_id, known.role, how, group)
        earlier = found.get(name)
        if earlier is None or _rank(seen) < _rank(earlier):
            found[name] = seen

    _note_looks(folder, track)
    images, identities = known_images(folder), identify(cases)
    for name, identity in identities.items():
        known = images.get(image_key(name, identity))
        if known is not None:
            note(name, known, "image")
    role_of = _role_of(folder)
    if folder.fingerprint.is_file():
        own = Fingerprint.from_json(folder.fingerprint)
        if groups:
            for mine, name in _shared_groups(own, fingerprint):
                note(name, _Known(role_of(mine.id), mine.id), "group", mine.group)
        if not folder.data_identity.is_file():
            for mine, name in _equal_facts(own, fingerprint):
                note(name, _Known(role_of(mine.id), mine.id), "image")
    looks = (*read_compared(folder.look_alikes), *read_compared(folder.later_look_alikes))
    ours = list({look.id: look for look in looks if look.id in images}.values())
    theirs = [look for look in fingerprint.compared if look.id in identities]
    for digest, name in copies_between(ours, theirs, track=track):
        note(name, images[digest], "copy")
    return Seen(
        tuple(found[case.id] for case in cases if case.id in found),
        copies_told=folder.look_alikes.is_file(),
    )


def known_images(folder: RunFolder) -> dict[str, _Known]:
    """Return every image that a run has seen by its digest, with the strongest of its roles.

    Those of its own data, of its initial weights, and of other data that were evaluated or stood
    for a guarantee. Images of its own test cases count, since training ends by evaluating them.
    """
    known: dict[str, _Known] = {}

    def note(digest: str, role: Role, own_id: str = "") -> None:
        earlier = known.get(digest)
        if earlier is None or _STRONGEST.index(role) < _STRONGEST.index(earlier.role):
            known[digest] = _Known(role, own_id)

    begun = read_known_cases(folder)
    role_of = _role_of(folder)
    own = identify(_own_cases(folder)) if begun is None else begun.cases
    for name, identity in own.items():
        note(image_key(name, identity), role_of(name), name)
    for digest, role in ({} if begun is None else begun.inherited).items():
        note(digest, role)
    for digest in read_certified(folder):
        note(digest, "certify")
    for digest in read_evaluated(folder):
        note(digest, "test")
    return known


def learned_images(folder: RunFolder) -> dict[str, Role]:
    """Return the digests of all images that a run's weights have learned, or were chosen by."""
    return {
        digest: known.role for digest, known in known_images(folder).items() if known.role in TAUGHT
    }


def image_key(name: str, identity: CaseIdentity) -> str:
    """Return what an image is known by: its digest; of a mask without an image the id and that."""
    return identity.image or f"{name}:{identity.mask}"


def remember_looks(path: Path, cases: Sequence[Case], looks: Sequence[ComparedCase]) -> None:
    """Add what images look like to a file, each under the digest of its image."""
    known = {look.id: look for look in read_compared(path)}
    identities = identify(cases)
    new = {
        (key := image_key(look.id, identities[look.id])): replace(look, id=key)
        for look in looks
        if look.id in identities
    }
    if new.keys() - known.keys():
        write_compared(path, list({**known, **new}.values()))


def seen_in_words(seen: Sequence[SeenCase]) -> str:
    """Say how many cases had which role, as "12 train, 3 validation"."""
    counts = {role: sum(case.role == role for case in seen) for role in LEARNED}
    return ", ".join(f"{number} {role}" for role, number in counts.items() if number)


def _note_looks(folder: RunFolder, track: Track) -> None:
    """Note what the run's own images look like where training did not, as far as they are there."""
    cases = () if folder.look_alikes.is_file() else _own_cases(folder)
    if cases:
        remember_looks(folder.look_alikes, cases, compare_cases(cases, track=track))


def _own_cases(folder: RunFolder) -> tuple[Case, ...]:
    """Return the cases of the run's own data, () where these are gone."""
    if not folder.about.is_file():
        return ()
    options = DataOptions.from_dict(read_about(folder))
    if not Path(options.path).exists():
        return ()
    # Which image is which counts here alone, whatever its group.
    return replace(options, group_from=None).open().cases


def _role_of(folder: RunFolder) -> Callable[[str], Role]:
    roles = read_split(folder.split)
    return lambda name: roles.get(name, "test")


def _rank(seen: SeenCase) -> tuple[bool, int, int]:
    """Order by what weighs most: a role of learning or choosing, the image, a copy, a group."""
    kinds: tuple[How, ...] = ("image", "copy", "group")
    learned = seen.role in TAUGHT
    return not learned, kinds.index(seen.how), _STRONGEST.index(seen.role)


def _shared_groups(mine: Fingerprint, theirs: Fingerprint) -> Iterator[tuple[CaseFacts, str]]:
    """Yield cases of the run with the id of a new one of the same group."""
    members: defaultdict[str, list[CaseFacts]] = defaultdict(list)
    for own in mine.cases:
        if own.group is not None:
            members[own.group].append(own)
    for case in theirs.cases:
        for own in members.get(case.group or "", ()):
            yield own, case.id


def _equal_facts(mine: Fingerprint, theirs: Fingerprint) -> Iterator[tuple[CaseFacts, str]]:
    """Yield cases whose images agree in all that earlier versions noted."""

    def facts(case: CaseFacts) -> tuple[object, ...]:
        return case.thumbnail_hash, case.shape, case.intensities

    known = {facts(own): own for own in mine.cases}
    for case in theirs.cases:
        own = known.get(facts(case))
        if own is not None:
            yield own, case.id
