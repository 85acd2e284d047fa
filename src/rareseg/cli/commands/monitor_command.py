"""Command `monitor`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rareseg.cli.app import app
from rareseg.cli.options.option_groups import within_memory
from rareseg.cli.options.shared_options import AsJson, Device, Out, RunOrBundle
from rareseg.cli.terminal import bar, complain, print_failures, print_json, print_line, say_to
from rareseg.errors import RaresegError

CHANGED, NOT_DONE = 1, 2
"""Exit codes: 1 is said of a change alone, so that whatever failed is told from one."""


@app.command(epilog="Example: rareseg monitor run new_images/ --out watch")
@within_memory
def monitor(
    run: RunOrBundle,
    images: Annotated[Path, typer.Argument(help="An image or a folder.", show_default=False)],
    out: Out,
    reference: Annotated[
        Path | None,
        typer.Option(
            "--reference",
            help="Images to hold the stream against, such as its first weeks; the run's own "
            "held-out cases where not given.",
        ),
    ] = None,
    group_from: Annotated[
        str | None,
        typer.Option(
            "--group-from",
            help=r"A regular expression that finds the group in an id, such as '(patient\d+)'.",
        ),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(
            "--label",
            metavar="GUARANTEE=BOUND",
            help="Draw groups to label for false-alarm-rate=0.05, false-negative-rate=0.1 or "
            "false-discovery=0.2.",
        ),
    ] = None,
    prevalence: Annotated[
        float | None,
        typer.Option(
            "--prevalence", help="Of --label: the share of the stream's images with the region."
        ),
    ] = None,
    compare_members: Annotated[
        bool,
        typer.Option(
            "--compare-members",
            help="Rank images by how far the networks of a mean disagree, too; as long again.",
        ),
    ] = False,
    device: Device = "cpu",
    as_json: AsJson = False,
) -> None:
    """Say without labels whether images are still like those that the decisions rest on.

    Called again with the next images it goes on from where it was. Exit code 0: no change found,
    1: changed, 2: the call is wrong, or the work could not be done.
    """
    from rareseg.run.monitor import monitor as watch
    from rareseg.run.watching.label_list import Labels

    try:
        report = watch(
            run,
            images,
            out,
            reference=reference,
            group_from=group_from,
            labels=None if label is None else Labels.of(label, prevalence),
            compare_members=compare_members,
            device=device,
            track=bar,
            say=say_to(as_json),
        )
    except RaresegError as error:
        if error.exit_code == NOT_DONE:
            raise
        complain(error)
        raise typer.Exit(NOT_DONE) from error
    if as_json:
        print_json(report.record())
    else:
        for line in report.lines():
            print_line(line)
    if report.failures:
        print_failures([f"{one.image}: {one.reason}" for one in report.failures])
    if report.changed:
        raise typer.Exit(CHANGED)
    if report.failures:
        raise typer.Exit(NOT_DONE)
