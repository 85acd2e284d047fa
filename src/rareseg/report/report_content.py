"""Record of everything that a report shows.

The page, the figures and the sentences only read it, so that a report can be made again from what
a run left behind, without the images or the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from rareseg.data.checks.fingerprint import CaseFacts, Fingerprint
from rareseg.data.records import ROLES, Role
from rareseg.decision.operating_point import Infeasible, OperatingPoint
from rareseg.errors import UsageError, nearest
from rareseg.evaluation.comparisons.paired_test import PairedComparison
from rareseg.evaluation.comparisons.unpaired_test import UnpairedComparison
from rareseg.evaluation.measures.case_result import CaseResult, Stratum
from rareseg.evaluation.measures.mask_measures import CaseDetails
from rareseg.evaluation.measures.scorecard import RegionScorecard, Scorecard
from rareseg.evaluation.metrics.confusion_matrix import Confusion
from rareseg.evaluation.statistics.intervals import count_groups
from rareseg.evaluation.tables.component_table import ComponentTable
from rareseg.evaluation.tables.score_table import ScoreTable
from rareseg.recipe import Recipe
from rareseg.sampling.patches.composition import Composition
from rareseg.training.mining_round import MiningRecord

Level = Literal["bad", "warning", "note", "good"]
"""How a sentence is meant, the most urgent first."""

Priority = Literal["recall", "precision", "balanced"]
PRIORITIES: tuple[Priority, ...] = get_args(Priority)
"""What a user may say matters most."""

Columns = Mapping[str, Sequence[float]]
"""A table by columns, as :func:`rareseg.training.log.read_table` gives it."""

ROLE_PURPOSES: Mapping[Role, str] = {
    "train": "The network learnt from these cases.",
    "validation": "Checkpoint, threshold and gate were chosen on these cases.",
    "certify": "The guarantee was certified on these cases, once.",
    "test": "The scorecard is of these cases, which nothing was fitted to or chosen on.",
}
"""What the cases of each role were used for."""


def fold_purposes(held_out: int) -> Mapping[Role, str]:
    """Return what the roles' cases were used for where each network leaves out so many folds."""
    if held_out == 1:
        told = (
            "Each network learnt from all folds of these cases but one; the points were chosen on "
            "the scores of the one that it had not seen."
        )
    else:
        told = (
            f"Each network learnt from all folds of these cases but {held_out}; the points were "
            f"chosen on the mean scores of the {held_out} networks that had not seen a case."
        )
    return {**ROLE_PURPOSES, "train": told}


def as_priority(word: str | None) -> Priority | None:
    """Return what a user said matters; raises UsageError for an unknown word."""
    if word is None or word in PRIORITIES:
        return word
    raise UsageError(
        f"--priority {word!r} is not known{nearest(word, PRIORITIES)}; allowed are "
        f"{', '.join(PRIORITIES)}."
    )


@dataclass(frozen=True)
class Sentence:
    """One judgement in words.

    ``text`` says what is the case, with its numbers; ``reason`` the rule by which it is said.
    ``region`` is "" where the sentence is about the whole run. ``headline``: the terminal shows it
    whatever its level.
    """

    level: Level
    text: str
    reason: str
    region: str = ""
    headline: bool = False


@dataclass(frozen=True)
class ClassFacts:
    """One class: its voxels in all cases, their share of those that count, cases that hold it."""

    name: str
    voxels: int
    share: float
    n_cases: int


@dataclass(frozen=True)
class DataFacts:
    """What the data set is.

    ``n_empty`` cases hold no foreground at all. ``shapes`` are the smallest and the largest
    extent per axis (z, y, x), ``spacing`` the median in mm (1.0 per pixel where files state none).
    ``regions`` lead from a region's name to its classes' names. ``warnings`` are inspection's.
    """

    n_cases: int
    n_groups: int
    n_without_group: int
    n_empty: int
    dimension: int
    channels: int
    shapes: tuple[tuple[int, int, int], tuple[int, int, int]]
    spacing: tuple[float, float, float]
    classes: tuple[ClassFacts, ...]
    regions: Mapping[str, tuple[str, ...]]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class RoleCount:
    """The cases of one role: how many, how many hold any foreground, how many groups."""

    n_cases: int
    n_positive: int
    n_groups: int


