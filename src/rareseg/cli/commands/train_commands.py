"""Commands `demo`, `inspect`, `plan`, `preview` and `train`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from rareseg.cli.app import app
from rareseg.cli.options.option_groups import grouped, within_memory
from rareseg.cli.options.reading_options import ReadingOptions
from rareseg.cli.options.shared_options import (
    Accelerator,
    AsJson,
    Data,
    Out,
    RecipeFile,
    Settings,
    Verify,
)
from rareseg.cli.terminal import bar, print_json, print_line, say_to, show, show_inventory
from rareseg.errors import ProblemsError


@app.command(epilog="Example: rareseg demo --out demo")
def demo(
    out: Out = Path("demo"),
    as_json: AsJson = False,
) -> None:
    """Built-in data → model → operating point → report, in minutes on a laptop."""
    from rareseg.run.demo import run_demo

    result = run_demo(out, track=bar, say=say_to(as_json))
    show(result.evaluation, as_json, before=result.lines)


@app.command(epilog="Example: rareseg inspect data/ --group-from '(patient\\d+)'")
@within_memory
@grouped
def inspect(
    data: Data,
    reading: ReadingOptions,
    as_json: AsJson = False,
) -> None:
    """Show how the data are read and what they hold: classes, shares, groups, problems."""
    from rareseg.data.checks.fingerprint import inspect_dataset

    dataset = reading.data(data).open()
    fingerprint = inspect_dataset(dataset, track=bar)
    # Words about training load torch, whose memory stands beside no image that way.
    from rareseg.report.wording.inspection import blocks_training

    show_inventory(dataset, fingerprint, as_json)
    if blocks_training(fingerprint):
        raise typer.Exit(1)


@app.command(epilog="Example: rareseg plan data/ --out recipe.yaml")
@grouped
def plan(
    data: Data,
    reading: ReadingOptions,
    out: Out = Path("recipe.yaml"),
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Write a recipe for the data, every choice with its reason."""
    from rareseg.data.checks.fingerprint import inspect_dataset
    from rareseg.data.checks.problems import summarise
    from rareseg.data.folder_lock import sole_writer
    from rareseg.errors import OutputError
    from rareseg.prediction.networks import require_fitting_windows
    from rareseg.recipe import parse_settings, to_yaml
    from rareseg.training.plan import check_overrides, plan_recipe
    from rareseg.training.plan.small_objects import small_objects_sentence
    from rareseg_runner.atomic_files import atomic_write

    overrides = parse_settings(settings or [])
    check_overrides(overrides, source="--set")
    with sole_writer(out, beside=True):
        if out.exists():
            raise OutputError(f"{out} exists already; name another file with --out, or remove it.")
        fingerprint = inspect_dataset(reading.data(data).open(), track=bar)
        if fingerprint.problems:
            raise ProblemsError(fingerprint.problems)
        made = plan_recipe(fingerprint, overrides)
        require_fitting_windows(made.recipe)
        with atomic_write(out) as temporary:
            temporary.write_text(to_yaml(made.recipe, made.reasons), encoding="utf-8")
    if as_json:
        values = made.recipe.model_dump(mode="json")
        print_json({"file": str(out), "recipe": values, "reasons": dict(made.reasons)})
    else:
        for line in (*summarise(fingerprint.questions), small_objects_sentence(fingerprint)):
            if line:
                print_line(f"! {line}")
        print_line(f"The recipe and its reasons are in {out}; train with --recipe {out}.")


@app.command(
    epilog="Example: rareseg preview data/ --out preview.png --set augmentation.elastic=0.3"
)
@grouped
def preview(
    data: Data,
    reading: ReadingOptions,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE.png", help="The picture.", show_default=False)
    ],
    recipe: RecipeFile = None,
    settings: Settings = None,
    patches: Annotated[int, typer.Option("--patches", help="Originals to show.")] = 6,
    seed: Annotated[int, typer.Option("--seed", help="Another seed shows others.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Show patches before and after augmentation, with the outlines of their masks."""
    from rareseg.run.preview import VERSIONS
    from rareseg.run.preview import preview as draw_preview
    from rareseg.run.setup.prepare import TrainingOptions

    made = draw_preview(
        reading.data(data),
        out,
        training_options=TrainingOptions(recipe, settings or []),
        patches=patches,
        seed=seed,
        track=bar,
    )
    if as_json:
        print_json(made.to_dict())
        return
    print_line(f"{out} shows {patches} patches, {made.shown}, each beside {VERSIONS} versions.")
    print_line(
        f"Foreground {made.before.foreground:.2%} of the voxels before and "
        f"{made.after.foreground:.2%} after augmentation; ignored {made.before.ignored:.2%} and "
        f"{made.after.ignored:.2%}."
    )


@app.command(epilog="Example: rareseg train data/ --out run --budget 20min")
@within_memory
@grouped
def train(
    data: Data,
    reading: ReadingOptions,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder of the run; 'NAME-run' beside you where not given."),
    ] = None,
    recipe: RecipeFile = None,
    settings: Settings = None,
    budget: Annotated[
        str | None, typer.Option("--budget", help="Time for everything, such as 20min or 2h.")
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option("--folds", min=2, help="Cross-validation: choose points on all cases."),
    ] = None,
    accelerator: Accelerator = "auto",
    devices: Annotated[int, typer.Option("--devices", min=1, help="Devices on each node.")] = 1,
    nodes: Annotated[int, typer.Option("--nodes", min=1, help="Machines.")] = 1,
    verify: Verify = False,
    as_json: AsJson = False,
) -> None:
    """Train, choose operating points and score the test cases; called again, it resumes."""
    from rareseg.run.setup.prepare import Machine, TrainingOptions
    from rareseg.run.train import train as train_run

    out = out or Path(f"{data.resolve().name}-run")
    chosen_folds = [] if folds is None else [f"split.folds={folds}"]
    evaluation = train_run(
        replace(reading.data(data), verify=verify),
        out,
        training_options=TrainingOptions(recipe, [*(settings or []), *chosen_folds], budget),
        machine=Machine(accelerator, devices, nodes),
        track=bar,
        say=say_to(as_json),
    )
    if evaluation is not None:
        show(evaluation, as_json)
