"""Options of `tune`: objectives, limits and guarantees."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rareseg.errors import UsageError

GOAL, LIMITS = "What to reach", "Limits, on the validation cases"
GUARANTEES = "Guarantees for new cases"
BY_HAND = "By hand, as set with the report's sliders"

if TYPE_CHECKING:
    from rareseg.decision.guarantees.guarantee import Guarantee
    from rareseg.decision.operating_point import Goal
    from rareseg.run.tune import Rule


@dataclass(frozen=True)
class GoalOptions:
    """What a point is to reach."""

    maximize: Annotated[
        str, typer.Option("--maximize", help="dice, f-beta, youden, or cost.", rich_help_panel=GOAL)
    ] = "dice"
    beta: Annotated[
        float,
        typer.Option(
            min=0.0, help="Of f-beta: above 1 misses weigh more than alarms.", rich_help_panel=GOAL
        ),
    ] = 1.0
    cost_false_positive: Annotated[
        float | None,
        typer.Option(
            min=0.0, help="Of each false positive; asks for least cost.", rich_help_panel=GOAL
        ),
    ] = None
    cost_false_negative: Annotated[
        float | None,
        typer.Option(
            min=0.0, help="Of each false negative; asks for least cost.", rich_help_panel=GOAL
        ),
    ] = None
    prevalence: Annotated[
        float | None,
        typer.Option(
            help="Of costs: the share of images that hold the region, where the model will work; "
            "as in the validation cases where not given.",
            rich_help_panel=GOAL,
        ),
    ] = None

    def goal(self, limits: LimitOptions, level: str) -> Goal:
        """Return the goal, within limits that are counted at a level."""
        from rareseg.decision.operating_point import make_goal

        return make_goal(
            self.maximize,
            beta=self.beta,
            cost_false_positive=self.cost_false_positive,
            cost_false_negative=self.cost_false_negative,
            level=level,
            recall=limits.min_recall,
            precision=limits.min_precision,
            false_positives_per_case=limits.false_positives_per_case,
            false_alarm_rate=limits.false_alarms,
            prevalence=self.prevalence,
        )


@dataclass(frozen=True)
class LimitOptions:
    """What a point must keep on the cases that it is chosen on."""

    min_recall: Annotated[
        float | None,
        typer.Option(
            min=0.0, max=1.0, help="Reach it on the validation cases.", rich_help_panel=LIMITS
        ),
    ] = None
    min_precision: Annotated[
        float | None,
        typer.Option(
            min=0.0, max=1.0, help="Reach it on the validation cases.", rich_help_panel=LIMITS
        ),
    ] = None
    false_positives_per_case: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="No more false components on the validation cases.",
            rich_help_panel=LIMITS,
        ),
    ] = None
    false_alarms: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="No larger share of the negative validation cases.",
            rich_help_panel=LIMITS,
        ),
    ] = None


@dataclass(frozen=True)
class CutOptions:
    """Which sizes are kept, and a cut that is set by hand."""

    smallest_component: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE|search",
            help="Remove smaller components: 5 mm3, of photographs 5 mm2, or a number of voxels.",
            rich_help_panel=GOAL,
        ),
    ] = None
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", help="Cut here; nothing is searched.", rich_help_panel=BY_HAND),
    ] = None
    gate: Annotated[
        float | None,
        typer.Option(
            "--gate", help="Nothing is on in images that stay below.", rich_help_panel=BY_HAND
        ),
    ] = None

    def rule(self, goal: Goal, *, guaranteed: bool) -> Rule:
        """Return how a point is chosen; a cut by hand leaves nothing to reach or to guarantee."""
        from rareseg.decision.operating_point import make_goal
        from rareseg.run.tune import Rule

        if self.threshold is None and self.gate is None:
            return Rule.of(goal, self.smallest_component)
        if self.threshold is None or guaranteed or goal != make_goal():
            raise UsageError(
                "--threshold and --gate set the cut itself; give --threshold, and leave out what "
                "is to be maximised, limited or guaranteed."
            )
        if self.smallest_component == "search":
            raise UsageError("--threshold searches nothing; give --smallest-component a size.")
        return Rule.by_hand(
            self.threshold, smallest=self.smallest_component or 0, gate=self.gate or 0.0
        )


@dataclass(frozen=True)
class GuaranteeOptions:
    """What is to be guaranteed, how surely, and on which cases."""

    max_false_negative_rate: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Guarantee that at most this share is missed in positive images.",
            rich_help_panel=GUARANTEES,
        ),
    ] = None
    max_false_alarm_rate: Annotated[
        float | None,
        typer.Option(
            min=0.0, max=1.0, help="Guarantee this on negative images.", rich_help_panel=GUARANTEES
        ),
    ] = None
    max_false_discovery: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Guarantee that at most this share of what is on is false.",
            rich_help_panel=GUARANTEES,
        ),
    ] = None
    confidence: Annotated[
        float | None,
        typer.Option(
            "--confidence",
            help="With which the guarantee holds for all regions together; 0.95 where not given.",
            rich_help_panel=GUARANTEES,
        ),
    ] = None
    in_expectation: Annotated[
        bool,
        typer.Option(
            "--in-expectation",
            help="Guarantee the expectation alone, which takes fewer groups.",
            rich_help_panel=GUARANTEES,
        ),
    ] = False
    certify_on: Annotated[
        Path | None,
        typer.Option(
            "--certify-on",
            help="New cases that certify the guarantee.",
            rich_help_panel=GUARANTEES,
        ),
    ] = None

    def guarantee(self, level: str | None) -> Guarantee | None:
        """Return the one guarantee that is asked for, if any; UsageError for what contradicts."""
        from rareseg.decision.guarantees.guarantee import CONFIDENCE, make_guarantee

        if self.in_expectation and self.confidence is not None:
            raise UsageError(
                "--confidence and --in-expectation contradict each other; leave one out."
            )
        bounds = {
            "false negative rate": self.max_false_negative_rate,
            "false alarm rate": self.max_false_alarm_rate,
            "false discovery proportion": self.max_false_discovery,
        }
        asked = [(kind, alpha) for kind, alpha in bounds.items() if alpha is not None]
        if len(asked) > 1:
            raise UsageError(
                f"{len(asked)} guarantees were asked for ({', '.join(kind for kind, _ in asked)}); "
                "ask for one at a time, since each moves the threshold."
            )
        if not asked:
            if self.in_expectation or self.confidence is not None or self.certify_on is not None:
                raise UsageError(
                    "--confidence, --in-expectation and --certify-on belong to a guarantee; add "
                    "one, such as --max-false-alarm-rate 0.1."
                )
            return None
        [(kind, alpha)] = asked
        usual = None if self.in_expectation else CONFIDENCE
        sure = usual if self.confidence is None else self.confidence
        return make_guarantee(kind, alpha, confidence=sure, level=level)
