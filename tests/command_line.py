"""Call the command line within this process."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass

from rareseg.cli import main


@dataclass(frozen=True)
class Called:
    """What a call of the command line left behind."""

    code: int
    out: str
    err: str


def call_main(*arguments: object) -> Called:
    """Call `rareseg ARGUMENTS`; an error that is no sentence is raised."""
    out, err, before, code = io.StringIO(), io.StringIO(), sys.argv, 0
    sys.argv = ["rareseg", *map(str, arguments)]
    try:
        with redirect_stdout(out), redirect_stderr(err):
            main()
    except SystemExit as stop:
        code = int(stop.code or 0)
    finally:
        sys.argv = before
    return Called(code, out.getvalue(), err.getvalue())
