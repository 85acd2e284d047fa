"""Open data that the user names beside a run's own, without cases that the model has seen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from rareseg.data.checks.copies_between import copies_between
from rareseg.data.checks.fingerprint import Fingerprint, inspect_dataset
from rareseg.data.checks.problems import other_than
from rareseg.data.identity import content_hash, is_content
from rareseg.data.look_alikes import united_copies
from rareseg.data.records import Dataset
from rareseg.errors import DataError, ProblemsError
from rareseg.evaluation.statistics.intervals import count_groups
from rareseg.progress import Track
from rareseg.report.wording.numbers import count
from rareseg.run.scores.score_source import CertifyCases, JudgedCases
from rareseg.run.setup.known_cases import (
    digest_of_images,
    find_seen,
    image_digests,
    seen_in_words,
)
from rareseg.run.setup.run_folder import (
    DataOptions,
    RunFolder,
    read_about,
    read_certified,
    read_evaluated,
    read_split,
)
from rareseg.run.setup.shared_cases import shared_cases

_EVALUATED = "an evaluation has shown before how the model does on these cases"
_SPENT = "{} of these images were used for another guarantee before"


@dataclass(frozen=True)
class NamedData:
    """Data that the user names in place of the run's own, and how they were opened."""

    options: DataOptions
    dataset: Dataset


def is_own(folder: RunFolder, named: NamedData, data: str) -> bool:
    """Tell whether data are those that the model was made from; a copy of them is."""
    same_path = str(Path(named.options.path).resolve()) == read_about(folder)["path"]
    return same_path or is_content(named.dataset, data)


def without_seen(folder: RunFolder, judged: JudgedCases, *, include_seen: bool) -> JudgedCases:
    """Leave cases out whose images the model has seen; with ``include_seen`` say that they count.

    Raises DataError where none would be left.
    """
    seen = find_seen(folder, judged.cases)
    if not seen:
        return judged
    known = (
        f"{len(seen)} of {count(len(judged.cases), 'case')} hold images that the model has "
        f"seen in training ({seen_in_words(seen)})"
    )
    roles = {case.id: case.role for case in seen}
    if include_seen:
        title = f"{judged.title}, {len(seen)} of {len(judged.cases)} seen in training"
        remark = f"{known}: what is shown is no measure of new images (--include-seen)."
        return replace(judged, title=title, seen=roles, remark=remark)
    if len(seen) == len(judged.cases):
        raise DataError(
            f"{known}; name new images, or say --include-seen to score them all the same."
        )
    new = tuple(case for case in judged.cases if case.id not in roles)
    facts = tuple(fact for fact in judged.fingerprint.cases if fact.id not in roles)
    remark = f"{known} and are left out; --include-seen scores them too."
    fingerprint = replace(judged.fingerprint, cases=facts)
    return replace(judged, cases=new, fingerprint=fingerprint, remark=remark)


def new_certify_cases(folder: RunFolder, named: NamedData, data: str, track: Track) -> CertifyCases:
    """Return new cases, copies of one image in one group, and whether they are unspent.

    ``data`` is the hash of what the model was made from. Raises DataError where the model has seen
    any of them.
    """
    dataset = named.dataset
    united = _refuse_seen(folder, named, data, track)
    cases = tuple(replace(case, group=united.get(case.id, case.group)) for case in dataset.cases)
    images = image_digests(cases)
    digest = digest_of_images(images)
    evaluated, certified = set(read_evaluated(folder)), read_certified(folder)
    shown = evaluated & {*images.values(), content_hash(dataset)}
    spent = [own for own in images.values() if certified.get(own, digest) != digest]
    why = _EVALUATED if shown else _SPENT.format(len(spent)) if spent else ""
    grouping = f"{dataset.root}: {named.options.grouping(replace(dataset, cases=cases))}"
    if united:
        before = count_groups([case.group for case in dataset.cases])
        grouping += (
            f"; {count(before, 'group')} before {count(len(united), 'case')} that are copies "
            "of others were put together"
        )
    return CertifyCases(cases, "certify", digest, not why, why, grouping)


def _refuse_seen(folder: RunFolder, named: NamedData, data: str, track: Track) -> dict[str, str]:
    """Raise where the model was made from any of the cases, or where they cannot be read.

    Return the group of those that are copies of one image, which count as one.
    """
    path = named.options.path
    if is_own(folder, named, data):
        raise DataError(
            f"{path} is what the model was trained on; name cases that it has not "
            "seen, or train with --set split.certify=0.2 and leave --certify-on out."
        )
    fingerprint = inspect_dataset(named.dataset, track=track)
    # Images known to be empty serve for the false-alarm guarantee.
    problems = other_than(fingerprint.problems, {"no positive case"})
    if problems:
        raise ProblemsError(problems)
    roles = read_split(folder.split)
    known = Fingerprint.from_json(folder.fingerprint)
    for mine, theirs in shared_cases(known, fingerprint):
        role = roles.get(mine.id)
        if role in ("train", "validation"):
            together = mine.group is not None and mine.group == theirs.group
            what = f"of the same group ('{mine.group}') as" if together else "the same image as"
            raise DataError(
                f"Case '{theirs.id}' of {path} is {what} the run's "
                f"{role} case '{mine.id}'; cases that certify must be new to the model, so "
                "leave it out."
            )
    # Images are compared here, whatever their groups.
    own = replace(DataOptions.from_dict(read_about(folder)), group_from=None).open()
    learned = [case for case in own.cases if roles.get(case.id) in ("train", "validation")]
    for mine_id, copy in copies_between(learned, named.dataset.cases, track=track):
        raise DataError(
            f"Case '{copy}' of {path} looks like a copy of the run's {roles[mine_id]} case "
            f"'{mine_id}'; cases that certify must be new to the model, so leave it out."
        )
    return united_copies(named.dataset.cases, fingerprint.look_alikes)
