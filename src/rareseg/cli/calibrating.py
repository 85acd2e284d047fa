"""What a score means as a probability: calibrate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
)
from rareseg.cli.output import bar, print_json, say_to
from rareseg.cli.sources import decided_source, score_files
from rareseg.errors import UsageError


@app.command(epilog="Example: rareseg calibrate run --prevalence 0.02")
def calibrate(
    run: OptionalRun = None,
    region: Annotated[
        str | None, typer.Option("--region", help="One region alone; all where not given.")
    ] = None,
    prevalence: Annotated[
        float | None,
        typer.Option(help="Share of images that hold the region, where the model will work."),
    ] = None,
    unlabelled: Annotated[
        Path | None, typer.Option("--unlabelled", help="Images from there, to estimate it from.")
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
    """Say what the scores mean as probabilities, and what an alarm is worth at a prevalence.

    Masks, operating points and promises stay as they are; `predict --probabilities --calibrated`
    writes the probabilities.
    """
    from rareseg.run.calibrate import calibrate_source

    files = score_files(run, probabilities, references, split, group_from, missing_mask)
    if files is None and (group_from, missing_mask) != (None, None):
        raise UsageError(
            "--group-from and --missing-mask say how --references is read; the run's own cases are "
            "grouped as it was begun."
        )
    found = calibrate_source(
        decided_source(run, files, out, region, device),
        prevalence=prevalence,
        unlabelled=unlabelled,
        region=region,
        track=bar,
        say=say_to(as_json),
    )
    if as_json:
        print_json({name: part.to_dict() for name, part in found.items()})
