"""Pair masks with images by their names: one rule for the whole data set."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rareseg.data.layouts.folders.folder_words import IMAGE_WORDS, MASK_WORDS, SHORT_MASK_WORDS
from rareseg.data.layouts.listing import ROLE_WORDS
from rareseg.data.layouts.names import name_key
from rareseg.errors import UsageError
from rareseg_runner.formats import stem_of

LOOKED_AT = 50
"""The masks whose names are looked at for an ending that they share."""
_SEPARATORS = "_. -"
_ROLE_WORD = "|".join(sorted(ROLE_WORDS, key=len, reverse=True))
_OF_IMAGES = "|".join(
    sorted((*IMAGE_WORDS, "leftimg8bit", "orig", "rgb", "im"), key=len, reverse=True)
)
_OF_MASKS = "|".join(
    sorted((*MASK_WORDS, *SHORT_MASK_WORDS, "labelids", "segm", "binary"), key=len, reverse=True)
)


@dataclass(frozen=True)
class Names:
    """Names that may belong together: of images and of masks in folders of one place."""

    images: tuple[str, ...]
    masks: tuple[str, ...]


@dataclass(frozen=True)
class NamePairs:
    """For every group of names: the mask's name to its image's, and to what is left of it.

    ``parts`` is what the mask's name says beyond the image's where a case has several mask files;
    ``words`` say the rule, for a sentence.
    """

    pairs: tuple[Mapping[str, str], ...]
    parts: tuple[Mapping[str, str], ...]
    words: str

    @property
    def count(self) -> int:
        """How many masks have an image."""
        return sum(map(len, self.pairs))


@dataclass(frozen=True)
class MaskName:
    """How masks are called, as a user says it: ``{id}_mask``, or ``gt/{id}`` with their folder.

    ``folder`` is the name of a folder on the masks' path, in lower case, "" for any.
    """

    folder: str
    before: str
    after: str

    @classmethod
    def read(cls, said: str) -> MaskName:
        """Read ``--mask-name``; raises UsageError where it does not hold ``{id}`` once."""
        folder, _, name = said.replace("\\", "/").rpartition("/")
        if name.count("{id}") != 1:
            raise UsageError(
                f"--mask-name is {said!r}, which does not name the image's part once; write {{id}} "
                "for it, as in '{id}_mask', or 'labels/{id}' to say in which folder the masks lie."
            )
        before, after = stem_of(Path(name.replace("{id}", "\0"))).split("\0")
        return cls(folder.rpartition("/")[2].lower(), before, after)

    def image_of(self, mask: str) -> str | None:
        """Return the name of the image of a mask, ``None`` where the mask is called otherwise."""
        name, before, after = name_key(mask), name_key(self.before), name_key(self.after)
        if not (name.startswith(before) and name.endswith(after)):
            return None
        return name[len(before) : len(name) - len(after)] or None

    def is_in(self, folder: str) -> bool:
        """Whether a folder's path is one of the named."""
        return not self.folder or self.folder in folder.lower().split("/")


def pair_names(groups: Sequence[Names], said: MaskName | None = None) -> NamePairs:
    """Find the rule by which masks are called, and pair by it.

    The first rule that pairs every mask is taken, otherwise the one that pairs most of them:

    1. equal names;
    2. the image's name with one and the same beginning or ending (``x_mask``, ``gt_x``);
    3. equal names but for words for images and masks (``image_001`` and ``mask_001``);
    4. several masks a case, whose names begin with the image's (``x_liver``, ``x_spleen``).

    Names are compared in Unicode's form NFC and, where they stay different, without capitals.
    With ``said``, that rule alone is tried.
    """
    if said is not None:
        return _apply(
            groups, _by_mask_name(said), f"masks are called {said.before}{{id}}{said.after}"
        )
    total = sum(len(group.masks) for group in groups)
    best = _apply(groups, _equal, "names are equal")
    for rule, words in (*_affixes(groups), (_without_words, "names are equal but for such words")):
        if best.count == total:
            return best
        found = _apply(groups, rule, words)
        best = found if found.count > best.count else best
    return best if best.count == total else (_several(groups) or best)


_Rule = Callable[[Sequence[str]], Callable[[str], str | None]]
"""Given images' names: from a mask's name to its image's, or None."""


def _apply(groups: Sequence[Names], rule: _Rule, words: str) -> NamePairs:
    pairs = []
    for group in groups:
        image_of = rule(group.images)
        found = {mask: image_of(mask) for mask in group.masks}
        pairs.append({mask: image for mask, image in found.items() if image is not None})
    return NamePairs(tuple(pairs), tuple({} for _ in groups), words)


def _compared(names: Sequence[str]) -> dict[str, str]:
    """Return names as they are, and as they are compared where that is not another one's too."""
    counts = Counter(map(name_key, set(names)))
    folded = {name_key(name): name for name in names if counts[name_key(name)] == 1}
    return folded | {name: name for name in names}


