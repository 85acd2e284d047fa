"""Commands `predict` and `evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rareseg.cli.app import app
from rareseg.cli.options.option_groups import grouped
from rareseg.cli.options.score_options import ScoreOptions
from rareseg.cli.options.shared_options import (
    OUTSIDE,
    AsJson,
    Device,
    OptionalData,
    OptionalRun,
    Out,
    RunOrBundle,
)
from rareseg.cli.terminal import bar, print_json, print_line, say_to, show
from rareseg.errors import UsageError


@app.command(epilog="Example: rareseg predict run new_images/ --out masks --probabilities")
def predict(
    run: RunOrBundle,
    images: Annotated[Path, typer.Argument(help="An image or a folder.", show_default=False)],
    out: Out,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Also write each region's scores.")
    ] = False,
    calibrated: Annotated[
        bool, typer.Option("--calibrated", help="As probabilities, after `rareseg calibrate`.")
    ] = False,
    device: Device = "cpu",
    as_json: AsJson = False,
) -> None:
    """Write one label map per image and one mask per region, at the chosen operating points."""
    from rareseg.run.predict import predict as predict_run

    written = predict_run(
        run,
        images,
        out,
        probabilities=probabilities,
        calibrated=calibrated,
        device=device,
        track=bar,
        say=say_to(as_json),
    )
    if as_json:
        print_json({"label_maps": [str(path) for path in written]})
    else:
        print_line(
            f"{len(written)} label maps in {out}, one mask per region in the folders below it."
        )


@app.command(epilog="Example: rareseg evaluate run new_data/ --out evaluation")
@grouped
def evaluate(
    scores: ScoreOptions,
    out: Out,
    run: OptionalRun = None,
    data: OptionalData = None,
    masks: Annotated[
        Path | None,
        typer.Option(
            "--masks",
            help="Folder with a finished mask for each case, in place of scores.",
            rich_help_panel=OUTSIDE,
        ),
    ] = None,
    points: Annotated[
        Path | None,
        typer.Option(
            "--points", help="What `tune --probabilities` wrote; else 0.5.", rich_help_panel=OUTSIDE
        ),
    ] = None,
    priority: Annotated[
        str | None,
        typer.Option("--priority", help="What matters: recall, precision or balanced."),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option("--against", help="An earlier evaluation of the same cases, to compare with."),
    ] = None,
    include_seen: Annotated[
        bool,
        typer.Option(
            "--include-seen", help="Score images too that the model has seen in training."
        ),
    ] = False,
    device: Device = "cpu",
    as_json: AsJson = False,
) -> None:
    """Score cases with known masks: cases.csv, details.csv, scorecard.json and report.html.

    Of the data that the run was trained on, wherever they lie now, only its test cases are scored;
    images that it was trained, chosen or certified on are left out of other data too. With
    --probabilities or --masks another tool's scores or masks are held against --references.
    """
    from rareseg.run.evaluate import evaluate_source
    from rareseg.run.scores.file_source import FileSource
    from rareseg.run.scores.network_source import NetworkSource
    from rareseg.run.scores.score_source import ScoreSource
    from rareseg.run.setup.evaluation_options import EvaluationOptions
    from rareseg.run.setup.run_folder import require_free

    asked = EvaluationOptions.of(priority, against)
    if masks is not None and (scores.probabilities is not None or points is not None):
        raise UsageError(
            "--masks are finished: no point cuts them; leave --probabilities and --points out."
        )
    files = scores.files(run, masks)
    require_free(out)
    source: ScoreSource
    if files is not None:
        source = FileSource.to_judge(files, points, track=bar)
    elif run is None or data is None or points is not None:
        raise UsageError(
            "evaluate takes RUN and DATA, or --probabilities DIR --references DATA and perhaps "
            "--points DIR, or --masks DIR --references DATA."
        )
    else:
        options = scores.data(data)
        source = NetworkSource.open(run, options, device=device, include_seen=include_seen)
    show(evaluate_source(source, out, asked=asked, track=bar), as_json)
