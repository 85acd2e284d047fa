"""The application that the commands belong to."""

from __future__ import annotations

from typing import Annotated

import typer

from rareseg.cli.terminal import print_line

app = typer.Typer(
    name="rareseg",
    help="Segmentation of rare foreground: sampling, training, decisions and evaluation.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _version(wanted: bool) -> None:
    if wanted:
        from rareseg import __version__

        print_line(f"rareseg {__version__}")
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
    """Segmentation of rare foreground: sampling, training, decisions and evaluation."""
