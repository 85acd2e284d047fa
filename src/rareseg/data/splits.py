"""Split cases into roles and folds by group, stratified by what the cases hold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from rareseg.data.checks.fingerprint import Fingerprint
from rareseg.data.records import ROLES, Role
from rareseg.errors import DataError, UsageError

_ROUNDS = 8

R = TypeVar("R", bound=str)


@dataclass(frozen=True)
class SplitCase:
    """What the split needs to know of one case: its group, and the class indices that it holds."""

    id: str
    group: str
    holds: frozenset[int]


def make_split(
    fingerprint: Fingerprint,
    *,
    shares: Mapping[Role, float],
    seed: int,
    declared: Mapping[str, Role] | None = None,
) -> dict[str, Role]:
    """Give every case a role; a group is never divided.

    ``shares`` are the shares of the cases, and sum to 1. Each role gets positives of every class
    wherever there are as many groups with that class as roles, and its share of them and of the
    empty cases as closely as whole groups allow. The same seed gives the same split.

    Roles that are ``declared`` stand (``None``: those of the fingerprint; ``{}``: none). Where they
    cover everything but a wanted role is missing among them, that role's share is taken from the
    cases declared as train.

    Raises :class:`UsageError` for impossible shares, and :class:`DataError` where there are fewer
    groups (or fewer groups with a positive) than roles, or a group was declared in two roles.
    """
    if declared is None:
        declared = {case.id: case.role for case in fingerprint.cases if case.role is not None}
    return split_cases(facts_of(fingerprint), shares=shares, seed=seed, declared=declared)


def make_folds(
    fingerprint: Fingerprint, *, count: int, seed: int, ids: Collection[str]
) -> dict[str, int]:
    """Give each of the cases ``ids`` one of ``count`` folds, numbered from 0.

    A group is never divided, and every class and the empty cases are spread as evenly as whole
    groups allow. The same seed gives the same folds. Raises :class:`UsageError` for fewer than two
    folds, :class:`DataError` where there are fewer groups, or groups with a positive, than folds.
    """
    if count < 2:
        raise UsageError(f"{count} folds cannot be trained against each other; give 2 or more.")
    members: dict[str, list[SplitCase]] = defaultdict(list)
    for fact in facts_of(fingerprint):
        if fact.id in ids:
            members[fact.group].append(fact)
    names = [f"fold {k + 1}" for k in range(count)]
    shares = dict.fromkeys(names, 1.0 / count)
    folds = _assign(members, {}, shares, seed)
    return {
        fact.id: names.index(folds[group]) for group, facts in members.items() for fact in facts
    }


def facts_of(fingerprint: Fingerprint) -> list[SplitCase]:
    """Return what a split needs to know of every case."""
    return [
        SplitCase(
            id=case.id,
            group=f"case {case.id}" if case.group is None else f"group {case.group}",
            holds=frozenset(k for k, count in enumerate(case.voxels) if k > 0 and count > 0),
        )
        for case in fingerprint.cases
    ]


def split_cases(
    facts: Sequence[SplitCase],
    *,
    shares: Mapping[Role, float],
    seed: int,
    declared: Mapping[str, Role],
) -> dict[str, Role]:
    """Split as :func:`make_split`, from the facts alone."""
    wanted = _checked(shares)
    members: dict[str, list[SplitCase]] = defaultdict(list)
    for fact in facts:
        members[fact.group].append(fact)
    fixed = _declared_groups(members, declared)
    free = [group for group in members if group not in fixed]
    missing = [role for role in wanted if role not in fixed.values()]
    if fixed and not free and missing:
        free = [group for group, role in fixed.items() if role == "train"]
        fixed = {group: role for group, role in fixed.items() if role != "train"}
        # What was declared keeps its size; the rest is divided between train and what is missing.
        wanted = {role: wanted[role] for role in wanted if role == "train" or role in missing}
        whole = sum(wanted.values())
        wanted = {role: share / whole for role, share in wanted.items()}
        free_roles = _assign({group: members[group] for group in free}, {}, wanted, seed)
    else:
        free_roles = _assign(members, fixed, wanted, seed) if free else {}
    roles = {**fixed, **free_roles}
    return {fact.id: roles[fact.group] for fact in facts}


def _checked(shares: Mapping[Role, float]) -> dict[Role, float]:
    """Return the roles with a share, in the order of the roles; refuse impossible shares."""
    unknown = [role for role in shares if role not in ROLES]
    if unknown or min(shares.values(), default=-1.0) < 0 or abs(sum(shares.values()) - 1) > 1e-6:
        raise UsageError(
            f"The split {dict(shares)} is not possible; the roles are {', '.join(ROLES)}, and "
            "their shares must not be negative and must sum to 1."
        )
    return {role: shares[role] for role in ROLES if shares.get(role, 0.0) > 0}


def _declared_groups(
    members: Mapping[str, Sequence[SplitCase]], declared: Mapping[str, Role]
) -> dict[str, Role]:
    """Return the role of every group of which a case was declared."""
    fixed: dict[str, Role] = {}
    for group, cases in members.items():
        roles = {declared[case.id] for case in cases if case.id in declared}
        if len(roles) > 1:
            raise DataError(
                f"The {group} is declared in {' and '.join(sorted(roles))} at once, which leaks "
                "from one into the other; give all of its cases one role."
            )
        if roles:
            fixed[group] = roles.pop()
    return fixed


class _Ledger:
    """How many cases of each kind every role has and still wants, while groups are given out.

    ``counts`` (groups, kinds) is what :func:`_kinds` returns; ``wanted``, cases, and ``groups_of``,
    groups, are (roles, kinds); ``role`` (groups,) is −1 where none was given yet.
    """

    def __init__(self, counts: NDArray[np.int64], shares: Sequence[float]) -> None:
        self.counts = counts
        self.wanted = np.outer(shares, counts.sum(axis=0)).astype(np.float64)
        self.groups_of = np.zeros((len(shares), counts.shape[1]), np.int64)
        self.role = np.full(len(counts), -1)

    def give(self, group: int, role: int) -> None:
        """Give a group to a role."""
        self.role[group] = role
        self.wanted[role] -= self.counts[group]
        self.groups_of[role] += self.counts[group] > 0

    def distance(self) -> float:
        """Return how far the roles are from what they want, each kind relative to its total."""
        return float((np.abs(self.wanted) / np.maximum(self.counts.sum(axis=0), 1)).sum())

    def left(self, kind: int) -> NDArray[np.intp]:
        """Return the groups that hold a kind and have no role yet."""
        return np.flatnonzero((self.role < 0) & (self.counts[:, kind] > 0))


def _assign(
    members: Mapping[str, Sequence[SplitCase]],
    fixed: Mapping[str, R],
    shares: Mapping[R, float],
    seed: int,
) -> dict[str, R]:
    """Give the groups that are not fixed a role: the best of a few greedy rounds.

    The best leaves the fewest roles without a kind of case, then wants least.
    """
    names, roles = sorted(members), list(shares)
    counts = _kinds([members[name] for name in names])
    # A role that no share was asked for keeps its groups, outside of the count.
    given = [roles.index(fixed[n]) if fixed.get(n) in roles else len(roles) for n in names]
    given = [role if name in fixed else -1 for name, role in zip(names, given, strict=True)]
    rounds = [
        _stratify(counts, list(shares.values()), given, rng, roles)
        for rng in np.random.default_rng(seed).spawn(_ROUNDS)
    ]
    best = min(rounds, key=lambda ledger: ((ledger.groups_of == 0).sum(), ledger.distance()))
    return {name: roles[best.role[i]] for i, name in enumerate(names) if name not in fixed}


def _stratify(
    counts: NDArray[np.int64],
    shares: Sequence[float],
    given: Sequence[int],
    rng: np.random.Generator,
    roles: Sequence[str],
) -> _Ledger:
    """Give every group a role, the rarest kind of case first.

    Source: Sechidis, Tsoumakas, Vlahavas 2011, On the stratification of multi-label data,
    algorithm 1, with groups in place of examples, after a first round that gives every role one
    group of each kind.
    """
    ledger = _Ledger(counts, shares)
    for group, role in enumerate(given):
        if 0 <= role < len(shares):
            ledger.give(group, role)
        else:
            ledger.role[group] = role
    _check_enough(ledger, roles)
    kinds = range(counts.shape[1])
    left = [len(ledger.left(kind)) for kind in kinds]
    lacking = (ledger.groups_of == 0).sum(axis=0)
    # Kinds of which there is enough for all come first: those that cannot be everywhere anyway
    # must not use up the groups with which others can.
    for kind in sorted(kinds, key=lambda kind: (left[kind] < lacking[kind], left[kind])):
        _one_each(ledger, kind, rng)
    for kind in sorted(kinds, key=lambda kind: left[kind]):
        groups = rng.permutation(ledger.left(kind))
        for group in groups[np.argsort(-counts[groups, kind], kind="stable")]:
            # The role that still wants most of this kind; where equal, most of all cases.
            ledger.give(group, int(np.lexsort((ledger.wanted[:, -1], ledger.wanted[:, kind]))[-1]))
    return ledger


def _one_each(ledger: _Ledger, kind: int, rng: np.random.Generator) -> None:
    """Give every role that has no group of a kind one, the role of the largest share first.

    A random one of those that are no larger than what the role still wants, else the smallest.
    """
    lacking = np.flatnonzero(ledger.groups_of[:, kind] == 0)
    for role in lacking[np.argsort(-ledger.wanted[lacking, kind], kind="stable")]:
        groups = rng.permutation(ledger.left(kind))
        if not len(groups):
            return
        size = ledger.counts[groups, kind]
        fitting = groups[size <= max(1.0, ledger.wanted[role, kind])]
        ledger.give(fitting[0] if len(fitting) else groups[size.argmin()], int(role))


def _kinds(groups: Iterable[Sequence[SplitCase]]) -> NDArray[np.int64]:
    """Count each group's cases of every kind, (groups, kinds).

    The kinds are: holds class k, for each class; holds any; holds nothing; all cases.
    """
    groups = list(groups)
    classes = sorted({k for cases in groups for case in cases for k in case.holds})
    return np.array(
        [
            [
                *(sum(k in case.holds for case in cases) for k in classes),
                sum(bool(case.holds) for case in cases),
                sum(not case.holds for case in cases),
                len(cases),
            ]
            for cases in groups
        ],
        np.int64,
    )


def _check_enough(ledger: _Ledger, roles: Sequence[str]) -> None:
    """Refuse a split in which a role must stay without any group, or without any positive."""
    counts = ledger.counts
    positive = counts[:, -3] > 0
    for what, eligible in (("groups", np.ones(len(counts), bool)), ("positive groups", positive)):
        empty = [role for i, role in enumerate(roles) if not (eligible & (ledger.role == i)).any()]
        there = int((eligible & (ledger.role < 0)).sum())
        if there < len(empty):
            raise DataError(
                f"There are {there} {what} to divide while the roles {', '.join(empty)} need at "
                "least one each; add cases, ask for fewer roles, or set a role's share to 0 "
                "(split.certify=0)."
            )