def _equal(images: Sequence[str]) -> Callable[[str], str | None]:
    known = _compared(images)
    return lambda mask: known.get(mask) or known.get(name_key(mask))


def _by_mask_name(name: MaskName) -> _Rule:
    def rule(images: Sequence[str]) -> Callable[[str], str | None]:
        known = _compared(images)
        return lambda mask: known.get(name.image_of(mask) or "")

    return rule


def _affixes(groups: Sequence[Names]) -> list[tuple[_Rule, str]]:
    """Return rules of what masks' names have before or after the images', the commonest first."""
    counts: Counter[tuple[str, str]] = Counter()
    looked = 0
    for group in groups:
        known = _compared(group.images)
        for mask in group.masks[:LOOKED_AT]:
            name, looked = name_key(mask), looked + 1
            after = next((name[k:] for k in range(len(name) - 1, 0, -1) if name[:k] in known), "")
            before = next((name[:k] for k in range(1, len(name)) if name[k:] in known), "")
            if _is_word(after) and not (after[0].isalpha() and name[-len(after) - 1].isalpha()):
                counts["", after] += 1
            if _is_word(before) and not (before[-1].isalpha() and name[len(before)].isalpha()):
                counts[before, ""] += 1
        if looked >= LOOKED_AT:
            break
    rules = []
    for (before, after), _ in counts.most_common(4):
        words = f"masks have '{before or after}' {'before' if before else 'after'} the image's name"
        rules.append((_by_mask_name(MaskName("", before, after)), words))
    return rules


def _is_word(text: str) -> bool:
    """Whether an ending says something; a bare number is a copy or one of several objects."""
    return any(map(str.isalpha, text))


def _without_words(images: Sequence[str]) -> Callable[[str], str | None]:
    cores: defaultdict[str, set[str]] = defaultdict(set)
    for name in images:
        cores[_core(name, _OF_IMAGES)].add(name)

    def image_of(mask: str) -> str | None:
        found = cores.get(_core(mask, _OF_MASKS), set())
        return next(iter(found)) if len(found) == 1 else None

    return image_of


def _core(name: str, words: str) -> str:
    """Return a name without words for what it is, and without what they leave at its ends."""
    plain = name_key(name).replace("leftimg8bit", "leftimgbit")
    short = re.sub(rf"(?<![^\W\d_])(?:{words}|{_ROLE_WORD})s?(?![^\W\d_])", "_", plain)
    short = re.sub(r"_\d$", "", short) if "manual" in plain else short  # DRIVE: 21_manual1
    return re.sub(rf"[{_SEPARATORS}]+", "_", short).strip("_")


def without_image_words(name: str) -> str:
    """Return a name without the words that say that it is an image: ``volume-3`` is ``3``."""
    return _core(name, _OF_IMAGES)


def _several(groups: Sequence[Names]) -> NamePairs | None:
    """Pair masks whose names begin with their image's, and keep what follows as the part.

    None where a mask is left over, or the parts are neither names of classes nor numbers.
    """
    pairs, parts = [], []
    for group in groups:
        known = _compared(group.images)
        own: dict[str, str] = {}
        rest: dict[str, str] = {}
        for mask in group.masks:
            name = name_key(mask)
            ends = (k for k in range(len(name) - 1, 0, -1) if name[:k] in known)
            end = next((k for k in ends if name[k] in "_-."), None)
            if end is None:
                return None
            own[mask], rest[mask] = known[name[:end]], mask[end:].strip(_SEPARATORS)
        pairs.append(own)
        parts.append(rest)
    if read_parts([part for rest in parts for part in rest.values()]) is None:
        return None
    return NamePairs(tuple(pairs), tuple(parts), "masks' names begin with the image's")


def read_parts(parts: Sequence[str]) -> Literal["classes", "objects"] | None:
    """Return what several masks of a case are, by what each is called; None where it is unclear.

    Numbers, and words for masks with numbers, are objects; so are long hexadecimal names. Names
    that each come in several cases are classes.
    """
    if all(map(_is_number, parts)):
        return "objects"
    counts = Counter(map(name_key, parts))
    repeated = all(count > 1 for count in counts.values())
    return "classes" if repeated and not any(map(_is_number, parts)) else None


def _is_number(part: str) -> bool:
    plain = name_key(part)
    words = "|".join((*MASK_WORDS, *SHORT_MASK_WORDS, "object", "obj", "instance", "inst"))
    numbered = re.fullmatch(rf"(?:(?:{words}|cell|nucleus|object)s?[_\-. ]?)?\d*", plain)
    return numbered is not None or re.fullmatch(r"[0-9a-f]{16,}", plain) is not None
