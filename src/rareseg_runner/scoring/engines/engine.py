"""Record of an engine, and the register of all."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Literal

from rareseg_runner.errors import UsageError, WorkError, nearest
from rareseg_runner.scoring.engine_windows import EngineNetwork

Precision = Literal["32", "bf16"]


@dataclass(frozen=True)
class Engine:
    """What computes exported networks.

    ``package`` is the module that it needs and ``extra`` the name of the extra that installs it.
    ``suffixes`` are those of the files of one network, the one that is opened first.
    ``has_bf16`` says whether it multiplies bfloat16 on this processor; ``open`` opens the file of a
    network in a precision, on a number of threads (None: as many as it chooses).
    """

    name: str
    package: str
    extra: str
    suffixes: tuple[str, ...]
    has_bf16: Callable[[], bool]
    open: Callable[[Path, Precision, int | None], EngineNetwork]

    @property
    def version(self) -> str:
        """The version of its package, without a build's number."""
        return str(self.module().__version__).split("-")[0]

    def module(self) -> ModuleType:
        """Return its package; raises :class:`WorkError` where it is not installed."""
        try:
            return importlib.import_module(self.package)
        except ImportError as error:
            raise WorkError(
                f"The engine {self.name} is not installed: pip install "
                f"'rareseg-runner[{self.extra}]' (or 'rareseg[{self.extra}]') installs it."
            ) from error

    def computes_in(self, precision: Precision) -> Precision:
        """Return the precision in which it computes here what is asked for in another."""
        return "bf16" if precision == "bf16" and self.has_bf16() else "32"


_ENGINES: dict[str, Engine] = {}


def register_engine(engine: Engine) -> None:
    """Add an engine to the register."""
    _ENGINES[engine.name] = engine


def engines() -> dict[str, Engine]:
    """Return all engines by name."""
    return dict(_ENGINES)


def engine_named(name: str) -> Engine:
    """Return an engine; raises :class:`UsageError` for an unknown name."""
    if name not in _ENGINES:
        raise UsageError(
            f"The engine '{name}' is unknown; allowed are {', '.join(_ENGINES)}"
            f"{nearest(name, _ENGINES)}."
        )
    return _ENGINES[name]
