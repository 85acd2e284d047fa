"""The command line: thin commands around functions, one sentence for every error.

Imports of what works stand inside the commands, so that ``rareseg --help`` loads neither torch nor
MONAI nor numba.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from rareseg.errors import ProblemsError, RaresegError, UsageError

if TYPE_CHECKING:
    from rareseg.data.fingerprint import Fingerprint
    from rareseg.run.evaluate import Evaluation
    from rareseg.run.folder import DataOptions

T = TypeVar("T")

INTERRUPTED = 130
"""The exit code that typer turns Ctrl-C into."""

app = typer.Typer(
    name="rareseg",
    help="Segmentation where what you look for is rare: sample, learn, decide and measure.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

Data = Annotated[
    Path,
    typer.Argument(
        help="images/ + masks/, a manifest.csv, an nnU-Net raw or a Decathlon folder.",
        show_default=False,
    ),
]
Run = Annotated[
    Path, typer.Argument(help="The folder that `train --out` wrote.", show_default=False)
]
Out = Annotated[Path, typer.Option("--out", help="Folder to write to.", show_default=False)]
GroupFrom = Annotated[
    str | None,
    typer.Option(
        "--group-from",
        metavar="REGEX",
        help="Reads the group (patient, tile) from each name: the first (…) of the pattern.",
    ),
]
MissingMask = Annotated[
    str,
    typer.Option(
        "--missing-mask",
        help="What an image without a mask is: 'error', or 'negative' (it holds nothing).",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines instead of words.")]
Device = Annotated[
    str, typer.Option("--device", help="Where to compute, such as cpu, cuda or cuda:1.")
]


def _version(wanted: bool) -> None:
    if wanted:
        from rareseg import __version__

        _print(f"rareseg {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it and exit.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where an error arose; allowed anywhere.")
    ] = False,
) -> None:
    """Segmentation where what you look for is rare: sample, learn, decide and measure."""


@app.command(epilog="Example: rareseg demo --out demo")
def demo(
    out: Out = Path("demo"),
    as_json: AsJson = False,
) -> None:
    """Built-in data → model → operating point → report, in minutes on a laptop."""
    from rareseg.run.demo import run_demo

    result = run_demo(out, track=_bar, say=_say(as_json))
    _show(result.evaluation, as_json, before=result.lines)


@app.command(epilog="Example: rareseg inspect data/ --group-from '(patient\\d+)'")
def inspect(
    data: Data,
    group_from: GroupFrom = None,
    missing_mask: MissingMask = "error",
    as_json: AsJson = False,
) -> None:
    """Say what is in there: classes, skew, empty masks, groups, and everything that is broken."""
    from rareseg.data.fingerprint import inspect_dataset

    fingerprint = inspect_dataset(_options(data, group_from, missing_mask).open(), track=_bar)
    _show_fingerprint(fingerprint, as_json)
    if fingerprint.problems:
        raise typer.Exit(1)


@app.command(epilog="Example: rareseg plan data/ --out recipe.yaml")
def plan(
    data: Data,
    out: Out = Path("recipe.yaml"),
    group_from: GroupFrom = None,
    missing_mask: MissingMask = "error",
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Set a value.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a recipe for the data, every choice with its reason."""
    from rareseg.data.files import atomic_write
    from rareseg.data.fingerprint import inspect_dataset
    from rareseg.errors import OutputError
    from rareseg.recipe import check_values, parse_settings, to_yaml
    from rareseg.training.plan import plan_recipe

    overrides = parse_settings(settings or [])
    check_values(overrides, source="--set")
    if out.exists():
        raise OutputError(f"{out} exists already; name another file with --out, or remove it.")
    fingerprint = inspect_dataset(_options(data, group_from, missing_mask).open(), track=_bar)
    if fingerprint.problems:
        raise ProblemsError(fingerprint.problems)
    made = plan_recipe(fingerprint, overrides)
    with atomic_write(out) as temporary:
        temporary.write_text(to_yaml(made.recipe, made.reasons), encoding="utf-8")
    if as_json:
        values = made.recipe.model_dump(mode="json")
        _print_json({"file": str(out), "recipe": values, "reasons": dict(made.reasons)})
    else:
        _print(f"The recipe and its reasons are in {out}; train with --recipe {out}.")


