"""Commands `predict` and `evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from rareseg.cli.app import app
from rareseg.cli.options.option_groups import grouped, within_memory
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
from rareseg.cli.terminal import bar, print_failures, print_json, print_line, say_to, show
from rareseg.errors import UsageError


@app.command(epilog="Example: rareseg predict run new_images/ --out masks --probabilities")
@within_memory
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
    overlay: Annotated[
        bool, typer.Option("--overlay", help="Also draw pictures with outlines and scores.")
    ] = False,
    values: Annotated[
        str | None,
        typer.Option(
            "--values",
            help="What is on in masks: 255 to see them, another number, or index (1, 2, …).",
        ),
    ] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            help="Also write coco, yolo, geojson or labelme; of volumes seg.nrrd; of DICOM "
            "dicom-seg. Repeatable.",
        ),
    ] = None,
    device: Device = "cpu",
    as_json: AsJson = False,
) -> None:
    """Write one label map per image and one mask per region, at the chosen operating points.

    predictions.csv and objects.csv say what was found. Folders below IMAGES are walked. An image
    that cannot be predicted is named at the end, and the exit code is 1.
    """
    from rareseg.run.predict import PredictOptions, predict_images

    options = PredictOptions(
        probabilities=probabilities,
        calibrated=calibrated,
        overlay=overlay,
        values=_mask_values(values),
        formats=tuple(formats or ()),
    )
    done = predict_images(run, images, out, options, device=device, track=bar, say=say_to(as_json))
    if as_json:
        print_json(done.record())
    else:
        for line in done.lines():
            print_line(line)
    print_failures(done.failure_lines())
    if done.failures:
        raise typer.Exit(1)


def _mask_values(word: str | None) -> int | Literal["index"] | None:
    """Return what --values says; UsageError for any other word."""
    if word is None or word == "index":
        return "index" if word else None
    try:
        return int(word)
    except ValueError as error:
        raise UsageError(
            f"--values is {word!r}; allowed are a whole number from 1 (255 shows white) and index."
        ) from error


@app.command(epilog="Example: rareseg evaluate run new_data/ --out evaluation")
@within_memory
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
        typer.Option(
            "--against",
            help="An earlier evaluation, of the same cases or of wholly other ones, to compare "
            "with.",
        ),
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
    --probabilities or --masks another tool's scores or masks are compared with --references.
    """
    from rareseg.run.evaluate import evaluate_source
    from rareseg.run.scores.file_source import FileSource
    from rareseg.run.scores.network_source import NetworkSource
    from rareseg.run.scores.score_source import ScoreSource
    from rareseg.run.setup.evaluation_options import EvaluationOptions
    from rareseg.run.setup.run_folder import require_free

    options = EvaluationOptions.of(priority, against)
    if masks is not None and (scores.probabilities is not None or points is not None):
        raise UsageError(
            "--masks are finished: no point cuts them; leave --probabilities and --points out."
        )
    files = scores.files(run, masks)
    require_free(out)
    source: ScoreSource
    if files is not None:
        source = FileSource.to_judge(files, points, include_seen=include_seen, track=bar)
        for line in source.notices:
            say_to(as_json)(line)
    elif run is None or data is None or points is not None:
        raise UsageError(
            "evaluate takes RUN and DATA, or --probabilities DIR --references DATA and perhaps "
            "--points DIR, or --masks DIR --references DATA."
        )
    else:
        data_options = scores.data(data)
        source = NetworkSource.open(
            run, data_options, device=device, include_seen=include_seen, verify=scores.verify
        )
    show(evaluate_source(source, out, options=options, track=bar), as_json)
