"""What the columns of a manifest mean, by the words that people use for them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rareseg.errors import DataError, nearest

_WORDS = {
    "id": "id case case_id caseid sample sample_id uid key name image_id imageid",
    "image": "image image_path imagepath image_file img img_path filename file_name file filepath "
    "file_path image_name imagename picture photo scan path image_filename",
    "mask": "mask mask_path maskpath mask_file label label_path labelpath label_file annotation "
    "annotation_path gt gt_path ground_truth groundtruth seg seg_path segmentation "
    "segmentation_path segmentation_file mask_name mask_filename label_name target mask_image",
    "group": "group patient patient_id patientid subject subject_id subjectid group_id",
    "split": "split set subset role partition fold_name phase",
}
"""The words for each column, best first: lower case, with ``_`` between words."""

_CHANNEL = re.compile(r"(?:image|img|image_path|channel)_?(?P<number>\d+)")
_CLASS = re.compile(r"mask_class_(?P<name>.+)")
_ANNOTATOR = re.compile(r"mask_(?P<name>.+)")


@dataclass(frozen=True)
class Columns:
    """The columns of a manifest by what they mean, as they are called in it; "" for none.

    ``images`` are those of the channels in their order; ``classes`` and ``annotators`` are (name,
    column) of masks for one class and of one annotator.
    """

    images: tuple[str, ...]
    id: str = ""
    mask: str = ""
    group: str = ""
    split: str = ""
    classes: tuple[tuple[str, str], ...] = ()
    annotators: tuple[tuple[str, str], ...] = ()


def read_columns(names: Sequence[str], path: Path) -> Columns:
    """Find what the columns mean, in any case of letters.

    Raises DataError where no column names images, or none says what is drawn on them.
    """
    known = {_plain(name): name for name in reversed(names)}
    found = {}
    for what, words in _WORDS.items():
        found[what] = next((known[word] for word in words.split() if word in known), "")
    channels = sorted(
        (int(match["number"]), name)
        for plain, name in known.items()
        if (match := _CHANNEL.fullmatch(plain))
    )
    images = tuple(name for _, name in channels) or tuple(filter(None, [found["image"]]))
    if "image" in known and channels:
        images = (known["image"], *images)
    taken = {*found.values(), *images}
    classes, annotators = [], []
    for name in names:
        match = _CLASS.fullmatch(_plain(name))
        other = _ANNOTATOR.fullmatch(_plain(name))
        if name in taken or _plain(name) in _WORDS["mask"].split():
            continue
        if match:
            classes.append((name.strip()[match.start("name") :], name))
        elif other:
            annotators.append((name.strip()[other.start("name") :], name))
    for needed, present in (
        ("image", bool(images)),
        ("mask", bool(found["mask"] or classes or annotators)),
    ):
        if not present:
            raise DataError(
                f"{path} has no column '{needed}' among {', '.join(names)}"
                f"{nearest(needed, list(names))}; name it in the first line (image, or image_0 …, "
                "mask, and optionally id, group and split)."
            )
    return Columns(
        images,
        found["id"],
        found["mask"],
        found["group"],
        found["split"],
        tuple(classes),
        tuple(annotators),
    )


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.strip().lower()).strip("_") if name else ""
