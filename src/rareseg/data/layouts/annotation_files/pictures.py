"""Find the pictures that annotation files name, and what many findings say in one line."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path, PurePosixPath

from rareseg.data.layouts.file_tree import FileTree
from rareseg.data.layouts.listing import ROLE_WORDS
from rareseg.data.records import Role
from rareseg_runner.formats import EMBEDDING, format_of, stem_of

_BESIDE = ("annotations", "annotation", "ann", "labels", "json", "jsons")
"""Folders of annotation files, whose pictures lie beside the folder and not in it."""
_MASKS = re.compile(
    r"(?<![a-z])"
    r"(masks?|labels?|gt|ground_?truth|segmentations?|SegmentationClass|panoptic|pixelmaps)",
    re.IGNORECASE,
)


class Pictures:
    """The pictures of a folder, found by the names that annotation files give them.

    Of pictures with one name, the one whose folders fit best is taken: exporters write names with
    other folders before them, or with backslashes.
    """

    def __init__(self, tree: FileTree) -> None:
        root = tree.root.resolve()
        if tree.file is not None and root.name.lower() in _BESIDE:
            tree = FileTree(tree.root.parent if tree.root.name else root.parent)
        self.root = tree.root
        self.doubtful: list[str] = []
        """Names that fit several pictures equally."""
        self._by_name: defaultdict[str, list[str]] = defaultdict(list)
        self._by_stem: defaultdict[str, list[str]] = defaultdict(list)
        for folder, files in tree.walk():
            for name in files:
                if format_of(Path(name)) is not None:
                    where = f"{folder}/{name}" if folder else name
                    self._by_name[name.lower()].append(where)
                    self._by_stem[stem_of(Path(name)).lower()].append(where)
        self._taken: set[str] = set()

    def find(self, name: str, near: str = "") -> Path | None:
        """Return the picture of a name, which may have folders; None where there is none.

        ``near`` is a folder relative to the root, or a split's name: where several fit equally, one
        with a folder of that name is taken.
        """
        parts = [part for part in re.split(r"[/\\]+", name.strip()) if part not in ("", ".", "..")]
        if not parts:
            return None
        candidates = self._by_name.get(parts[-1].lower())
        if candidates is None and format_of(Path(parts[-1])) is None:
            candidates = self._by_stem.get(parts[-1].lower())
        if not candidates:
            return None
        hints = set(near.lower().split("/"))

        def fits(where: str) -> tuple[int, bool, bool, int, int]:
            own = where.split("/")
            same = 0
            for mine, theirs in zip(reversed(own[:-1]), reversed(parts[:-1]), strict=False):
                if mine.lower() != theirs.lower():
                    break
                same += 1
            outside = not _MASKS.search("/".join(own[:-1]))
            hinted = len(hints & {part.lower() for part in own[:-1]})
            return same, outside, own[-1] == parts[-1], hinted, -len(own)

        best = max(candidates, key=fits)
        if sum(fits(where) == fits(best) for where in candidates) > 1:
            self.doubtful.append(name)
        self._taken.add(best)
        return self.root / best

    def take(self, path: Path) -> None:
        """Count a picture as described."""
        self._taken.add(path.relative_to(self.root).as_posix())

    def others(self) -> list[Path]:
        """Return the pictures that nothing describes, in folders where others are described."""
        folders = {str(PurePosixPath(where).parent) for where in self._taken}
        return [
            self.root / where
            for places in self._by_name.values()
            for where in places
            if where not in self._taken and str(PurePosixPath(where).parent) in folders
        ]

    def unread(self, used: Collection[Path]) -> list[Path]:
        """Return the pictures that are not among ``used``."""
        found = (self.root / where for places in self._by_name.values() for where in places)
        return [path for path in found if path not in used]

    def masks_of(self, picture: Path) -> list[Path]:
        """Return files that look like masks of a picture: its name, in a folder of masks."""
        own = self.relative(picture)
        return [
            self.root / where
            for where in self._by_stem[stem_of(picture).lower()]
            if where != own and _MASKS.search(str(PurePosixPath(where).parent))
        ]

    def folders_of(self, path: Path) -> tuple[str, ...]:
        """Return the folders below the root in which an annotation file lies."""
        return path.resolve().relative_to(self.root.resolve()).parts[:-1]

    def relative(self, path: Path) -> str:
        """Return a picture's path below the root, for sentences."""
        return path.relative_to(self.root).as_posix()


def role_in(*texts: str) -> Role | None:
    """Return the split that words of file or folder names say; the first that says one."""
    for text in texts:
        for word in re.findall(r"[a-z]+", text.lower()):
            if word in ROLE_WORDS:
                return ROLE_WORDS[word]
    return None


def unique_ids(root: Path, paths: Sequence[Path]) -> list[str]:
    """Return an id for each picture: its stem, with its folders before it where stems repeat."""
    stems = Counter(_stem(path) for path in paths)
    return [
        stem
        if stems[stem := _stem(path)] == 1
        else "_".join([*path.relative_to(root).parts[:-1], stem])
        for path in paths
    ]


def _stem(path: Path) -> str:
    """Return a picture's name without its suffix, or that of the annotation file that holds it."""
    return path.stem if path.suffix.lower() == EMBEDDING else stem_of(path)


class Remarks:
    """Sentences about many things of a kind: one sentence with a count and two examples."""

    def __init__(self) -> None:
        self._examples: defaultdict[str, list[str]] = defaultdict(list)

    def add(self, sentence: str, example: str) -> None:
        """Count one more; ``sentence`` holds ``{}`` where the count and examples go."""
        self._examples[sentence].append(example)

    def sentences(self) -> tuple[str, ...]:
        """Return each sentence once."""
        return tuple(
            sentence.replace("{}", counted(examples))
            for sentence, examples in self._examples.items()
        )


def counted(examples: Sequence[str]) -> str:
    """Write how many there are and the first two: "12 (a, b, …)"."""
    shown = ", ".join(examples[:2]) + (", …" if len(examples) > 2 else "")
    return f"{len(examples)} ({shown})"


def listed(names: Iterable[str]) -> str:
    """Write names for a sentence, the first five at most."""
    names = list(names)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