@dataclass(frozen=True)
class Leakage:
    """What two roles share and should not.

    ``near_duplicates`` counts pairs of look-alikes that show one thing and that no group unites,
    ``shared_groups`` groups, that lie across roles; ``example`` names one of either, or is "".
    """

    near_duplicates: int = 0
    shared_groups: int = 0
    example: str = ""


@dataclass(frozen=True, eq=False)
class CasePicture:
    """One case, or one slice of it, of one region at the operating point of ``results``.

    ``image`` is (y, x) or (y, x, 3) uint8, ``reference`` and ``prediction`` (y, x) bool; ``plane``
    is the slice's index from 0, None for a photograph. ``caption`` says why it is shown.
    ``levels`` (size, y, x) uint8 are how many thresholds of the report's grid each pixel is on at,
    for each smallest component that the page offers; 0 where nothing counts. ``slices`` are slices
    of the same volume in their order, this one among them; none of a photograph.
    """

    case_id: str
    group: str | None
    region: str
    stratum: Stratum
    caption: str
    image: NDArray[np.uint8]
    reference: NDArray[np.bool_]
    prediction: NDArray[np.bool_]
    plane: int | None = None
    levels: NDArray[np.uint8] | None = None
    slices: tuple[CasePicture, ...] = ()


@dataclass(frozen=True)
class History:
    """What the journal of the training holds: ``steps.csv`` and ``validations.csv`` by columns."""

    steps: Columns = field(default_factory=dict)
    validations: Columns = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ReportContent:
    """What one report shows.

    ``scorecards`` are (label, scorecard) in the order of their columns; ``main_label`` names the
    one that is judged, at the operating points of ``points``. ``results`` are the cases behind
    that one, ``table`` their scores, ``components`` theirs at the thresholds of a grid, ``details``
    their surfaces and ``confusion`` their classes; ``validation_table`` holds the scores of the
    cases that the points were chosen on. ``initial_weights`` says which earlier weights the
    network began with, ``stages`` what the first of two left to the second.
    ``train_dice`` is the mean dice on a sample of positive training
    cases, by region. ``guarantees`` lead from a region to what is guaranteed of its point.
    ``priority`` is what the user said matters; ``comparisons`` hold each region
    against the earlier evaluation named ``against``, of the same cases, and ``other_cases`` against
    one of different cases. What is empty or None is left out of the page.
    ``verdicts`` come from :func:`rareseg.report.wording.verdict.judge`.

    Raises UsageError where no scorecard has the main label.
    """

    title: str
    scorecards: tuple[tuple[str, Scorecard], ...]
    main_label: str
    points: Mapping[str, OperatingPoint | Infeasible]
    table: ScoreTable
    results: tuple[CaseResult, ...]
    components: ComponentTable | None = None
    details: tuple[CaseDetails, ...] = ()
    confusion: Confusion | None = None
    data: DataFacts | None = None
    roles: Mapping[Role, RoleCount] = field(default_factory=dict)
    role_purposes: Mapping[Role, str] = field(default_factory=lambda: ROLE_PURPOSES)
    recipe: Recipe | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)
    history: History = History()
    initial_weights: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    composition: Composition | None = None
    mining: MiningRecord = field(default_factory=MiningRecord)
    validation_table: ScoreTable | None = None
    pictures: tuple[CasePicture, ...] = ()
    train_dice: Mapping[str, float] = field(default_factory=dict)
    leakage: Leakage = Leakage()
    priority: Priority | None = None
    against: str = ""
    comparisons: Mapping[str, tuple[PairedComparison, ...]] = field(default_factory=dict)
    other_cases: Mapping[str, tuple[UnpairedComparison, ...]] = field(default_factory=dict)
    verdicts: tuple[Sentence, ...] = ()
    guarantees: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        labels = [label for label, _ in self.scorecards]
        if self.main_label not in labels:
            raise UsageError(
                f"The report has no scorecard '{self.main_label}'"
                f"{nearest(self.main_label, labels)}; it has {', '.join(labels) or 'none'}."
            )

    @property
    def scorecard(self) -> Scorecard:
        """The scorecard that is judged."""
        return dict(self.scorecards)[self.main_label]

    @property
    def regions(self) -> tuple[str, ...]:
        """The regions of that scorecard, in its order."""
        return tuple(part.region for part in self.scorecard.regions)

    def parts(self, region: str) -> tuple[tuple[str, RegionScorecard], ...]:
        """Return (label, scorecard of one region) for every scorecard that has the region."""
        return tuple(
            (label, part)
            for label, card in self.scorecards
            for part in card.regions
            if part.region == region
        )

    def results_of(self, region: str) -> tuple[CaseResult, ...]:
        """Return one region's results."""
        return tuple(result for result in self.results if result.region == region)


