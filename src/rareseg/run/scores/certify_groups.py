"""Bring the cases that stand for a guarantee into groups of different images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from rareseg.data.checks.fingerprint import Fingerprint
from rareseg.data.identity import identify
from rareseg.data.look_alikes import IDENTICAL, LookAlike, united_copies, united_look_alikes
from rareseg.data.records import Case, Role
from rareseg.errors import DataError
from rareseg.evaluation.statistics.intervals import count_groups
from rareseg.evaluation.tables.component_table import ComponentTable
from rareseg.evaluation.tables.score_table import ScoreTable
from rareseg.report.wording.numbers import count
from rareseg.run.scores.score_source import CertifyCases, Tables


def group_certify_cases(
    certify_set: CertifyCases, cases: Sequence[Case], known: Fingerprint
) -> CertifyCases:
    """Return the cases with copies of one image in one group, as inspection found them.

    ``cases`` are all of the data that ``known`` was found in: two cases may be copies of a third.
    Mere look-alikes stay apart; ``alike`` holds their groups as they would be together.
    ``grouping`` says what was put together, as the end of a sentence.
    """
    own, pairs = certify_set.cases, _pairs(cases, known)
    united, alike = united_copies(cases, pairs), united_look_alikes(cases, pairs)
    given = count_groups([case.group for case in own])
    grouped = tuple(replace(case, group=united.get(case.id, case.group)) for case in own)
    n_groups = count_groups([case.group for case in grouped])
    copies = [case for case in own if case.id in united] if n_groups < given else []
    said = certify_set.grouping
    if copies:
        said += (
            f"; {count(given, 'group')} before {count(len(copies), 'case')} that are copies of "
            "others were put together"
        )
    together = count_groups([alike.get(case.id, case.group) for case in grouped])
    if together < n_groups:
        said += (
            f"; {count(together, 'group')} if those that look alike, as different things of one "
            "kind do, were one"
        )
    else:
        alike = {}
    names = {case.id for case in own}
    alike = {name: group for name, group in alike.items() if name in names}
    return replace(certify_set, cases=grouped, alike=alike, grouping=said)


def leave_out_copies(
    certify_set: CertifyCases,
    roles: Mapping[str, Role],
    cases: Sequence[Case],
    known: Fingerprint,
    learned: Sequence[Role] = ("train", "validation"),
) -> CertifyCases:
    """Leave out the cases, with their groups, whose images are copies of some of other roles.

    ``roles`` are those of ``cases``, the data that ``known`` was found in; ``learned`` the roles
    that were used for the scores or the points. ``grouping`` says how many. Raises DataError where
    none is left.
    """
    names = {case.id for case in certify_set.cases}
    group_of = {case.id: case.group for case in cases}
    copied: dict[str, str] = {}
    for pair in _pairs(cases, known):
        for mine, other in ((pair.a, pair.b), (pair.b, pair.a)):
            if pair.copy and mine in names and roles.get(other) in learned:
                copied.setdefault(mine, other)
    if not copied:
        return certify_set
    groups = {group_of[name] for name in copied} - {None}
    kept = tuple(
        case for case in certify_set.cases if case.id not in copied and case.group not in groups
    )
    name, other = next(iter(copied.items()))
    said = (
        f"{len(copied)} of {count(len(names), 'certify case')} look like copies of cases that "
        f"were used ('{name}' of the {roles[other]} case '{other}')"
    )
    if not kept:
        raise DataError(
            f"{said}, and no other is left; name cases that are new, or group copies (`rareseg "
            "audit --write-manifest`) and split again."
        )
    left = len(names) - len(kept)
    return replace(
        certify_set,
        cases=kept,
        grouping=f"{certify_set.grouping}{said}; {left} left out with their groups, "
        f"{count(len(kept), 'case')} stay",
    )


def _pairs(cases: Sequence[Case], known: Fingerprint) -> list[LookAlike]:
    """Return the look-alikes, and images that have nothing to compare: equal bytes, one grey.

    Images that show one value everywhere are one image, whatever that value is.
    """
    flat = {
        fact.id: fact.shape
        for fact in known.cases
        if all(channel.std == 0.0 for channel in fact.intensities)
    }
    same: defaultdict[tuple[object, ...], list[str]] = defaultdict(list)
    for name, identity in identify(cases).items():
        if identity.image:
            same["bytes", identity.image].append(name)
            if name in flat:
                same["flat", flat[name]].append(name)
    extra = [
        LookAlike(names[0], name, 1.0, IDENTICAL, copy=True, placement=None)
        for names in same.values()
        for name in names[1:]
    ]
    return [*known.look_alikes, *extra]


def rows_of(tables: Tables, cases: Sequence[Case]) -> Tables:
    """Return the rows of these cases alone, in the groups that the cases have."""
    groups = {case.id: case.group for case in cases}
    scores, components = tables
    return (
        ScoreTable(
            tuple(
                replace(row, group=groups[row.case_id])
                for row in scores.rows
                if row.case_id in groups
            )
        ),
        ComponentTable(
            tuple(
                replace(row, group=groups[row.case_id])
                for row in components.rows
                if row.case_id in groups
            ),
            components.grid,
        ),
    )
