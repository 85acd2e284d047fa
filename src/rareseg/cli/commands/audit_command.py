"""Command `audit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rareseg.cli.app import app
from rareseg.cli.options.option_groups import grouped, within_memory
from rareseg.cli.options.reading_options import ReadingOptions
from rareseg.cli.options.shared_options import (
    AsJson,
    Data,
    Out,
)
from rareseg.cli.terminal import bar, print_json, print_line


@app.command(epilog="Example: rareseg audit data/ --out audit --write-manifest grouped.csv")
@within_memory
@grouped
def audit(
    data: Data,
    reading: ReadingOptions,
    out: Out,
    allow: Annotated[
        list[str] | None,
        typer.Option("--allow", metavar="FINDING", help="A finding that is intended; repeatable."),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(
            "--write-manifest",
            metavar="FILE.csv",
            help="Write a manifest whose groups keep look-alikes together.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check labels and split: leakage, contradicting masks, negatives, outlying cases.

    Writes audit.html and audit.json. Exit code 1 where something must be fixed before training.
    """
    from rareseg.report.pages.audit_page import audit_lines
    from rareseg.run.audit import audit as audit_data

    done = audit_data(
        reading.data(data),
        out,
        allow=allow or (),
        manifest=manifest,
        track=bar,
    )
    if as_json:
        print_json({**done.audit.to_dict(), "page": str(done.page)})
    else:
        for line in audit_lines(done.audit):
            print_line(line)
        if done.manifest is not None:
            print_line(f"Manifest with proposed groups: {done.manifest.resolve()}")
        elif manifest is not None:
            print_line(f"{manifest} was not written: mend what data-problems lists first.")
        print_line(f"Page: {done.page.resolve()}")
    if done.audit.stops:
        raise typer.Exit(1)
