"""Registry of layouts: how the folders that people have are recognised and listed.

A layout is one record, registered once; ``inspect``, ``--layout`` and the contract suite know it
from then on::

    register(Layout("pairs", "images/ and masks/ with equal names", recognise, read))
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rareseg.data.layouts.file_tree import FileTree
from rareseg.data.layouts.listing import Listing
from rareseg.errors import DataError, UsageError, nearest


@dataclass(frozen=True)
class Layout:
    """One way in which data sets lie on a disk.

    ``title`` says in one line what lies where. ``recognise`` returns why a tree is of this layout,
    as words that finish "because …", or ``None``; it reads names, and small description files at
    most. ``read`` lists the cases; it raises DataError where nothing can be listed.
    ``instead_of`` names layouts that fit as well wherever this one does, so that they are not
    worth a word. ``lists_files`` is whether a table names every file, so that others in the folder
    are none of the data set's.
    """

    name: str
    title: str
    recognise: Callable[[FileTree], str | None]
    read: Callable[[FileTree], Listing]
    instead_of: tuple[str, ...] = ()
    lists_files: bool = False


@dataclass(frozen=True)
class Recognised:
    """The layout that was taken, why, and the names of others that would fit as well."""

    layout: Layout
    reason: str
    others: tuple[str, ...] = ()


_LAYOUTS: dict[str, Layout] = {}


def register(new: Layout) -> None:
    """Enter a layout; of several that fit, the one that was registered first is taken.

    Raises :class:`ValueError` for a name that is taken.
    """
    if new.name in _LAYOUTS:
        raise ValueError(f"The layout '{new.name}' is registered already.")
    _LAYOUTS[new.name] = new


def layouts() -> tuple[Layout, ...]:
    """Return the registered layouts in the order in which they are tried."""
    return tuple(_LAYOUTS.values())


def recognise(tree: FileTree, name: str | None = None) -> Recognised:
    """Return the layout of a tree: the first that fits, or the one that is called ``name``.

    Raises:
        DataError: no layout fits; the sentence says what the folder holds.
        UsageError: no layout has this name.
    """
    if name is not None:
        if name not in _LAYOUTS:
            allowed = ", ".join(_LAYOUTS)
            raise UsageError(
                f"--layout is {name!r}; allowed are {allowed}{nearest(name, list(_LAYOUTS))}."
            )
        return Recognised(_LAYOUTS[name], "it was asked for")
    fitting = [(one, reason) for one in _LAYOUTS.values() if (reason := one.recognise(tree))]
    if not fitting:
        raise DataError(
            f"{_content(tree)}; give a folder with images/ and masks/, or a manifest.csv with the "
            f"columns id, image and mask (or one of the layouts {', '.join(_LAYOUTS)})."
        )
    layout, reason = fitting[0]
    others = tuple(one.name for one, _ in fitting[1:] if one.name not in layout.instead_of)
    return Recognised(layout, reason, others)


def _content(tree: FileTree) -> str:
    """Say what a folder holds that no layout fits, for a sentence."""
    if tree.file is not None:
        return f"{tree.file} is neither a folder nor a file that describes a data set"
    entries: list[Path | str] = [f"{name}/" for name in tree.folders()]
    entries += tree.files()
    more = f" and {len(entries) - 5} more" if len(entries) > 5 else ""
    return f"{tree.root} holds {', '.join(map(str, entries[:5])) or 'nothing'}{more}"
