"""Command `serve`."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from rareseg.cli.app import app
from rareseg.cli.options.shared_options import Device
from rareseg.cli.terminal import print_line
from rareseg.errors import UsageError

TOKEN = "RARESEG_TOKEN"  # noqa: S105 - the variable's name, no token

_NEEDED = ("fastapi", "uvicorn", "prometheus_client", "python_multipart")


@app.command(epilog="Example: rareseg serve run --port 8000")
def serve(
    model: Annotated[
        Path,
        typer.Argument(
            help="A run's folder, its bundle/ alone or in one file, or an exported model.",
            show_default=False,
        ),
    ],
    host: Annotated[
        str, typer.Option("--host", help="127.0.0.1 answers this machine alone, 0.0.0.0 all.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")
    ] = 8000,
    workers: Annotated[
        int, typer.Option("--workers", min=1, help="Processes, each with a model of its own.")
    ] = 1,
    threads: Annotated[
        int, typer.Option("--threads", min=0, help="Threads a process computes with; 0 takes all.")
    ] = 0,
    queue: Annotated[
        int, typer.Option("--queue", min=1, help="Requests that may wait in each process.")
    ] = 16,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.001, help="Time for a request to be answered.")
    ] = 60.0,
    megabytes: Annotated[
        float, typer.Option("--megabytes", min=0.001, help="The largest request.")
    ] = 64.0,
    megapixels: Annotated[
        float, typer.Option("--megapixels", min=0.000001, help="The largest image.")
    ] = 100.0,
    memory: Annotated[
        str, typer.Option("--memory", metavar="SIZE", help="The largest image, in its values.")
    ] = "2GB",
    watch: Annotated[
        Path | None,
        typer.Option(
            "--watch", help="What `monitor --out` wrote: GET /metrics tells what it has found."
        ),
    ] = None,
    device: Device = "cpu",
) -> None:
    """Answer over HTTP: an image in, flags, objects and masks out.

    POST /predict takes the form field `file`. Where the variable RARESEG_TOKEN is set, its value
    must come with every request but GET /health.
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"serve needs what is not installed ({', '.join(missing)}): pip install "
            "'rareseg[serve]'."
        )
    from rareseg.serving.service_options import ServiceOptions
    from rareseg.serving.service_process import open_socket
    from rareseg.serving.service_process import serve as serve_model
    from rareseg_runner.memory_limit import parse_size

    options = ServiceOptions(
        model=model,
        device=device,
        token=os.environ.get(TOKEN, ""),
        largest_bytes=int(megabytes * 1e6),
        largest_pixels=int(megapixels * 1e6),
        memory=parse_size(memory),
        queue=queue,
        seconds=seconds,
        threads=threads,
        watch=watch,
    )
    with open_socket(host, port) as listening:
        taken = listening.getsockname()[1]
        print_line(f"http://{host}:{taken}/predict takes images; Ctrl-C ends.")
        serve_model(options, listening, workers=workers)
