"""Command `consensus`: agreement of annotators, and one mask of many."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from rareseg.cli.app import app
from rareseg.cli.options.reading_options import GroupFrom
from rareseg.cli.options.shared_options import AsJson, Data, Out
from rareseg.cli.terminal import bar, print_json, print_line

MEASURED = "How agreement is measured"


@app.command(epilog="Example: rareseg consensus data/ --out agreed --method staple")
def consensus(
    data: Data,
    out: Out,
    method: Annotated[
        str, typer.Option("--method", help="majority, or staple (who is reliable weighs more).")
    ] = "majority",
    ambiguous: Annotated[
        str,
        typer.Option(
            "--ambiguous", help="What too few agree on: ignore (counts nowhere), or keep."
        ),
    ] = "ignore",
    minimum_reviews: Annotated[
        int, typer.Option("--minimum-reviews", help="Cases with fewer are listed and left out.")
    ] = 3,
    keep_few: Annotated[
        bool, typer.Option("--keep-few", help="List them, but do not leave them out.")
    ] = False,
    certain: Annotated[
        float,
        typer.Option(
            "--certain",
            help="Share of annotators who must say the same of a voxel that is not ambiguous.",
            rich_help_panel=MEASURED,
        ),
    ] = 0.75,
    tolerance: Annotated[
        float,
        typer.Option(
            "--tolerance", help="Millimetres within which outlines agree.", rich_help_panel=MEASURED
        ),
    ] = 1.0,
    margin: Annotated[
        float,
        typer.Option(
            "--margin",
            help="Millimetres around what anyone drew that are near it.",
            rich_help_panel=MEASURED,
        ),
    ] = 5.0,
    group_from: GroupFrom = None,
    as_json: AsJson = False,
) -> None:
    """Unite the masks of several annotators, and say how far they agree.

    Masks stand in a manifest's columns mask_NAME. What is written can be trained on as it is.
    """
    from rareseg.data.dataset import open_annotations
    from rareseg.quality.annotators import (
        AgreementSettings,
        ConsensusSettings,
        agreement_record,
        write_consensus,
    )
    from rareseg.report.wording.annotator_agreement import agreement_lines, consensus_lines

    words: Any = {"method": method, "ambiguous": ambiguous}
    settings = ConsensusSettings(
        **words,
        minimum_reviews=minimum_reviews,
        keep_few=keep_few,
        agreement=AgreementSettings(tolerance, margin, certain),
    )
    dataset = open_annotations(data, group_from=group_from)
    agreed = write_consensus(dataset, out, settings, track=bar)
    if as_json:
        print_json({**agreement_record(agreed), "out": str(out)})
        return
    for line in (*agreement_lines(agreed), *consensus_lines(agreed, out)):
        print_line(line)
