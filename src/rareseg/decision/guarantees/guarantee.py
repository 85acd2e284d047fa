"""Records of a guarantee and its statement: a certificate or an estimate.

A :class:`Certificate` rests on cases that nothing else has seen, scored by the very function that
will be used. The same sum over validation or out-of-fold scores is an
:class:`EstimatedGuarantee`, and says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Literal, TypeVar, get_args

from rareseg.data.records import object_named, role_named
from rareseg.decision.operating_point.point import OperatingPoint
from rareseg.errors import ScoreError, UsageError, nearest
from rareseg.evaluation.statistics.intervals import INDEPENDENT_IMAGES
from rareseg.recipe.renamed_keys import current_level
from rareseg_runner.decision.component_size import Size, as_size

Kind = Literal["false negative rate", "false alarm rate", "false discovery proportion"]
KINDS: tuple[Kind, ...] = get_args(Kind)

Level = Literal["image", "object", "voxel"]
LEVELS: tuple[Level, ...] = get_args(Level)

CONFIDENCE = 0.95
"""With which a guarantee holds where nothing else is asked for."""

Within = Literal["mean", "any"]
"""How the cases of a group become its one loss."""

_DEFAULTS: Mapping[Kind, tuple[Level, Within]] = {
    "false negative rate": ("voxel", "mean"),
    "false alarm rate": ("image", "any"),
    "false discovery proportion": ("voxel", "mean"),
}

_WORDS: Mapping[tuple[Kind, Level], tuple[str, str]] = {
    ("false negative rate", "voxel"): ("share of its voxels that is missed", "positive images"),
    ("false negative rate", "object"): ("share of its objects that is missed", "positive images"),
    ("false negative rate", "image"): ("chance of being missed altogether", "positive images"),
    ("false alarm rate", "image"): ("chance of a false alarm", "negative images"),
    ("false alarm rate", "voxel"): ("share of voxels that is falsely on", "negative images"),
    ("false discovery proportion", "voxel"): (
        "share of what is on that is false (nothing on counts 0), at the prevalence of its cases,",
        "images",
    ),
    ("false discovery proportion", "object"): (
        "share of predicted components that touch no object (none counts 0), at the prevalence of "
        "its cases,",
        "images",
    ),
}
"""What the loss of one case is, and which cases have one."""


@dataclass(frozen=True)
class Guarantee:
    """A risk that stays at or below ``alpha`` for the next group.

    ``confidence`` None guarantees the expectation (conformal risk control); a number is the share
    of draws of the cases in which the guarantee holds (Learn then Test). ``together`` is how many
    guarantees are made on the same cases at once: with the confidence all of them hold, each by
    itself with 1 − (1 − confidence) / together (Bonferroni). Guarantees in expectation share
    nothing. ``within`` says what the loss of a group with several eligible cases is: their mean, or
    1 where any of them has a loss.
    """

    kind: Kind
    alpha: float
    level: Level
    confidence: float | None
    within: Within
    together: int = 1

    def __post_init__(self) -> None:
        if (self.kind, self.level) not in _WORDS:
            levels = [level for kind, level in _WORDS if kind == self.kind]
            raise UsageError(
                f"The {self.kind} is not bounded at the level '{self.level}'; allowed: "
                f"{', '.join(levels)}."
                if levels
                else f"A guarantee about '{self.kind}' is not known{nearest(self.kind, KINDS)}; "
                f"allowed: {', '.join(KINDS)}."
            )
        if not 0.0 < self.alpha < 1.0:
            raise UsageError(
                f"A {self.kind} of {self.alpha:g} cannot be guaranteed; give a bound between 0 "
                f"and 1."
            )
        if self.confidence is not None and not 0.0 < self.confidence < 1.0:
            raise UsageError(
                f"A confidence of {self.confidence:g} does not exist; give one between 0 and 1, "
                "such as 0.95."
            )
        if self.within == "any" and self.level != "image":
            raise UsageError(
                f"'any' is for image-level guarantees, not for the level '{self.level}'; use "
                f"'mean'."
            )
        if self.confidence is None and self.kind == "false discovery proportion":
            raise UsageError(
                "A false discovery proportion does not fall steadily with the threshold and can "
                "only be guaranteed with a confidence; add one, such as 0.95."
            )

    @property
    def own_confidence(self) -> float | None:
        """The confidence of this guarantee by itself; None in expectation."""
        if self.confidence is None:
            return None
        return 1.0 - (1.0 - self.confidence) / self.together

    @property
    def binary(self) -> bool:
        """Whether the loss of a group can only be 0 or 1, whatever the cases."""
        return self.within == "any"

    @property
    def monotone(self) -> bool:
        """Whether the loss of every group only grows along a path from safe to bold."""
        return self.kind != "false discovery proportion"

    def is_about(self, *, positive: bool) -> bool:
        """Tell whether the guarantee is about a case in which the region is present, or absent."""
        if self.kind == "false discovery proportion":
            return True
        return positive == (self.kind == "false negative rate")

    @property
    def eligible(self) -> str:
        """The cases that it is about: "positive images", "negative images" or "images"."""
        return _WORDS[self.kind, self.level][1]

    @property
    def sentence(self) -> str:
        """What is guaranteed, in words."""
        what, eligible = _WORDS[self.kind, self.level]
        of = f"any of a group's {eligible}" if self.within == "any" else f"a group's {eligible}"
        if self.confidence is None:
            return f"{what} in {of} is at most {percent(self.alpha)} in expectation"
        own = f"{what} in {of} is at most {percent(self.alpha)} on average over groups, with "
        if self.together == 1:
            return f"{own}{percent(self.confidence)} confidence"
        return (
            f"{own}{percent(self.confidence)} confidence together with all {self.together} "
            "guarantees that were made on these cases"
        )


def make_guarantee(
    kind: str,
    alpha: float,
    *,
    confidence: float | None = CONFIDENCE,
    level: str | None = None,
    within: str | None = None,
) -> Guarantee:
    """Return a guarantee, with the usual level and rule within groups where none is given.

    ``confidence`` None guarantees the expectation alone. Usual are the voxels missed in positive
    images (mean over the group), any alarm among a group's negative images, and the false share of
    the voxels that are on (mean). Raises UsageError for what does not exist or has no bound.
    """
    if kind not in KINDS:
        raise UsageError(
            f"A guarantee about '{kind}' is not known{nearest(kind, KINDS)}; allowed: "
            f"{', '.join(KINDS)}."
        )
    level = None if level is None else current_level(level)
    if level is not None and level not in LEVELS:
        raise UsageError(
            f"The level '{level}' is not known{nearest(level, LEVELS)}; allowed: "
            f"{', '.join(LEVELS)}."
        )
    usual_level, usual_within = _DEFAULTS[kind]
    chosen = usual_level if level is None else level
    if within is None:
        within = usual_within if chosen == usual_level else "mean"
    return Guarantee(kind, float(alpha), chosen, confidence, within)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Statement:
    """A guarantee with everything that it rests on; abstract, see its two kinds.

    ``threshold``, ``gate`` and ``smallest_component`` are the point that it speaks of, ``value``
    the mean loss over the ``n_groups`` groups there. ``role`` and ``method`` say which cases and
    which sum. ``cases`` is a digest of those cases. ``arithmetic`` is what scored them (weights,
    precision, tile, …): under another the statement is void. ``n_groups_alike`` is how many groups
    there would be if look-alikes, which count as different, were one; None where none look alike.
    """

    region: str
    guarantee: Guarantee
    threshold: float
    gate: float
    smallest_component: Size
    value: float
    n_groups: int
    n_cases: int
    role: str
    method: str
    cases: str
    arithmetic: Mapping[str, Any]
    assumes_independent_images: bool
    n_groups_alike: int | None = None

    word: ClassVar[str]

    @property
    def sentence(self) -> str:
        """The statement in words."""
        groups = "independent groups"
        if self.assumes_independent_images:
            groups = f"groups ({INDEPENDENT_IMAGES})"
        alike = ""
        if self.n_groups_alike is not None:
            alike = f" ({self.n_groups_alike} if look-alikes were one)"
        return (
            f"{self.word} for {self.region}: {self.guarantee.sentence}; "
            f"{self.n_groups} {groups} of {self.role} cases{alike}, observed "
            f"{percent(self.value)}; {self.method}"
        )

    def void_because(
        self,
        *,
        threshold: float,
        gate: float,
        smallest_component: Size,
        arithmetic: Mapping[str, Any],
    ) -> str | None:
        """Return why it does not hold for a point used with an arithmetic; None where it does."""
        point = (threshold, gate, smallest_component)
        if point != (self.threshold, self.gate, self.smallest_component):
            return "the operating point was changed afterwards"
        for name in sorted({*arithmetic, *self.arithmetic}):
            then, now = self.arithmetic.get(name), arithmetic.get(name)
            if then != now:
                if name == "weights":
                    return "it belongs to other weights"
                return f"{name} was {then} and is now {now}"
        return None

    def holds_for(self, point: OperatingPoint) -> bool:
        """Tell whether it is about the point as it is."""
        cut = (point.threshold, point.gate, point.smallest_component)
        return cut == (self.threshold, self.gate, self.smallest_component)

    def to_dict(self) -> dict[str, Any]:
        """Return the statement as plain JSON values."""
        return {
            "is": self.word,
            **asdict(self),
            "smallest_component": self.smallest_component.plain,
            "arithmetic": dict(self.arithmetic),
        }


class Certificate(Statement):
    """A guarantee that holds for the next group: its cases were seen by nothing else."""

    word = "certificate"


class EstimatedGuarantee(Statement):
    """The same sum over cases that were used before; what it guarantees may be kept, or not."""

    word = "estimate"


AnyStatement = TypeVar("AnyStatement", bound=Statement)


def statement_from_dict(record: Mapping[str, Any]) -> Statement:
    """Return what :meth:`Statement.to_dict` wrote.

    Earlier versions called the guarantee a promise. Raises ScoreError where a field is missing,
    unknown or not of its kind.
    """
    record = {("guarantee" if name == "promise" else name): record[name] for name in record}
    record.setdefault("n_groups_alike", None)  # earlier versions did not count it
    known = {"is", *(field.name for field in fields(Statement))}
    if set(record) != known:
        odd = ", ".join(sorted(set(record) ^ known))
        raise ScoreError(f"A statement lacks or has unknown fields: {odd}; certify again.")
    values = {name: value for name, value in record.items() if name != "is"}
    made = {"certificate": Certificate, "estimate": EstimatedGuarantee}.get(record["is"])
    if made is None:
        raise ScoreError(
            f"A statement is '{record['is']}'; allowed: certificate, estimate; certify again."
        )
    try:
        size = as_size(values["smallest_component"])
        guarantee = Guarantee(
            **{**values["guarantee"], "level": object_named(values["guarantee"]["level"])}
        )
        of_today = {"guarantee": guarantee, "role": role_named(values["role"])}
        return made(**{**values, **of_today, "smallest_component": size})
    except (KeyError, TypeError, UsageError) as error:
        raise ScoreError(f"A statement is damaged ({error}); certify again.") from error


def percent(share: float) -> str:
    """Return a share as a percentage: "5 %", "0.25 %"."""
    return f"{100 * share:.3g} %"
