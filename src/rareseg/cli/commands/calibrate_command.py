"""Command `calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rareseg.cli.app import app
from rareseg.cli.options.option_groups import grouped
from rareseg.cli.options.score_options import ScoreOptions, decided_source
from rareseg.cli.options.shared_options import AsJson, Device, OptionalRun, OutsideOut, Region
from rareseg.cli.terminal import bar, print_json, say_to


@app.command(epilog="Example: rareseg calibrate run --prevalence 0.02")
@grouped
def calibrate(
    scores: ScoreOptions,
    run: OptionalRun = None,
    region: Region = None,
    prevalence: Annotated[
        float | None,
        typer.Option(help="Share of images that hold the region, where the model will work."),
    ] = None,
    unlabelled: Annotated[
        Path | None, typer.Option("--unlabelled", help="Images from there, to estimate it from.")
    ] = None,
    out: OutsideOut = None,
    device: Device = "cpu",
    as_json: AsJson = False,
) -> None:
    """Calibrate scores as probabilities, and compute predictive values at a prevalence.

    Masks, operating points and guarantees stay as they are; `predict --probabilities --calibrated`
    writes the probabilities.
    """
    from rareseg.run.calibrate import calibrate_source

    files = scores.files(run)
    if files is None:
        scores.require_no_grouping("--references")
    found = calibrate_source(
        decided_source(run, files, out, region, device, verify=scores.verify),
        prevalence=prevalence,
        unlabelled=unlabelled,
        region=region,
        track=bar,
        say=say_to(as_json),
    )
    if as_json:
        print_json({name: part.to_dict() for name, part in found.items()})
