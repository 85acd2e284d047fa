"""Make names of files and folders of names that people and files give."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rareseg.errors import DataError

_NOT_IN_NAMES = re.compile(r'[/\\:*?"<>|\x00-\x1f\x7f]')
"""What some system does not allow in a name, or reads as something else."""


_RESERVED = frozenset(
    ("con", "prn", "aux", "nul", *(f"{port}{k}" for port in ("com", "lpt") for k in range(1, 10)))
)
"""Names that mean a device on Windows, whatever ending they have."""


def clean_name(text: str) -> str:
    """Return a text as one name of a file or folder, on any system.

    Separators and what Windows does not allow become underscores, and so does a dot in front, which
    hides a file or leads out of the folder; a device of Windows gets one in front. An empty text is
    one underscore.
    """
    name = _NOT_IN_NAMES.sub("_", text).rstrip(" .")
    if name.partition(".")[0].lower() in _RESERVED:
        return f"_{name}"
    return f"_{name[1:]}" if not name or name.startswith(".") else name


def clean_path(text: str) -> str:
    """Return a text as the path of a result: folders and a name, each as :func:`clean_name`.

    Parts that are empty, ``.`` or ``..`` are left out, so that it never leads out of its folder.
    """
    parts = [clean_name(part) for part in text.split("/") if part.strip(" .")]
    return "/".join(parts) or "_"


def require_own_folders(names: Iterable[str]) -> None:
    """Raise :class:`DataError` where two regions would have one folder, capitals aside."""
    folders: dict[str, str] = {}
    for name in names:
        earlier = folders.setdefault(clean_name(name).lower(), name)
        if earlier != name:
            raise DataError(
                f"the regions '{earlier}' and '{name}' would both be written to the folder "
                f"'{clean_name(name)}'; rename one."
            )