def data_facts(fingerprint: Fingerprint) -> DataFacts:
    """Return what a report says about the data; raises UsageError where there is no case."""
    cases, classes = fingerprint.cases, fingerprint.classes
    if not cases:
        raise UsageError("A data set without a readable case has nothing to report.")
    shapes = np.array([case.shape for case in cases])
    voxels = np.array([case.voxels for case in cases], np.int64)
    total = int(voxels.sum())
    z, y, x = (float(median) for median in np.median([case.spacing for case in cases], axis=0))
    return DataFacts(
        n_cases=len(cases),
        n_groups=count_groups([case.group for case in cases]),
        n_without_group=sum(case.group is None for case in cases),
        n_empty=sum(not case.is_positive for case in cases),
        dimension=cases[0].dimension,
        channels=cases[0].channels,
        shapes=(_shape(shapes.min(axis=0)), _shape(shapes.max(axis=0))),
        spacing=(z, y, x),
        classes=tuple(
            ClassFacts(
                name=name,
                voxels=int(voxels[:, k].sum()),
                share=int(voxels[:, k].sum()) / total if total else 0.0,
                n_cases=int((voxels[:, k] > 0).sum()),
            )
            for k, name in enumerate(classes.names)
        ),
        regions={
            region: tuple(classes.names[k] for k in members)
            for region, members in classes.regions.items()
        },
        warnings=tuple(str(warning) for warning in fingerprint.warnings),
    )


def role_counts(cases: Sequence[CaseFacts], roles: Mapping[str, Role]) -> dict[Role, RoleCount]:
    """Return the counts of every role that occurs; ``roles`` leads from case id to role."""
    counts: dict[Role, RoleCount] = {}
    for role in ROLES:
        own = [case for case in cases if roles.get(case.id) == role]
        if own:
            counts[role] = RoleCount(
                n_cases=len(own),
                n_positive=sum(case.is_positive for case in own),
                n_groups=count_groups([case.group for case in own]),
            )
    return counts


def find_leakage(fingerprint: Fingerprint, roles: Mapping[str, Role]) -> Leakage:
    """Return what lies across roles; cases without a role are in none."""
    pairs = [
        (pair.a, pair.b)
        for pair in fingerprint.copies_across_groups
        if pair.a in roles and pair.b in roles and roles[pair.a] != roles[pair.b]
    ]
    roles_of: dict[str, set[Role]] = {}
    for case in fingerprint.cases:
        if case.group is not None and case.id in roles:
            roles_of.setdefault(case.group, set()).add(roles[case.id])
    shared = [group for group, found in roles_of.items() if len(found) > 1]
    example = ""
    if pairs:
        first, second = pairs[0]
        example = f"{first} ({roles[first]}) and {second} ({roles[second]})"
    if shared:
        example = f"group {shared[0]} ({', '.join(sorted(roles_of[shared[0]]))})"
    return Leakage(len(pairs), len(shared), example)


def _shape(extents: NDArray[np.int64]) -> tuple[int, int, int]:
    z, y, x = (int(extent) for extent in extents)
    return z, y, x
