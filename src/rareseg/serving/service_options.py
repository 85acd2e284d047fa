"""What a service serves, and its limits."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from rareseg.errors import UsageError


@dataclass(frozen=True)
class ServiceOptions:
    """The model of a service, how it computes, and what it refuses.

    ``model`` is what :func:`rareseg.load` takes. ``token``, where it is not "", must come with
    every request but ``/health``. ``largest_bytes`` limits the body of a request, before anything
    of it is decoded, ``largest_pixels`` the width times height times slices of an image, and
    ``memory`` the bytes of its values, as its header states them, before they are read.
    ``queue`` requests at most are worked on or wait at a time; each has ``seconds`` to be answered.
    ``threads`` is how many the network uses; 0 leaves that to torch. ``watch`` is the folder of a
    watch whose state is among the metrics.
    """

    model: Path
    device: str = "cpu"
    token: str = ""
    largest_bytes: int = 64_000_000
    largest_pixels: int = 100_000_000
    memory: int = 2_000_000_000
    queue: int = 16
    seconds: float = 60.0
    threads: int = 0
    watch: Path | None = None

    def __post_init__(self) -> None:
        for name in ("largest_bytes", "largest_pixels", "memory", "queue", "seconds"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} is {getattr(self, name)}; it must be above 0.")
        if self.threads < 0:
            raise UsageError(f"threads is {self.threads}; it must be 0 (all) or above.")
        if not self.token.isascii() or any(letter.isspace() for letter in self.token):
            raise UsageError(
                "The token holds a space or a letter beyond ASCII, which no header carries; "
                "choose letters, digits and signs alone."
            )

    def to_json(self) -> str:
        """Return the options as JSON, for the worker processes of one service."""
        watch = None if self.watch is None else str(self.watch)
        return json.dumps({**asdict(self), "model": str(self.model), "watch": watch})

    @classmethod
    def from_json(cls, text: str) -> ServiceOptions:
        """Read what :meth:`to_json` wrote."""
        content = json.loads(text)
        watch = content["watch"]
        paths = {"model": Path(content["model"]), "watch": None if watch is None else Path(watch)}
        return cls(**{**content, **paths})
