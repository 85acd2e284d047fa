"""What the names of folders and files say: images, masks, a part of the split, nothing to find."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

from rareseg.data.layouts.listing import ROLE_WORDS
from rareseg.data.records import Role

Kind = Literal["image", "mask", "negative"]

IMAGE_WORDS = frozenset(
    (
        *("image", "img", "imgdir", "imagedir", "picture", "pic", "photo", "photograph", "frame"),
        *("scan", "volume", "input", "original", "jpegimage", "leftimgbit", "sat"),
    )
)
"""Words for folders of images: lower case, singular, letters alone."""
MASK_WORDS = frozenset(
    (
        *("mask", "label", "annotation", "annot", "groundtruth", "segmentation", "truth", "target"),
        *("segmentationmask", "segmentationclass", "anndir", "labeldir", "maskdir", "labelmap"),
        *("manual", "gtfine"),
    )
)
"""Words for folders of masks."""
SHORT_MASK_WORDS = frozenset(("seg", "gt", "ann", "lbl", "lab", "msk", "anno", "map"))
"""Words that stand for masks where a folder is called so and no more (`Kvasir-SEG` is not)."""
_NNUNET_LABELS = ("labelstr", "labelsts")
NOTHING_WORDS = frozenset(
    ("good", "normal", "ok", "healthy", "nodefect", "defectfree", "nondefective", "negative")
)
"""Words for folders of images on which nothing is to be found."""
ANY_DEFECT = frozenset(
    ("bad", "anomaly", "anomalous", "anomalie", "defect", "defective", "ng", "abnormal", "positive")
)
"""Words for folders of images with defects of every kind, which name none."""


@lru_cache(maxsize=1 << 16)
def kind_of(name: str) -> Kind | None:
    """Return what a folder of this name holds, ``None`` where the name does not say.

    A name that begins or ends with an underscore or a tilde says nothing: people put a folder aside
    so. Capitals, the plural, numbers and words for parts of the split do not matter. The last word
    counts, then the first: ``image_masks`` are masks, ``ISIC_Training_Input`` are images.
    """
    if name != name.strip("_~"):
        return None
    found = [singular(word) for word in _words(name)]
    whole = singular("".join(_words(name)))
    if whole in ("negative",):
        return "negative"
    if whole in MASK_WORDS | SHORT_MASK_WORDS:
        return "mask"
    if whole in IMAGE_WORDS:
        return "image"
    found = [word for word in found if word not in ROLE_WORDS]
    if not found:
        return None
    if found[0] not in MASK_WORDS | IMAGE_WORDS:
        glued = re.fullmatch(r"(?:train|val|test)(?:ing|id|idation)?(\w+)", found[0])
        found[0] = singular(glued[1]) if glued else found[0]
    ends = {found[-1], found[0], "".join(found[-2:])}
    short = len(found) == 1 and found[0] in SHORT_MASK_WORDS
    if short or found[-1] in MASK_WORDS or "".join(found[-2:]) in MASK_WORDS:
        return "mask"
    if ends & IMAGE_WORDS:
        of_masks = set(found) & (MASK_WORDS | SHORT_MASK_WORDS)
        return "mask" if of_masks else "image"
    return "mask" if found[0] in MASK_WORDS else None


def is_mask_folder(name: str) -> bool:
    """Whether pictures in a folder of this name are masks; nnU-Net's labelsTr is such a folder."""
    return kind_of(name) == "mask" or name.lower() in _NNUNET_LABELS


@lru_cache(maxsize=1 << 16)
def role_of(name: str) -> Role | None:
    """Return the part of the split that a folder's name says, ``None`` without such a word."""
    roles = {ROLE_WORDS[word] for word in _words(name) if word in ROLE_WORDS}
    if not roles and kind_of(name):
        glued = re.match(r"(train|val|test)", name.lower())
        roles = {ROLE_WORDS[glued[1]]} if glued else set()
    return roles.pop() if len(roles) == 1 else None


def holds_nothing(name: str) -> bool:
    """Whether a folder of this name is one of images without anything to find."""
    return singular("".join(_words(name))) in NOTHING_WORDS


def is_any_defect(name: str) -> bool:
    """Whether a folder's name says that there is a defect, and not which."""
    return singular("".join(_words(name))) in ANY_DEFECT


def is_mask_word(name: str) -> bool:
    """Whether a file's name, or what is left of it, is a word for a mask."""
    return singular("".join(_words(name))) in MASK_WORDS | SHORT_MASK_WORDS


def singular(word: str) -> str:
    """Return an English word without the s of its plural."""
    plural = word.endswith("s") and not word.endswith(("ss", "us")) and len(word) > 2
    return word[:-1] if plural else word


def _words(name: str) -> list[str]:
    return re.findall(r"[a-z]+", name.lower())
