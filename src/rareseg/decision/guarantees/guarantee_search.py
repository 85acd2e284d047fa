"""Search the operating point furthest along a path at which a guarantee holds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rareseg.decision.guarantees.group_losses import (
    GroupLosses,
    Path,
    Row,
    Table,
    is_eligible,
    losses_along,
)
from rareseg.decision.guarantees.guarantee import (
    Certificate,
    EstimatedGuarantee,
    Guarantee,
    Statement,
    percent,
)
from rareseg.decision.guarantees.point_path import path_to, validation_terms
from rareseg.decision.guarantees.risk_control import (
    best_alpha,
    control_expectation,
    control_with_confidence,
    needed_groups,
)
from rareseg.decision.operating_point import Infeasible, OperatingPoint
from rareseg.errors import UsageError
from rareseg.evaluation.statistics.intervals import count_groups
from rareseg.evaluation.statistics.undefined import Undefined
from rareseg_runner.decision.image_score import require_one_kind


@dataclass(frozen=True)
class CertifySet:
    """The cases that are to stand for a guarantee.

    ``table`` holds their scores, or their components where the guarantee needs them. ``unseen``
    says that nothing else has seen them and that the final function scored them, which makes a
    certificate; otherwise ``why_estimate`` says what they were used for. ``role`` names them,
    ``digest`` tells them from others, ``arithmetic`` is what scored them. ``alike`` leads from
    cases that look alike to the group that they would be together. ``unlabelled`` groups were drawn
    to stand for it and came back without a label: each counts as one with a loss of 1.
    """

    table: Table
    role: str
    digest: str
    arithmetic: Mapping[str, Any]
    unseen: bool
    why_estimate: str = "the cases were used for the choice"
    alike: Mapping[str, str] = field(default_factory=dict)
    unlabelled: int = 0


@dataclass(frozen=True)
class GuaranteedPoint:
    """An operating point, and what it guarantees."""

    point: OperatingPoint
    statement: Statement


def keep_guarantee(
    guarantee: Guarantee, point: OperatingPoint, *, validation: Table, certify_set: CertifySet
) -> GuaranteedPoint | Infeasible:
    """Return the point that a guarantee holds for, nearest to one chosen on validation cases.

    ``point`` itself is kept where the guarantee holds there. Else the answer lies on the path that
    the validation rows of its region fix
    (:func:`~rareseg.decision.guarantees.group_losses.path_to`), as far out as the certify cases let
    it. Infeasible, never another threshold, where not even the safest point of the path will do, or
    where only a point that finds nothing will. ``validation`` and the certify cases' table are of
    one kind, component tables where
    :func:`~rareseg.decision.guarantees.group_losses.needs_components` says so. Raises UsageError
    where they are not, or where the region is not in a table, and ScoreError where only the images
    of one of them have a presence.
    """
    region = point.region
    own, theirs = validation.select(region=region), certify_set.table.select(region=region)
    require_one_kind(
        (row.presence for row in (*own.rows, *theirs.rows)),
        f"Region '{region}' of the validation and the {certify_set.role} cases",
    )
    path = path_to(point, own, guarantee)
    found = losses_along(theirs.rows, path, guarantee).with_lost(certify_set.unlabelled)
    own_confidence = guarantee.own_confidence
    if own_confidence is None:
        reach = control_expectation(found.losses, alpha=guarantee.alpha)
    else:
        reach = control_with_confidence(
            found.losses,
            alpha=guarantee.alpha,
            confidence=own_confidence,
            binary=guarantee.binary,
        )
    if reach == 0:
        return _refusal(guarantee, region, found)
    index = path.best(reach)
    guaranteed = _moved(point, path, index, guarantee, validation)
    if guaranteed.mean_dice == 0.0:
        return Infeasible(
            region,
            f"{_describe(guarantee)} holds only where next to nothing is on: at that point no "
            "positive validation case is found; ask for less, or train a better model",
        )
    kind = Certificate if certify_set.unseen else EstimatedGuarantee
    statement = kind(
        region=region,
        guarantee=guarantee,
        threshold=guaranteed.threshold,
        gate=guaranteed.gate,
        smallest_component=guaranteed.smallest_component,
        value=float(found.losses[:, index].mean()),
        n_groups=found.n_groups,
        n_cases=found.n_cases,
        role=certify_set.role,
        method=_method(guarantee, certify_set),
        cases=certify_set.digest,
        arithmetic=dict(certify_set.arithmetic),
        assumes_independent_images=found.assumes_independent_images,
        n_groups_alike=_groups_alike(theirs.rows, certify_set, guarantee, found.n_groups),
    )
    return GuaranteedPoint(guaranteed, statement)


def _groups_alike(
    rows: Sequence[Row], certify_set: CertifySet, guarantee: Guarantee, n_groups: int
) -> int | None:
    """Return how many groups there would be with look-alikes in one; None where as many."""
    alike = certify_set.alike
    groups = [alike.get(row.case_id, row.group) for row in rows if is_eligible(row, guarantee)]
    together = count_groups(groups) + certify_set.unlabelled
    return together if together < n_groups else None


def refuse_count(guarantee: Guarantee, region: str, n_groups: int) -> Infeasible | None:
    """Return the refusal where ``n_groups`` without any loss would be too few, or None.

    No score is looked at: an answer of too few uses no case up.
    """
    needed = needed_groups(
        guarantee.alpha, confidence=guarantee.own_confidence, binary=guarantee.binary
    )
    if needed is not None and n_groups >= needed:
        return None
    best = best_alpha(0.0, n_groups, confidence=guarantee.own_confidence, binary=guarantee.binary)
    return Infeasible(
        region,
        f"{_describe(guarantee)} needs at least {_count(needed)} groups with {guarantee.eligible}, "
        f"and there {_are(n_groups)}; {_best(best, n_groups)}",
        needed,
        best,
    )


def _refusal(guarantee: Guarantee, region: str, found: GroupLosses) -> Infeasible:
    """Return why not even the safest point of the path will do."""
    few = refuse_count(guarantee, region, found.n_groups)
    if few is not None:
        return few
    floor = float(found.losses[:, 0].mean())
    needed = needed_groups(
        guarantee.alpha,
        confidence=guarantee.own_confidence,
        mean_loss=floor,
        binary=guarantee.binary,
    )
    best = best_alpha(
        floor, found.n_groups, confidence=guarantee.own_confidence, binary=guarantee.binary
    )
    remedy = (
        f"with a loss like this it needs about {needed} groups"
        if needed is not None
        else "more groups would not help, a better model or another gate would"
    )
    return Infeasible(
        region,
        f"{_describe(guarantee)} does not hold at the safest point either: the mean loss over "
        f"{found.n_groups} groups with {guarantee.eligible} is {percent(floor)} there; {remedy}; "
        f"{_best(best, found.n_groups)}",
        needed,
        best,
    )


def _moved(
    point: OperatingPoint, path: Path, index: int, guarantee: Guarantee, validation: Table
) -> OperatingPoint:
    """Return the operating point of a place on the path, with what validation cases say of it."""
    cut = (path.threshold(index), float(path.gates[index]), path.smallest_component)
    if cut == (point.threshold, point.gate, point.smallest_component):
        return point
    dice, clean, _ = validation_terms(validation.select(region=point.region), path)
    return replace(
        point,
        threshold=cut[0],
        gate=cut[1],
        smallest_component=cut[2],
        objective=f"{point.objective}, then {_describe(guarantee)}",
        value=Undefined("moved away from the best point to keep a guarantee"),
        mean_dice=Undefined("no positive validation case") if dice is None else float(dice[index]),
        share_clean=Undefined("no negative validation case")
        if clean is None
        else float(clean[index]),
        plateau=None,
        edge_of_grid=index == 0,
        evidence=None,
    )


def _method(guarantee: Guarantee, certify_set: CertifySet) -> str:
    """Return which sum it is, and what keeps it from being a certificate."""
    if guarantee.confidence is None:
        method = "conformal risk control"
    elif guarantee.binary:
        method = "Learn then Test, binomial tail, fixed sequence from validation cases"
    else:
        method = "Learn then Test, Hoeffding–Bentkus, fixed sequence from validation cases"
    if certify_set.unlabelled:
        method += f", {certify_set.unlabelled} groups without a label counted as errors"
    return method if certify_set.unseen else f"{method}; no certificate: {certify_set.why_estimate}"


def _describe(guarantee: Guarantee) -> str:
    """Return the guarantee in short: "false alarm rate ≤ 5 % at 95 % confidence"."""
    short = f"{guarantee.kind} ≤ {percent(guarantee.alpha)}"
    if guarantee.level != "voxel" and guarantee.kind != "false alarm rate":
        short = f"{guarantee.level} {short}"
    if guarantee.confidence is None:
        return f"{short} in expectation"
    joint = "" if guarantee.together == 1 else f", {guarantee.together} regions together"
    return f"{short} at {percent(guarantee.confidence)} confidence{joint}"


def _best(best: float, n_groups: int) -> str:
    """Return what so many groups could have stood for, rounded up."""
    if n_groups == 0 or best >= 1.0:
        return "they can guarantee nothing"
    return f"the best that {n_groups} can guarantee is {percent(math.ceil(best * 1000) / 1000)}"


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
