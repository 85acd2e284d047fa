"""Find the boldest operating point that a promise holds for, or say why there is none."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from rareseg.decision.guarantees.group_losses import GroupLosses, Path, Table, losses_along
from rareseg.decision.guarantees.guarantee import Certificate, Estimate, Promise, Statement, percent
from rareseg.decision.guarantees.point_path import path_to, select_terms
from rareseg.decision.guarantees.risk_control import (
    best_alpha,
    control_expectation,
    control_with_confidence,
    needed_groups,
)
from rareseg.decision.operating_point import Infeasible, OperatingPoint
from rareseg.errors import UsageError
from rareseg.evaluation.statistics.undefined import Undefined
from rareseg.evaluation.tables.image_score import require_one_kind


@dataclass(frozen=True)
class CertifySet:
    """The cases that are to stand for a promise.

    ``table`` holds their scores, or their components where the promise needs them. ``unseen`` says
    that nothing else has seen them and that the final function scored them, which makes a
    certificate; otherwise ``why_estimate`` says what they were used for. ``role`` names them,
    ``digest`` tells them from others, ``arithmetic`` is what scored them.
    """

    table: Table
    role: str
    digest: str
    arithmetic: Mapping[str, Any]
    unseen: bool
    why_estimate: str = "the cases had a say in the choice"


@dataclass(frozen=True)
class Kept:
    """An operating point, and what it promises."""

    point: OperatingPoint
    statement: Statement


def keep_promise(
    promise: Promise, point: OperatingPoint, *, select: Table, certify_set: CertifySet
) -> Kept | Infeasible:
    """Return the point that a promise holds for, as near as can be to one chosen on select cases.

    ``point`` itself is kept where the promise holds there. Else the answer lies on the path that
    the select rows of its region fix (:func:`~rareseg.decision.guarantees.group_losses.path_to`),
    as far out as the witnesses let it. Infeasible, never another threshold, where not even the
    safest point of the path will do, or where only a point that finds nothing will. ``select`` and
    the witnesses' table are of one kind, component tables where
    :func:`~rareseg.decision.guarantees.group_losses.needs_components` says so. Raises UsageError
    where they are not, or where the region is not in a table, and ScoreError where only the images
    of one of them have a presence.
    """
    region = point.region
    own, theirs = select.select(region=region), certify_set.table.select(region=region)
    require_one_kind(
        (row.presence for row in (*own.rows, *theirs.rows)),
        f"Region '{region}' of the select and the {certify_set.role} cases",
    )
    path = path_to(point, own, promise)
    found = losses_along(theirs.rows, path, promise)
    own_confidence = promise.own_confidence
    if own_confidence is None:
        reach = control_expectation(found.losses, alpha=promise.alpha)
    else:
        reach = control_with_confidence(
            found.losses,
            alpha=promise.alpha,
            confidence=own_confidence,
            binary=promise.binary,
        )
    if reach == 0:
        return _refusal(promise, region, found)
    index = path.best(reach)
    promised = _moved(point, path, index, promise, select)
    if promised.mean_dice == 0.0:
        return Infeasible(
            region,
            f"{_asked(promise)} holds only where next to nothing is on: at that point no positive "
            "select case is found; ask for less, or train a better model",
        )
    kind = Certificate if certify_set.unseen else Estimate
    statement = kind(
        region=region,
        promise=promise,
        threshold=promised.threshold,
        gate=promised.gate,
        smallest_component=promised.smallest_component,
        value=float(found.losses[:, index].mean()),
        n_groups=found.n_groups,
        n_cases=found.n_cases,
        role=certify_set.role,
        method=_method(promise, certify_set),
        cases=certify_set.digest,
        arithmetic=dict(certify_set.arithmetic),
        assumes_independent_images=found.assumes_independent_images,
    )
    return Kept(promised, statement)


def refuse_count(promise: Promise, region: str, n_groups: int) -> Infeasible | None:
    """Return the refusal where ``n_groups`` without any loss would be too few, or None.

    No score is looked at: an answer of too few uses no case up.
    """
    needed = needed_groups(promise.alpha, confidence=promise.own_confidence, binary=promise.binary)
    if needed is not None and n_groups >= needed:
        return None
    best = best_alpha(0.0, n_groups, confidence=promise.own_confidence, binary=promise.binary)
    return Infeasible(
        region,
        f"{_asked(promise)} needs at least {_count(needed)} groups with {promise.eligible}, and "
        f"there {_are(n_groups)}; {_best(best, n_groups)}",
        needed,
        best,
    )


def _refusal(promise: Promise, region: str, found: GroupLosses) -> Infeasible:
    """Return why not even the safest point of the path will do."""
    few = refuse_count(promise, region, found.n_groups)
    if few is not None:
        return few
    floor = float(found.losses[:, 0].mean())
    needed = needed_groups(
        promise.alpha, confidence=promise.own_confidence, mean_loss=floor, binary=promise.binary
    )
    best = best_alpha(
        floor, found.n_groups, confidence=promise.own_confidence, binary=promise.binary
    )
    remedy = (
        f"with a loss like this it needs about {needed} groups"
        if needed is not None
        else "more groups would not help, a better model or another gate would"
    )
    return Infeasible(
        region,
        f"{_asked(promise)} does not hold at the safest point either: the mean loss over "
        f"{found.n_groups} groups with {promise.eligible} is {percent(floor)} there; {remedy}; "
        f"{_best(best, found.n_groups)}",
        needed,
        best,
    )


def _moved(
    point: OperatingPoint, path: Path, index: int, promise: Promise, select: Table
) -> OperatingPoint:
    """Return the operating point of a place on the path, with what select cases say of it."""
    cut = (path.threshold(index), float(path.gates[index]), path.smallest_component)
    if cut == (point.threshold, point.gate, point.smallest_component):
        return point
    dice, clean, _ = select_terms(select.select(region=point.region), path)
    return replace(
        point,
        threshold=cut[0],
        gate=cut[1],
        smallest_component=cut[2],
        objective=f"{point.objective}, then {_asked(promise)}",
        value=Undefined("moved away from the best point to keep a promise"),
        mean_dice=Undefined("no positive select case") if dice is None else float(dice[index]),
        share_clean=Undefined("no negative select case") if clean is None else float(clean[index]),
        plateau=None,
        edge_of_grid=index == 0,
        evidence=None,
    )


def _method(promise: Promise, certify_set: CertifySet) -> str:
    """Return which sum it is, and what keeps it from being a certificate."""
    if promise.confidence is None:
        method = "conformal risk control"
    elif promise.binary:
        method = "Learn then Test, binomial tail, fixed sequence from select cases"
    else:
        method = "Learn then Test, Hoeffding–Bentkus, fixed sequence from select cases"
    return method if certify_set.unseen else f"{method}; no certificate: {certify_set.why_estimate}"


def _asked(promise: Promise) -> str:
    """Return the promise in short: "false alarm rate ≤ 5 % at 95 % confidence"."""
    short = f"{promise.kind} ≤ {percent(promise.alpha)}"
    if promise.level != "voxel" and promise.kind != "false alarm rate":
        short = f"{promise.level} {short}"
    if promise.confidence is None:
        return f"{short} in expectation"
    joint = "" if promise.together == 1 else f", {promise.together} regions together"
    return f"{short} at {percent(promise.confidence)} confidence{joint}"


def _best(best: float, n_groups: int) -> str:
    """Return what so many groups could have stood for, rounded up."""
    if n_groups == 0 or best >= 1.0:
        return "they can promise nothing"
    return f"the best that {n_groups} can promise is {percent(math.ceil(best * 1000) / 1000)}"


def _are(n: int) -> str:
    return "is 1" if n == 1 else f"are {n or 'none'}"


def _count(needed: int | None) -> str:
    return "more than a million" if needed is None else str(needed)


def check_arithmetic(statement: Statement, point: OperatingPoint, now: Mapping[str, Any]) -> str:
    """Return the statement in words, led by what voids it where anything does."""
    if point.region != statement.region:
        raise UsageError(
            f"The statement is about region '{statement.region}', the point about "
            f"'{point.region}'; give the point of the same region."
        )
    reason = statement.void_because(
        threshold=point.threshold,
        gate=point.gate,
        smallest_component=point.smallest_component,
        arithmetic=now,
    )
    return statement.sentence if reason is None else f"void ({reason}): {statement.sentence}"
