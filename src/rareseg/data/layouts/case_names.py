"""Give cases names and groups by where their files lie."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rareseg.data.layouts.names import name_key, nfc


def unique_names(
    paths: Sequence[Sequence[str]], roles: Sequence[str | None] | None = None
) -> list[str]:
    """Return a name for each path of names, the last being the file's own.

    The file's own name where no two are alike. Where all files are called alike, the folder's.
    Otherwise as many of the outer names as are needed, joined by ``_``; with ``roles``, those come
    before names that would stay alike. What then stays alike is left so. Unicode's form NFC.
    """
    names = _by_folders(paths)
    if roles is None or _differ(names):
        return names
    counts = Counter(map(name_key, names))
    return [
        f"{role}_{name}" if role and counts[name_key(name)] > 1 else name
        for role, name in zip(roles, names, strict=True)
    ]


def _by_folders(paths: Sequence[Sequence[str]]) -> list[str]:
    own = [path[-1] for path in paths]
    if _differ(own):
        return [nfc(name) for name in own]
    folders = [path[:-1] for path in paths]
    if all(folders) and len(set(map(name_key, own))) == 1:
        return _by_folders(folders)
    most = max(map(len, paths), default=1)
    for depth in range(2, most + 1):
        joined = ["_".join(path[-depth:]) for path in paths]
        if _differ(joined):
            return [nfc(name) for name in joined]
    return [nfc("_".join(path)) for path in paths]


def outer_groups(rests: Sequence[Sequence[str]]) -> list[str | None]:
    """Return the outermost folder of each case as its group: all None where there is only one."""
    groups = [rest[0] if rest else None for rest in rests]
    return groups if len(set(groups)) > 1 else [None] * len(groups)


def _differ(names: Sequence[str]) -> bool:
    return max(Counter(map(name_key, names)).values(), default=1) == 1
