"""Command `suspects`."""

from __future__ import annotations

from typing import Annotated

import typer

from rareseg.cli.app import app
from rareseg.cli.options.shared_options import AsJson, Device, Run
from rareseg.cli.terminal import bar, print_json, print_line, say_to


@app.command(epilog="Example: rareseg suspects run --most 20")
def suspects(
    run: Run,
    most: Annotated[int, typer.Option("--most", min=1, help="Shown of each kind.")] = 10,
    device: Device = "cpu",
    as_json: AsJson = False,
) -> None:
    """List where labels may be wrong: missed, spurious, misplaced or misnamed objects.

    Each case is judged by a network that has not seen it, so train with --folds. All that is found
    stands in RUN/suspects.json.
    """
    from dataclasses import asdict

    from rareseg.report.wording.suspect_list import suspect_lines
    from rareseg.run.suspects import find_suspects

    found = find_suspects(run, device=device, track=bar, say=say_to(as_json))
    if as_json:
        print_json(
            {"scope": found.scope, "suspects": [asdict(suspect) for suspect in found.suspects]}
        )
        return
    for line in suspect_lines(found.suspects, most=most):
        print_line(line)
    print_line(f"All {len(found.suspects)} suspects: {found.file.resolve()}")
