"""Run a trained model: read an image, score it, decide.

    from rareseg_runner import load
    model = load("model/")
    found = model("image.png")

This package needs neither torch nor MONAI nor numba, and is a wheel of its own, ``rareseg-runner``.
rareseg imports it, so that what reads, prepares and decides exists once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rareseg_runner.decision.detection import Detection as Detection
    from rareseg_runner.exported_model import ExportedModel as ExportedModel
    from rareseg_runner.exported_model import load as load

__version__ = "0.1.0"

_PLACES = {
    "Detection": "rareseg_runner.decision.detection",
    "ExportedModel": "rareseg_runner.exported_model",
    "load": "rareseg_runner.exported_model",
}

__all__ = sorted([*_PLACES, "__version__"])


def __getattr__(name: str) -> Any:
    """Import a public name from the module that it lives in."""
    if name not in _PLACES:
        raise AttributeError(f"module 'rareseg_runner' has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
