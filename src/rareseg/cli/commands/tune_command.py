"""Command `tune`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rareseg.cli.app import app
from rareseg.cli.options.decision_options import (
    CutOptions,
    GoalOptions,
    GuaranteeOptions,
    LimitOptions,
)
from rareseg.cli.options.option_groups import grouped, within_memory
from rareseg.cli.options.score_options import ScoreOptions, decided_source
from rareseg.cli.options.shared_options import (
    AsJson,
    Device,
    OptionalRun,
    OutsideOut,
    Region,
)
from rareseg.cli.terminal import bar, decision_record, print_json, print_line, say_to
from rareseg.errors import UsageError

if TYPE_CHECKING:
    from rareseg.decision.guarantees.guarantee import Guarantee
    from rareseg.run.scores.score_source import ScoreSource
    from rareseg.run.tune import Rule


@app.command(epilog="Example: rareseg tune run --max-false-alarm-rate 0.1 --confidence 0.95")
@within_memory
@grouped
def tune(
    goal: GoalOptions,
    limits: LimitOptions,
    cut: CutOptions,
    guarantees: GuaranteeOptions,
    scores: ScoreOptions,
    run: OptionalRun = None,
    region: Region = None,
    level: Annotated[
        str | None,
        typer.Option(
            "--level", help="voxel, object or image: of costs, recall, precision and guarantees."
        ),
    ] = None,
    out: OutsideOut = None,
    device: Device = "cpu",
    as_json: AsJson = False,
) -> None:
    """Choose the operating point of each region and store it.

    Threshold, smallest component and image-level gate are searched together; what could be had
    instead is shown. A guarantee (--max-...) moves the point to where it holds for new cases, or
    says how many cases it would need. With --probabilities another tool's scores are cut. With
    --threshold the cut is yours.
    """
    files, guarantee, new = scores.files(run), guarantees.guarantee(level), guarantees.certify_on
    if new is None and files is None:
        scores.require_no_grouping("--certify-on or --references")
    if files is not None and new is not None:
        raise UsageError(
            "With --probabilities, cases that certify have the role certify in --split or a "
            "manifest; leave --certify-on out."
        )
    # The level of a guarantee is its own; limits and costs beside it stay those of voxels.
    asked = goal.goal(limits, level="voxel" if guarantee is not None or level is None else level)
    rule = cut.rule(asked, guaranteed=guarantee is not None)
    source = decided_source(
        run,
        files,
        out,
        region,
        device,
        new=None if new is None else scores.data(new),
        certifies=guarantee is not None,
        verify=scores.verify,
    )
    if guarantee is None:
        _tune(source, rule, region, as_json, "RUN" if run is None else str(run))
    else:
        _certify(source, guarantee, rule, region, as_json)


def _tune(source: ScoreSource, rule: Rule, region: str | None, as_json: bool, run: str) -> None:
    """Choose points and say what comes next; exit code 1 where no region has one."""
    from rareseg.decision.decisions import choice_record
    from rareseg.decision.operating_point import Infeasible
    from rareseg.run.scores.file_source import FileSource
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
    source: ScoreSource, guarantee: Guarantee, rule: Rule, region: str | None, as_json: bool
) -> None:
    """Move points to where a guarantee holds; exit code 1 where it holds in no region."""
    from rareseg.decision.operating_point import Infeasible
    from rareseg.run.certify import certify_source

    guaranteed = certify_source(
        source, guarantee, rule=rule, region=region, track=bar, say=say_to(as_json)
    )
    if as_json:
        print_json({name: decision_record(found) for name, found in guaranteed.items()})
    if all(isinstance(found, Infeasible) for found in guaranteed.values()):
        raise typer.Exit(1)
