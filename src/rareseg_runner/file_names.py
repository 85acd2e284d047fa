"""Make names of files and folders of names that people and files give."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from rareseg_runner.errors import DataError

_NOT_IN_NAMES = re.compile(r'[/\\:*?"<>|\x00-\x1f\x7f\ud800-\udfff]')
"""What some system does not allow in a name, or reads as something else, and what is no text."""


_TURNS_TEXT = re.compile("[\u202a-\u202e\u2066-\u2069]")
"""Unseen characters by which a name can read as another."""

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


def alike_names(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Return names that some system takes for one: capitals and how accents are written aside.

    Each tuple holds two names or more, in the order given.
    """
    found: dict[str, dict[str, None]] = {}
    for name in names:
        found.setdefault(_key(name), {})[name] = None
    return [tuple(own) for own in found.values() if len(own) > 1]


def name_fault(name: str) -> str | None:
    """Say why a name of a case, class or region cannot be taken; None where it can.

    Characters that only some system does not allow in names of files are no fault: results are
    written under :func:`clean_name`.
    """
    if not name.strip():
        return "is empty"
    if any(unicodedata.category(character) == "Cc" for character in name):
        return "holds control characters"
    if _TURNS_TEXT.search(name):
        return "holds characters that turn the direction of text"
    if ".." in re.split(r"[/\\]", name):
        return "leads out of its folder ('..')"
    return None


def require_names(names: Iterable[str], what: str) -> None:
    """Raise :class:`DataError` where a name cannot be taken, or two would have one folder.

    ``what`` says what is named, as "class" or "region".
    """
    names = list(dict.fromkeys(names))
    for name in names:
        fault = name_fault(name)
        if fault is not None:
            raise DataError(f"the {what} {name!r} {fault}; rename it.")
    folders: dict[str, str] = {}
    for name in names:
        earlier = folders.setdefault(_key(clean_name(name)), name)
        if earlier != name:
            raise DataError(
                f"the {what}s '{earlier}' and '{name}' would both be written to the folder "
                f"'{clean_name(name)}'; rename one."
            )


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
