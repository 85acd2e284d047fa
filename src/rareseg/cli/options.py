"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rareseg.errors import UsageError

if TYPE_CHECKING:
    from rareseg.run.folder import DataOptions

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
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Set a value.")
]


def data_options(data: Path, group_from: str | None, missing_mask: str) -> DataOptions:
    """Return how the data is to be opened; raise UsageError for an unknown word."""
    from rareseg.run.folder import DataOptions

    if missing_mask not in ("error", "negative"):
        raise UsageError(f"--missing-mask is {missing_mask!r}; allowed are error and negative.")
    return DataOptions(str(data), group_from, missing_mask)
