"""Run a service: one process, or several that share a port."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import tempfile
from collections.abc import Iterator
from typing import Any

import uvicorn

from rareseg.errors import UsageError
from rareseg.prediction.detector import load
from rareseg.serving.service import OPTIONS, make_service
from rareseg.serving.service_metrics import MULTIPROCESS
from rareseg.serving.service_options import ServiceOptions
from rareseg.serving.watch_metrics import require_watch

_FACTORY = "rareseg.serving.service:app_of_environment"


def open_socket(host: str, port: int) -> socket.socket:
    """Return a socket that listens; ``port`` 0 takes a free one.

    Raises :class:`UsageError` where the address is taken or not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"--host {host} --port {port} cannot be used ({error}); another service may run "
            "there: name another port, or 0 for a free one."
        ) from error


def serve(options: ServiceOptions, listening: socket.socket, *, workers: int = 1) -> None:
    """Answer requests until the process is told to end (SIGINT, SIGTERM); answers are finished.

    With several ``workers`` each has a model of its own; one that dies is replaced. Raises
    :class:`BundleError` where the model cannot be read.
    """
    logging.getLogger("rareseg.serving").setLevel(logging.INFO)
    limits: dict[str, Any] = {
        "log_level": "warning",
        "access_log": False,
        "server_header": False,
        "timeout_graceful_shutdown": int(options.seconds) + 1,
    }
    if workers == 1:
        service = make_service(options)
        config = uvicorn.Config(service.app(), lifespan="on", **limits)
        uvicorn.Server(config).run(sockets=[listening])
        return
    detector = load(options.model)  # What cannot be read is said once, here.
    if options.watch is not None:
        require_watch(options.watch, detector.model.digest)
    host, port = listening.getsockname()[:2]
    listening.close()  # The supervisor opens the port itself.
    with _environment(options):
        uvicorn.run(
            _FACTORY,
            factory=True,
            host=host,
            port=port,
            workers=workers,
            lifespan="on",
            # One that computes may answer late; it is not to be taken for one that hangs.
            timeout_worker_healthcheck=int(options.seconds) + 30,
            **limits,
        )


@contextlib.contextmanager
def _environment(options: ServiceOptions) -> Iterator[None]:
    """Set what worker processes inherit, and remove it again."""
    with tempfile.TemporaryDirectory(prefix="rareseg-metrics-") as counts:
        values = {OPTIONS: options.to_json(), MULTIPROCESS: counts}
        os.environ.update(values)
        try:
            yield
        finally:
            for name in values:
                os.environ.pop(name, None)
