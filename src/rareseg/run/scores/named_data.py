"""Open data that the user names beside a run's own, without cases that the model has seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rareseg.data.checks.fingerprint import Fingerprint, inspect_dataset
from rareseg.data.checks.problems import other_than
from rareseg.data.identity import content_hash, identify, is_content
from rareseg.data.masks.renumbered import by_names_of
from rareseg.data.records import Case, Dataset, Role
from rareseg.errors import DataError, ProblemsError
from rareseg.progress import Track
from rareseg.report.wording.numbers import count
from rareseg.run.scores.certify_groups import group_certify_cases
from rareseg.run.scores.picked_groups import is_picked, picked_groups
from rareseg.run.scores.score_source import CertifyCases, JudgedCases
from rareseg.run.setup.known_cases import (
    LEARNED,
    digest_of_images,
    image_digests,
    read_known_cases,
)
from rareseg.run.setup.run_folder import DataOptions, RunFolder, read_about
from rareseg.run.setup.seen_images import (
    SeenCase,
    find_seen,
    remember_looks,
    seen_in_words,
)
from rareseg.run.setup.used_images import (
    note_certified,
    note_evaluated,
    read_certified,
    read_evaluated,
)
from rareseg_runner.image_records import Classes

_SEEN_HOW = {"image": "the image of", "copy": "a copy of", "group": "of the group of"}
_EVALUATED = "an evaluation has shown before how the model does on {} of these images"
_SPENT = "{} of these images were used for another guarantee before"
_UNTOLD = (
    "; copies of the images that the model was made from could not be looked for, since nothing "
    "notes what these look like and they are gone"
)


@dataclass(frozen=True)
class NamedData:
    """Data that the user names in place of the run's own, and how they were opened.

    ``unlabelled`` are groups that were drawn to be labelled, and were not: ``dataset`` is without
    them.
    """

    options: DataOptions
    dataset: Dataset
    unlabelled: tuple[str, ...] = ()

    @classmethod
    def open(cls, options: DataOptions, classes: Classes) -> NamedData:
        """Open data; of groups that were drawn to be labelled those whose labels came back.

        There an image without a mask holds nothing only where somebody said so.
        """
        if not is_picked(options.path):
            return cls(options, by_names_of(options.open(), classes))
        options = replace(options, missing_mask="error", group_from="")
        picked = picked_groups(Path(options.path), options.open())
        if not picked.dataset.cases:
            raise DataError(
                f"None of the {count(len(picked.unlabelled), 'group')} in {options.path} is "
                "labelled; write a mask, or the word empty, into the column mask of manifest.csv."
            )
        return cls(options, by_names_of(picked.dataset, classes), picked.unlabelled)


def is_own(folder: RunFolder, named: NamedData, data: str) -> bool:
    """Tell whether data are those that the model was made from; a copy of them is."""
    same_path = str(Path(named.options.path).resolve()) == read_about(folder)["path"]
    return same_path or is_content(named.dataset, data)


def without_seen(
    folder: RunFolder,
    judged: JudgedCases,
    *,
    include_seen: bool,
    groups: bool = False,
    if_all: Role | None = None,
    track: Track,
) -> JudgedCases:
    """Leave cases out that the model has seen; with ``include_seen`` say that they count.

    Seen are images that are the same or copies, with ``groups`` also cases of the same group. Where
    none would be left, all are judged in the role ``if_all``. Raises DataError where there is no
    such role, or where a mask is gone that the run knows.
    """
    remark = _other_masks(folder, judged.cases)
    found = find_seen(folder, judged.cases, judged.fingerprint, groups=groups, track=track)
    seen = [case for case in found.cases if case.role in LEARNED]
    untold = "" if found.copies_told else _UNTOLD
    if not seen:
        if untold:
            remark = f"{remark} No image is known by its bytes{untold}.".strip()
        return replace(judged, remark=remark)
    n_copies = sum(case.how == "copy" for case in seen)
    copied = f", {n_copies} of them as copies that look alike" if n_copies else ""
    what = "hold images, or are of groups," if groups else "hold images"
    known = (
        f"{len(seen)} of {count(len(judged.cases), 'case')} {what} that the model has "
        f"seen in training ({seen_in_words(seen)}{copied})"
    )
    roles = {case.id: case.role for case in seen}
    if include_seen:
        title = f"{judged.title}, {len(seen)} of {len(judged.cases)} seen in training"
        said = f"{known}: what is shown is no measure of new images (--include-seen){untold}."
        return replace(judged, title=title, seen=roles, remark=f"{remark} {said}".strip())
    if len(seen) == len(judged.cases) and if_all is not None:
        return replace(judged, role=if_all, remark=remark)
    if len(seen) == len(judged.cases):
        raise DataError(
            f"{known}; name new images, or say --include-seen to score them all the same."
        )
    new = tuple(case for case in judged.cases if case.id not in roles)
    facts = tuple(fact for fact in judged.fingerprint.cases if fact.id not in roles)
    said = (
        f"{known} and are left out (left_out.csv names them){untold}; --include-seen scores them "
        "too."
    )
    return replace(
        judged,
        cases=new,
        fingerprint=replace(judged.fingerprint, cases=facts),
        left_out={case.id: f"{_SEEN_HOW[case.how]} {case.known_as}" for case in seen},
        remark=f"{remark} {said}".strip(),
    )


def new_certify_cases(folder: RunFolder, named: NamedData, data: str, track: Track) -> CertifyCases:
    """Return new cases, copies of one image in one group, and whether they are unspent.

    ``data`` is the hash of what the model was made from. Raises DataError where the model was
    trained or chosen on any of them, where the run keeps any for its own guarantees, or where a
    mask is gone that the run knows; ProblemsError where they cannot be read.
    """
    dataset, path = named.dataset, named.options.path
    if is_own(folder, named, data):
        raise DataError(
            f"{path} is what the model was trained on; name cases that it has not "
            "seen, or train with --set split.certify=0.2 and leave --certify-on out."
        )
    fingerprint = inspect_dataset(dataset, track=track)
    # Images known to be empty serve for the false-alarm guarantee.
    problems = other_than(fingerprint.problems, {"no positive case"})
    if problems:
        raise ProblemsError(problems)
    _other_masks(folder, dataset.cases)
    found = find_seen(folder, dataset.cases, fingerprint, groups=True, track=track)
    if not found.copies_told:
        raise DataError(
            f"Nothing notes what the images look like that {folder.root} was made from, and they "
            f"are gone from {read_about(folder)['path']}: copies of them cannot be told, and "
            "would certify nothing; put them back."
        )
    _refuse_learned(path, len(dataset.cases), found.cases)
    images = image_digests(dataset.cases)
    digest = digest_of_images(images)
    certify_set = CertifyCases(dataset.cases, "certify", digest, True)
    certify_set = group_certify_cases(certify_set, dataset.cases, fingerprint)
    grouped = replace(dataset, cases=certify_set.cases)
    said = f"{dataset.root}: {named.options.grouping(grouped)}{certify_set.grouping}"
    if named.unlabelled:
        said += f"; {count(len(named.unlabelled), 'group')} without a label, each an error"
    why = _why_spent(folder, dataset, images, digest, found.cases)
    return replace(
        certify_set,
        independent=not why,
        why_estimate=why,
        grouping=said,
        compared=fingerprint.compared,
        unlabelled=named.unlabelled,
    )


def note_shown(folder: RunFolder, judged: JudgedCases) -> None:
    """Note that an evaluation has shown how the model does on these images."""
    note_evaluated(folder, image_digests(judged.cases).values())
    remember_looks(folder.later_look_alikes, judged.cases, judged.fingerprint.compared)


def note_certify_images(folder: RunFolder, certify_set: CertifyCases) -> None:
    """Note that these images were asked to stand for a guarantee."""
    note_certified(folder, image_digests(certify_set.cases).values(), certify_set.digest)
    remember_looks(folder.later_look_alikes, certify_set.cases, certify_set.compared)


def _refuse_learned(path: str, n_cases: int, seen: Sequence[SeenCase]) -> None:
    """Raise where the model was trained or chosen on any case, or the run keeps it to certify."""
    learned = [
        case
        for case in seen
        if case.role in ("train", "validation")
        or (case.role == "certify" and case.own_id and case.how != "group")
    ]
    if not learned:
        return
    first = learned[0]
    words = {
        "image": "is the same image as",
        "copy": "looks like a copy of",
        "group": f"is of the same group ('{first.group}') as",
    }
    others = f", and {len(learned) - 1} more of {n_cases} are known" if len(learned) > 1 else ""
    raise DataError(
        f"Case '{first.id}' of {path} {words[first.how]} the run's {first.known_as}{others}; cases "
        f"that certify must be new to the model, so leave {'it' if not others else 'them'} out."
    )


def _why_spent(
    folder: RunFolder,
    dataset: Dataset,
    images: Mapping[str, str],
    digest: str,
    seen: Sequence[SeenCase],
) -> str:
    """Return what the cases were used for before, "" where they are unspent."""
    evaluated, certified = set(read_evaluated(folder)), read_certified(folder)
    same = {case.id for case in seen if case.how == "image"}
    shown = {case.id for case in seen if case.role == "test" and case.how != "group"}
    shown |= {name for name, own in images.items() if own in evaluated}
    if content_hash(dataset) in evaluated:
        shown = set(images)
    if shown:
        return _EVALUATED.format(len(shown))
    spent = {name for name, own in images.items() if certified.get(own, digest) != digest}
    # A copy of a spent image is spent, unless the very images are asked for again.
    spent |= {case.id for case in seen if case.how == "copy" and case.id not in same}
    return _SPENT.format(len(spent)) if spent else ""


def _other_masks(folder: RunFolder, cases: Sequence[Case]) -> str:
    """Say how many of the run's own images have other masks now, "" for none.

    Raises DataError where one that holds anything has none: it would count as an empty image.
    """
    known = read_known_cases(folder)
    if known is None:
        return ""
    facts = Fingerprint.from_json(folder.fingerprint).cases
    positive = {fact.id for fact in facts if fact.is_positive}
    masks: dict[str, set[str]] = {}
    for name, own in known.cases.items():
        if own.image:
            # A mask that holds nothing and no mask say the same.
            drawn = {own.mask} if name in positive else {own.mask, ""}
            masks.setdefault(own.image, set()).update(drawn)
    gone: list[str] = []
    other: list[str] = []
    for name, identity in identify(cases).items():
        was = masks.get(identity.image)
        if was is not None and identity.mask not in was:
            (other if identity.mask else gone).append(name)
    if gone:
        more = f" and {len(gone) - 1} more" if len(gone) > 1 else ""
        raise DataError(
            f"The mask of case {gone[0]}{more} is gone: the image is one of {folder.root}, which "
            "was begun with its mask, and it would count as an image that holds nothing; put the "
            "mask back."
        )
    if not other:
        return ""
    return (
        f"{count(len(other), 'case')} ({', '.join(other[:3])}{', …' if other[3:] else ''}) "
        f"{'is an image' if len(other) == 1 else 'are images'} of the run with another mask than "
        "it was begun with."
    )
