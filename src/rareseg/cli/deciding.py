"""Where to cut, and what can be promised of it: tune."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rareseg.cli.app import app
from rareseg.cli.options import (
    OUTSIDE,
    AsJson,
    Device,
    GroupFrom,
    MissingMask,
    OptionalRun,
    Probabilities,
    References,
    SplitFile,
    data_options,
)
from rareseg.cli.output import bar, decision_record, print_json, print_line, say_to
from rareseg.cli.sources import decided_source, score_files
from rareseg.errors import UsageError

GOAL, LIMITS = "What to reach", "Limits, on the select cases"
PROMISES = "Promises, for cases yet to come"
BY_HAND = "By hand, as the report's sliders say it"

if TYPE_CHECKING:
    from rareseg.decision.guarantees import Promise
    from rareseg.decision.operating_point import Goal
    from rareseg.run.sources import ScoreSource
    from rareseg.run.tune import Rule


@app.command(epilog="Example: rareseg tune run --max-false-alarm-rate 0.1 --confidence 0.95")
def tune(
    run: OptionalRun = None,
    maximize: Annotated[
        str, typer.Option("--maximize", help="dice, f-beta, youden, or cost.", rich_help_panel=GOAL)
    ] = "dice",
    region: Annotated[
        str | None, typer.Option("--region", help="One region alone; all where not given.")
    ] = None,
    beta: Annotated[
        float,
        typer.Option(
            min=0.0, help="Of f-beta: above 1 misses weigh more than alarms.", rich_help_panel=GOAL
        ),
    ] = 1.0,
    cost_false_positive: Annotated[
        float | None,
        typer.Option(
            min=0.0, help="Of each false positive; asks for least cost.", rich_help_panel=GOAL
        ),
    ] = None,
    cost_false_negative: Annotated[
        float | None,
        typer.Option(
            min=0.0, help="Of each false negative; asks for least cost.", rich_help_panel=GOAL
        ),
    ] = None,
    prevalence: Annotated[
        float | None,
        typer.Option(
            help="Of costs: the share of images that hold the region, where the model will work; "
            "as in the select cases where not given.",
            rich_help_panel=GOAL,
        ),
    ] = None,
    min_recall: Annotated[
        float | None,
        typer.Option(
            min=0.0, max=1.0, help="Reach it on the select cases.", rich_help_panel=LIMITS
        ),
    ] = None,
    min_precision: Annotated[
        float | None,
        typer.Option(
            min=0.0, max=1.0, help="Reach it on the select cases.", rich_help_panel=LIMITS
        ),
    ] = None,
    false_positives_per_case: Annotated[
        float | None,
        typer.Option(
            min=0.0, help="No more false components on the select cases.", rich_help_panel=LIMITS
        ),
    ] = None,
    false_alarms: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="No larger share of the negative select cases.",
            rich_help_panel=LIMITS,
        ),
    ] = None,
    smallest_component: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE|search",
            help="Remove smaller components: 5 mm3, of photographs 5 mm2, or a number of voxels.",
            rich_help_panel=GOAL,
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", help="Cut here; nothing is searched.", rich_help_panel=BY_HAND),
    ] = None,
    gate: Annotated[
        float | None,
        typer.Option(
            "--gate", help="Nothing is on in images that stay below.", rich_help_panel=BY_HAND
        ),
    ] = None,
    max_false_negative_rate: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Promise that at most this share is missed in positive images.",
            rich_help_panel=PROMISES,
        ),
    ] = None,
    max_false_alarm_rate: Annotated[
        float | None,
        typer.Option(
            min=0.0, max=1.0, help="Promise this on negative images.", rich_help_panel=PROMISES
        ),
    ] = None,
    max_false_discovery: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Promise that at most this share of what is on is false.",
            rich_help_panel=PROMISES,
        ),
    ] = None,
    confidence: Annotated[
        float | None,
        typer.Option(
            "--confidence",
            help="With which the promise holds for all regions together; 0.95 where not given.",
            rich_help_panel=PROMISES,
        ),
    ] = None,
    in_expectation: Annotated[
        bool,
        typer.Option(
            "--in-expectation",
            help="Promise the expectation alone, which takes fewer groups.",
            rich_help_panel=PROMISES,
        ),
    ] = False,
    level: Annotated[
        str | None,
        typer.Option(
            "--level", help="voxel, lesion or image: of costs, recall, precision and promises."
        ),
    ] = None,
    certify_on: Annotated[
        Path | None,
        typer.Option(
            "--certify-on", help="New cases that stand for the promise.", rich_help_panel=PROMISES
        ),
    ] = None,
    probabilities: Probabilities = None,
    references: References = None,
    split: SplitFile = None,
    group_from: GroupFrom = None,
    missing_mask: MissingMask = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Where to write.", rich_help_panel=OUTSIDE)
    ] = None,
    device: Device = "cpu",
    as_json: AsJson = False,
) -> None:
    """Choose the operating point of each region and store it.

    Threshold, smallest component and image-level gate are searched together; what could be had
    instead is shown. A promise (--max-...) moves the point to where it holds for new cases, or says
    how many cases it would need. With --probabilities another tool's scores are cut. With
    --threshold the cut is yours.
    """
    from rareseg.decision.operating_point import make_goal

    files = score_files(run, probabilities, references, split, group_from, missing_mask)
    bounds = {
        "false negative rate": max_false_negative_rate,
        "false alarm rate": max_false_alarm_rate,
        "false discovery proportion": max_false_discovery,
    }
    promise = _promise(bounds, confidence, level, in_expectation=in_expectation)
    if promise is None and (in_expectation or confidence is not None or certify_on is not None):
        raise UsageError(
            "--confidence, --in-expectation and --certify-on belong to a promise; add one, such as "
            "--max-false-alarm-rate 0.1."
        )
    if certify_on is None and files is None and (group_from, missing_mask) != (None, None):
        raise UsageError(
            "--group-from and --missing-mask say how --certify-on or --references is read; the "
            "run's own cases are grouped as it was begun."
        )
    if files is not None and certify_on is not None:
        raise UsageError(
            "With --probabilities, cases that certify have the role certify in --split or a "
            "manifest; leave --certify-on out."
        )
    goal = make_goal(
        maximize,
        beta=beta,
        cost_false_positive=cost_false_positive,
        cost_false_negative=cost_false_negative,
        level="voxel" if promise is not None or level is None else level,
        recall=min_recall,
        precision=min_precision,
        false_positives_per_case=false_positives_per_case,
        false_alarm_rate=false_alarms,
        prevalence=prevalence,
    )
    searched = promise is not None or goal != make_goal()
    rule = _rule(goal, smallest_component, threshold, gate, searched=searched)
    new = None if certify_on is None else data_options(certify_on, group_from, missing_mask)
    source = decided_source(run, files, out, region, device, new=new, certifies=promise is not None)
    if promise is None:
        _tune(source, rule, region, as_json, "RUN" if run is None else str(run))
    else:
        _certify(source, promise, rule, region, as_json)


def _rule(
    goal: Goal,
    smallest_component: str | None,
    threshold: float | None,
    gate: float | None,
    *,
    searched: bool,
) -> Rule:
    """Return how a point is chosen; ``searched`` says that something is to be reached."""
    from rareseg.run.tune import Rule

    if threshold is None and gate is None:
        return Rule.of(goal, smallest_component)
    if threshold is None or searched:
        raise UsageError(
            "--threshold and --gate set the cut itself; give --threshold, and leave out what "
            "is to be maximised, limited or promised."
        )
    if smallest_component == "search":
        raise UsageError("--threshold searches nothing; give --smallest-component a size.")
    return Rule.by_hand(threshold, smallest=smallest_component or 0, gate=gate or 0.0)


def _tune(source: ScoreSource, rule: Rule, region: str | None, as_json: bool, run: str) -> None:
    """Choose points and say what comes next; exit code 1 where no region has one."""
    from rareseg.decision.decisions import choice_record
    from rareseg.decision.operating_point import Infeasible
    from rareseg.run.file_source import FileSource
    from rareseg.run.tune import tune_source

    choices = tune_source(source, rule, region=region, track=bar, say=say_to(as_json))
    nowhere = all(isinstance(choice.found, Infeasible) for choice in choices.values())
    then = f"evaluate {run} DATA --out DIR"
    if isinstance(source, FileSource):
        then = f"evaluate --probabilities DIR --references DATA --points {source.root} --out DIR"
    if as_json:
        print_json({name: choice_record(choice) for name, choice in choices.items()})
    elif nowhere:
        print_line("No point was chosen; what was in use stays.")
    else:
        print_line(f"`rareseg {then}` scores cases at these points.")
    if nowhere:
        raise typer.Exit(1)


def _certify(
    source: ScoreSource, promise: Promise, rule: Rule, region: str | None, as_json: bool
) -> None:
    """Move points to where a promise holds; exit code 1 where it holds in no region."""
    from rareseg.decision.operating_point import Infeasible
    from rareseg.run.certify import certify_source

    promised = certify_source(
        source, promise, rule=rule, region=region, track=bar, say=say_to(as_json)
    )
    if as_json:
        print_json({name: decision_record(found) for name, found in promised.items()})
    if all(isinstance(found, Infeasible) for found in promised.values()):
        raise typer.Exit(1)


def _promise(
    bounds: dict[str, float | None],
    confidence: float | None,
    level: str | None,
    *,
    in_expectation: bool,
) -> Promise | None:
    """Return the one promise that is asked for, if any."""
    from rareseg.decision.guarantees import CONFIDENCE, make_promise

    if in_expectation and confidence is not None:
        raise UsageError("--confidence and --in-expectation contradict each other; leave one out.")
    asked = [(kind, alpha) for kind, alpha in bounds.items() if alpha is not None]
    if len(asked) > 1:
        raise UsageError(
            f"{len(asked)} promises were asked for ({', '.join(kind for kind, _ in asked)}); ask "
            "for one at a time, since each moves the threshold."
        )
    if not asked:
        return None
    [(kind, alpha)] = asked
    sure = None if in_expectation else CONFIDENCE if confidence is None else confidence
    return make_promise(kind, alpha, confidence=sure, level=level)
