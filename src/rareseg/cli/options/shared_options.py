"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[
    Path,
    typer.Argument(
        help="A folder with images and masks, or a manifest; `inspect` says how it is read.",
        show_default=False,
    ),
]
Run = Annotated[
    Path, typer.Argument(help="The folder that `train --out` wrote.", show_default=False)
]
RunOrBundle = Annotated[
    Path,
    typer.Argument(
        metavar="RUN",
        help="A run's folder, its bundle/ alone or in one file, or an exported model.",
        show_default=False,
    ),
]
OUTSIDE = "The scores of another tool"

OptionalRun = Annotated[
    Path | None,
    typer.Argument(help="The folder that `train --out` wrote.", show_default=False),
]
OptionalData = Annotated[
    Path | None, typer.Argument(help="Data with masks, as `train` takes it.", show_default=False)
]
Probabilities = Annotated[
    Path | None,
    typer.Option(
        "--probabilities",
        help="Folder with a file for each case, in place of a run.",
        rich_help_panel=OUTSIDE,
    ),
]
References = Annotated[
    Path | None,
    typer.Option(
        "--references", help="The data with masks that they belong to.", rich_help_panel=OUTSIDE
    ),
]
SplitFile = Annotated[
    Path | None, typer.Option("--split", help="A CSV with id and role.", rich_help_panel=OUTSIDE)
]
OutsideOut = Annotated[
    Path | None, typer.Option("--out", help="Where to write.", rich_help_panel=OUTSIDE)
]
Verify = Annotated[
    bool,
    typer.Option(
        "--verify",
        help="Read every file again, also where size and time say that it did not change.",
    ),
]
Region = Annotated[
    str | None, typer.Option("--region", help="One region alone; all where not given.")
]
Out = Annotated[Path, typer.Option("--out", help="Folder to write to.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines instead of words.")]
Device = Annotated[
    str, typer.Option("--device", help="Where to compute, such as cpu, cuda or cuda:1.")
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Set a value.")
]

RecipeFile = Annotated[
    Path | None, typer.Option("--recipe", help="A recipe file, complete or partial.")
]
Accelerator = Annotated[str, typer.Option("--accelerator", help="auto, cpu, cuda or mps.")]
Steps = Annotated[
    int | None, typer.Option("--steps", min=1, help="Steps of each training; planned if not given.")
]
Parallel = Annotated[
    int, typer.Option("--parallel", min=1, help="Trainings at a time on this machine.")
]
Storage = Annotated[
    str | None,
    typer.Option("--storage", metavar="URL", help="A database that several machines share."),
]
StudyName = Annotated[
    str, typer.Option("--name", help="What it is called in that database; as --out if empty.")
]
