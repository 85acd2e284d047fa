"""SimpleITK, imported when it is first used: it takes 90 MB, which photographs do without."""

from __future__ import annotations

import importlib
from typing import Any


def itk_library() -> Any:
    """Return the module SimpleITK; it is imported once, whichever thread asks first."""
    return importlib.import_module("SimpleITK")
