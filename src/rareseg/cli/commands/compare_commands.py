"""Commands `compare` and `search`."""

from __future__ import annotations

from typing import Annotated

import typer

from rareseg.cli.app import app
from rareseg.cli.options.option_groups import grouped
from rareseg.cli.options.shared_options import AsJson, Data, Out
from rareseg.cli.options.study_options import StudyArguments
from rareseg.cli.terminal import bar, print_json, print_line, say_to


@app.command(
    epilog="Example: rareseg compare data/ --strategies random,balanced,hard --seeds 3 --out table"
)
@grouped
def compare(
    data: Data,
    out: Out,
    *,
    strategies: Annotated[
        str,
        typer.Option(
            "--strategies", metavar="NAME,NAME", help="Sampling strategies, one row each."
        ),
    ] = "",
    rows: Annotated[
        list[str] | None,
        typer.Option(
            "--row",
            metavar="NAME:KEY=VALUE,...",
            help="Any other row, such as 'more:sampling.positive_share=0.8'.",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Trainings of each row.")] = 1,
    folds: Annotated[
        int, typer.Option("--folds", min=1, help="1: the split; more: each fold is tested once.")
    ] = 1,
    candidate: Annotated[
        str,
        typer.Option("--candidate", help="A row to test for non-inferiority in every column."),
    ] = "",
    margin: Annotated[
        float, typer.Option("--margin", help="By how much the candidate may be worse.")
    ] = 0.01,
    study: StudyArguments,
    as_json: AsJson = False,
) -> None:
    """Train rows that differ in one thing on the same cases and steps; resumable.

    The first row is what the others are compared with, with paired intervals over groups and seeds.
    Start the same command on several machines with one --storage, and they share the work.
    """
    import json

    from rareseg.report.pages.comparison_page import comparison_lines, non_inferiority_sentence
    from rareseg.study.compare import ComparisonOptions
    from rareseg.study.compare import compare as compare_rows
    from rareseg.study.comparison_rows import make_rows

    names = [part.strip() for part in strategies.split(",") if part.strip()]
    compared = compare_rows(
        ComparisonOptions(
            study.study(data),
            rows=make_rows(names, rows or []),
            seeds=seeds,
            folds=folds,
            candidate=candidate,
            margin=margin,
        ),
        out,
        track=bar,
        say=say_to(as_json),
    )
    if as_json:
        record = json.loads(compared.table_json.read_text(encoding="utf-8"))
        print_json({**record, "page": str(compared.page)})
    else:
        for line in comparison_lines(compared.columns):
            print_line(line)
        for claim in compared.claims:
            print_line(non_inferiority_sentence(claim))
        print_line(f"Page: {compared.page.resolve()}")
    if compared.errors:
        raise typer.Exit(1)


@app.command(
    epilog="Example: rareseg search data/ --range training.learning_rate=1e-4..1e-2:log --out found"
)
@grouped
def search(
    data: Data,
    out: Out,
    *,
    ranges: Annotated[
        list[str] | None,
        typer.Option("--range", metavar="KEY=LOW..HIGH[:log]", help="A number to vary."),
    ] = None,
    choices: Annotated[
        list[str] | None,
        typer.Option("--choice", metavar="KEY=A|B", help="A value to choose."),
    ] = None,
    trials: Annotated[int, typer.Option("--trials", min=1, help="Recipes to try.")] = 30,
    maximize: Annotated[
        str, typer.Option("--maximize", help="dice, f-beta, youden, or cost, as `tune` takes it.")
    ] = "dice",
    beta: Annotated[float, typer.Option("--beta", min=0.0, help="Of f-beta.")] = 1.0,
    cost_false_positive: Annotated[
        float, typer.Option("--cost-false-positive", min=0.0, help="Of cost.")
    ] = 1.0,
    cost_false_negative: Annotated[
        float, typer.Option("--cost-false-negative", min=0.0, help="Of cost.")
    ] = 1.0,
    level: Annotated[
        str, typer.Option("--level", help="voxel, object or image: of youden and cost.")
    ] = "voxel",
    region: Annotated[
        str | None, typer.Option("--region", help="One region; the mean over all if not given.")
    ] = None,
    study: StudyArguments,
    as_json: AsJson = False,
) -> None:
    """Search the recipe whose operating point reaches most on validation cases; resumable.

    Without --range and --choice: strategy, share of positives, loss, learning rate, weight decay
    and dropout. The test cases are not looked at: train with --recipe best.yaml to see more.
    """
    from rareseg.decision.operating_point import Goal
    from rareseg.study.recipe_search import SearchGoal
    from rareseg.study.recipe_search import search as search_recipe
    from rareseg.study.search_space import make_space

    found = search_recipe(
        SearchGoal(
            study.study(data),
            space=make_space(ranges or [], choices or []),
            goal=Goal(
                maximize,  # type: ignore[arg-type]
                beta=beta,
                cost_false_positive=cost_false_positive,
                cost_false_negative=cost_false_negative,
                level=level,  # type: ignore[arg-type]
            ),
            trials=trials,
            region=region,
        ),
        out,
        track=bar,
        say=say_to(as_json),
    )
    if as_json:
        print_json(found.to_dict())
        return
    print_line(
        f"The best of {found.n_recorded} trainings ({found.n_given_up} more were given up, "
        f"{found.n_failed} failed) reaches {found.value:.3f} on the validation cases:"
    )
    for key, value in found.values.items():
        print_line(f"  {key}: {value}")
    print_line(f"All trials: {found.trials_csv}")
    print_line(f"What it is worth on cases that chose nothing: train with --recipe {found.recipe}")