@app.command(epilog="Example: rareseg train data/ --out run --budget 20min")
def train(
    data: Data,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder of the run; 'NAME-run' beside you where not given."),
    ] = None,
    recipe: Annotated[
        Path | None, typer.Option("--recipe", help="A recipe file, complete or partial.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Set a value.")
    ] = None,
    budget: Annotated[
        str | None, typer.Option("--budget", help="Time for everything, such as 20min or 2h.")
    ] = None,
    group_from: GroupFrom = None,
    missing_mask: MissingMask = "error",
    accelerator: Annotated[
        str, typer.Option("--accelerator", help="auto, cpu, cuda or mps.")
    ] = "auto",
    devices: Annotated[int, typer.Option("--devices", min=1, help="Devices on each node.")] = 1,
    nodes: Annotated[int, typer.Option("--nodes", min=1, help="Machines.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Train, choose operating points and score the test cases; again on the same run: resume."""
    from rareseg.run.prepare import Machine, Wishes
    from rareseg.run.train import train as train_run

    out = out or Path(f"{data.resolve().name}-run")
    evaluation = train_run(
        _options(data, group_from, missing_mask),
        out,
        wishes=Wishes(recipe, settings or [], budget),
        machine=Machine(accelerator, devices, nodes),
        track=_bar,
        say=_say(as_json),
    )
    if evaluation is not None:
        _show(evaluation, as_json)


@app.command(epilog="Example: rareseg tune run --maximize dice --region core")
def tune(
    run: Run,
    maximize: Annotated[str, typer.Option("--maximize", help="What to maximise: dice.")] = "dice",
    region: Annotated[
        str | None, typer.Option("--region", help="One region alone; all where not given.")
    ] = None,
    device: Device = "cpu",
    as_json: AsJson = False,
) -> None:
    """Choose the operating point of each region from the select cases, and store it."""
    from rareseg.decision.operating_point import OperatingPoint
    from rareseg.run.tune import tune as tune_run

    chosen = tune_run(
        run, maximize=maximize, region=region, device=device, track=_bar, say=_say(as_json)
    )
    if as_json:
        _print_json(
            {
                name: point.to_dict()
                if isinstance(point, OperatingPoint)
                else {"infeasible": point.reason}
                for name, point in chosen.items()
            }
        )
    else:
        _print(f"`rareseg evaluate {run} DATA --out DIR` scores cases at these points.")


@app.command(epilog="Example: rareseg predict run new_images/ --out masks --probabilities")
def predict(
    run: Run,
    images: Annotated[Path, typer.Argument(help="An image or a folder.", show_default=False)],
    out: Out,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Also write each region's scores.")
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
        device=device,
        track=_bar,
        say=_say(as_json),
    )
    if as_json:
        _print_json({"label_maps": [str(path) for path in written]})
    else:
        _print(f"{len(written)} label maps in {out}, one mask per region in the folders below it.")


@app.command(epilog="Example: rareseg evaluate run new_data/ --out evaluation")
def evaluate(
    run: Run,
    data: Data,
    out: Out,
    group_from: GroupFrom = None,
    missing_mask: MissingMask = "error",
    device: Device = "cpu",
    as_json: AsJson = False,
) -> None:
    """Score cases with known masks: cases.csv, scorecard.json and report.html.

    Of the data that the run was trained on, only its test cases are scored.
    """
    from rareseg.run.evaluate import evaluate as evaluate_data

    evaluation = evaluate_data(
        run, _options(data, group_from, missing_mask), out, device=device, track=_bar
    )
    _show(evaluation, as_json)


def main() -> None:
    """Run the command line; errors that are meant for the user become one sentence."""
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    try:
        app(args=arguments, standalone_mode=True)
    except RaresegError as error:
        if debug:
            raise
        _complain(error)
        raise SystemExit(error.exit_code) from None
    except SystemExit as ended:
        if ended.code == INTERRUPTED:
            print("Stopped; call the same command again to go on.", file=sys.stderr)  # noqa: T201
        raise
    except BrokenPipeError:
        os._exit(1)


def _options(data: Path, group_from: str | None, missing_mask: str) -> DataOptions:
    from rareseg.run.folder import DataOptions

    if missing_mask not in ("error", "negative"):
        raise UsageError(f"--missing-mask is {missing_mask!r}; allowed are error and negative.")
    return DataOptions(str(data), group_from, missing_mask)


def _bar(items: Iterable[T], description: str, total: int) -> Iterator[T]:
    """Draw a progress bar on standard error while the items pass."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    bar = Progress(
        TextColumn("{task.description:<38}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        redirect_stdout=False,
    )
    with bar:
        yield from bar.track(items, total=total, description=description)


def _say(as_json: bool) -> Callable[[str], None]:
    """Return who takes a line of news: standard error where standard output is for machines."""

    def say(line: str) -> None:
        print(line, file=sys.stderr if as_json else sys.stdout, flush=True)

    return say


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201


def _print_json(content: Any) -> None:
    _print(json.dumps(content, indent=1, ensure_ascii=False))


def _complain(error: RaresegError) -> None:
    if isinstance(error, ProblemsError):
        for problem in error.problems:
            print(f"- {problem}", file=sys.stderr)  # noqa: T201
        count = len(error.problems)
        print(  # noqa: T201
            f"Error: {count} problem{'s' if count > 1 else ''} in the data must be mended first.",
            file=sys.stderr,
        )
        return
    print(f"Error: {error}", file=sys.stderr)  # noqa: T201


def _show(evaluation: Evaluation, as_json: bool, before: Iterable[str] = ()) -> None:
    """Print the scorecard in words, or the written JSON."""
    if as_json:
        record = json.loads(evaluation.scorecard_json.read_text(encoding="utf-8"))
        _print_json({**record, "report": str(evaluation.report)})
        return
    for line in (*before, *evaluation.summary):
        _print(line)
    _print(f"Report: {evaluation.report.resolve()}")


def _show_fingerprint(fingerprint: Fingerprint, as_json: bool) -> None:
    """Print what inspection found."""
    from rareseg.report.inventory import inventory_lines, inventory_record

    if as_json:
        _print_json(inventory_record(fingerprint))
        return
    for line in inventory_lines(fingerprint):
        _print(line)


if __name__ == "__main__":
    main()
