"""The command line: thin commands around functions, one sentence for every error.

Imports of what works stand inside the commands, so that ``rareseg --help`` loads neither torch nor
MONAI nor numba. Commands are listed in the order in which their modules are imported here.
"""

from __future__ import annotations

import io
import logging
import os
import sys

import rareseg.cli.commands.train_commands  # isort: skip
import rareseg.cli.commands.audit_command  # isort: skip
import rareseg.cli.commands.tune_command  # isort: skip
import rareseg.cli.commands.calibrate_command  # isort: skip
import rareseg.cli.commands.evaluate_commands  # isort: skip
import rareseg.cli.commands.monitor_command  # isort: skip
import rareseg.cli.commands.compare_commands  # isort: skip
import rareseg.cli.commands.annotator_commands  # isort: skip
import rareseg.cli.commands.suspects_command  # isort: skip
import rareseg.cli.commands.review_commands  # isort: skip
import rareseg.cli.commands.export_commands  # isort: skip
import rareseg.cli.commands.serve_command  # noqa: F401 - importing registers the commands
from rareseg.cli.app import app
from rareseg.cli.terminal import complain
from rareseg.errors import RaresegError

__all__ = ["app", "main"]

INTERRUPTED = 130
"""The exit code that typer turns Ctrl-C into."""


def main() -> None:
    """Run the command line; errors that are meant for the user become one sentence."""
    _write_what_the_terminal_can()
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    try:
        app(args=arguments, standalone_mode=True)
    except RaresegError as error:
        if debug:
            raise
        complain(error)
        raise SystemExit(error.exit_code) from None
    except SystemExit as ended:
        if ended.code == INTERRUPTED:
            print("Stopped; call the same command again to go on.", file=sys.stderr)  # noqa: T201
        raise
    except BrokenPipeError:
        os._exit(1)


def _write_what_the_terminal_can() -> None:
    """Write ``?`` for characters that the terminal's encoding lacks, where print would stop."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
