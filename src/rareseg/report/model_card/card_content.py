"""Record of everything that a model card is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rareseg.data.checks.fingerprint import CaseFacts, Fingerprint
from rareseg.data.records import Role
from rareseg.decision.decisions import Decisions
from rareseg.decision.operating_point import OperatingPoint
from rareseg.evaluation.measures.scorecard import RegionScorecard, Scorecard
from rareseg.prediction.model import Model
from rareseg.report.report_content import Sentence


@dataclass(frozen=True)
class CardFigures:
    """What was measured on the run's test cases.

    ``scorecards`` are (label, scorecard), ``main_label`` names the one at the operating points.
    ``verdicts`` judge that one; they name no case.
    """

    scorecards: tuple[tuple[str, Scorecard], ...]
    main_label: str
    verdicts: tuple[Sentence, ...] = ()

    def parts(self, region: str) -> tuple[tuple[str, RegionScorecard], ...]:
        """Return (label, scorecard of one region), the main label first."""
        ordered = sorted(self.scorecards, key=lambda pair: pair[0] != self.main_label)
        return tuple(
            (label, part)
            for label, card in ordered
            for part in card.regions
            if part.region == region
        )

    def are_at(self, point: OperatingPoint) -> bool:
        """Tell whether the region's first figures were measured at ``point``."""
        parts = self.parts(point.region)
        if not parts:
            return False
        part = parts[0][1]
        return (part.threshold, part.gate, part.smallest_component) == (
            point.threshold,
            point.gate,
            point.smallest_component,
        )


@dataclass(frozen=True)
class CardContent:
    """What a card is made from.

    ``roles`` lead from case id to role, ``in_folds`` says that several networks learned in
    cross-validation. ``figures`` are of the test cases, None where none were scored.
    """

    model: Model
    decisions: Decisions
    fingerprint: Fingerprint
    roles: Mapping[str, Role]
    in_folds: bool = False
    figures: CardFigures | None = None

    @property
    def of_photographs(self) -> bool:
        """Whether the images are photographs; else they are volumes."""
        return self.fingerprint.cases[0].dimension == 2

    @property
    def images(self) -> str:
        """What the images are."""
        return "photographs" if self.of_photographs else "volumes"

    @property
    def element(self) -> str:
        """What an image is made of."""
        return "pixel" if self.of_photographs else "voxel"

    def cases(self, role: Role) -> list[CaseFacts]:
        """Return the cases that play ``role``."""
        return [case for case in self.fingerprint.cases if self.roles.get(case.id) == role]

    def positives(self, role: Role, region: str) -> int:
        """Return how many cases of ``role`` hold the region."""
        members = self.model.classes.regions[region]
        return sum(any(case.voxels[k] for k in members) for case in self.cases(role))
