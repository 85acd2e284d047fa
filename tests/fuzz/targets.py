"""What is fuzzed: the smallest file of each format, tables, drawings and records of a run."""

from __future__ import annotations

import contextlib
import gzip
import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hypothesis import strategies as st

from corpus.smallest import Files, as_segmentation, as_structure_set, smallest
from fuzz import edits
from rareseg_runner.formats import Format, formats
from rareseg_runner.formats.reader_guard import has_module

CHECKED = (".png", ".nii.gz", ".npz")
"""Formats with checksums over all of their values."""


@dataclass(frozen=True)
class Tried:
    """One input: a target by its name, the file that was edited, and its content.

    ``cut`` is whether it was shortened and nothing else; ``raw`` whether the bytes themselves were
    edited, so that checksums stand as they were.
    """

    target: str
    name: str
    content: bytes
    cut: bool = False
    raw: bool = False

    def __repr__(self) -> str:
        return f"Tried({self.target}: {self.name}, {len(self.content)} bytes)"


@dataclass(frozen=True)
class Target:
    """A file that is edited: how it is called, what it holds, and which edits fit it."""

    name: str
    file: str
    content: Callable[[], bytes]
    structured: tuple[st.SearchStrategy[edits.Edit], ...] = ()
    inside: str = ""
    """"gz" where structured edits are made to what is packed."""


def _structured(suffix: str) -> tuple[st.SearchStrategy[edits.Edit], ...]:
    if suffix in (".nii", ".nii.gz", ".hdr"):
        return (edits.of_fields(edits.NIFTI_FIELDS),)
    if suffix in (".mgh", ".mgz"):
        return (edits.of_fields(edits.MGH_FIELDS),)
    if suffix == ".bmp":
        return (edits.of_fields(edits.BMP_FIELDS),)
    if suffix in (".tif", ".tiff", ".svs"):
        return (edits.TIFF_TAGS,)
    if suffix in (".nrrd", ".seg.nrrd", ".nhdr", ".mha", ".mhd", ".pgm", ".ppm", ".pnm"):
        return (edits.LINES,)
    return (edits.PNG_CHUNKS,) if suffix == ".png" else ()


DICOM_OBJECTS = {"seg": as_segmentation, "struct": as_structure_set}
"""What is drawn in DICOM files of its own, on an image."""


@cache
def whole(suffix: str) -> Files:
    """Return the whole file that holds a mask where the format may, the image elsewhere.

    ``suffix`` may be one of :data:`DICOM_OBJECTS`.
    """
    if suffix in DICOM_OBJECTS:
        return {f"{suffix}.dcm": DICOM_OBJECTS[suffix]()}
    return smallest(suffix, mask=suffix not in (".jpg", ".jpeg", ".avif"))


def _files() -> list[Target]:
    """Every format that is read here: those of an extra where it is installed."""
    found = []
    suffixes = [suffix for form in formats() if _is_read(form) for suffix in form.suffixes]
    objects = list(DICOM_OBJECTS) if has_module("highdicom") else []
    for suffix in (*suffixes, *objects):
        for name in whole(suffix):
            structured = _structured(suffix) if name.endswith(suffix) else ()
            found.append(
                Target(
                    f"file {suffix}",
                    name,
                    lambda suffix=suffix, name=name: whole(suffix)[name],
                    structured,
                    inside="gz" if suffix in (".nii.gz", ".mgz") else "",
                )
            )
    return found


def _is_read(form: Format) -> bool:
    return form.needs is None or has_module(form.needs[0])


CASES = 4
NAMES = [f"c{number}" for number in range(CASES)]
SQUARE = [[2, 2], [8, 2], [8, 8], [2, 8]]
TEXTS: dict[str, tuple[str, str]] = {
    "manifest": (
        "manifest.csv",
        "id,image,mask,group,split\n"
        + "".join(f"{n},images/{n}.png,masks/{n}.png,g{n},train\n" for n in NAMES),
    ),
    "notes": (
        "dataset.json",
        json.dumps(
            {
                "labels": {"background": 0, "speck": 1, "ignore": 255},
                "regions": {"all": [1], "part": ["speck"]},
                "channel_names": {"0": "grey"},
            }
        ).replace('["speck"]', "[1]"),
    ),
    "coco": (
        "annotations.json",
        json.dumps(
            {
                "images": [
                    {"id": k, "file_name": f"{n}.png", "width": 16, "height": 16}
                    for k, n in enumerate(NAMES)
                ],
                "categories": [{"id": 1, "name": "speck"}],
                "annotations": [
                    {
                        "id": 9,
                        "image_id": 0,
                        "category_id": 1,
                        "iscrowd": 0,
                        "bbox": [2, 2, 6, 6],
                        "area": 36,
                        "segmentation": [[v for point in SQUARE for v in point]],
                    },
                    {
                        "id": 10,
                        "image_id": 1,
                        "category_id": 1,
                        "iscrowd": 1,
                        "segmentation": {"size": [16, 16], "counts": [20, 5, 231]},
                    },
                ],
            }
        ),
    ),
    "labelme": (
        "images/c0.json",
        json.dumps(
            {
                "version": "5.0",
                "imagePath": "c0.png",
                "imageHeight": 16,
                "imageWidth": 16,
                "shapes": [{"label": "speck", "points": SQUARE, "shape_type": "polygon"}],
            }
        ),
    ),
    "yolo": ("data.yaml", "path: .\ntrain: images\nval: images\nnc: 1\nnames: [speck]\n"),
    "yolo drawing": ("labels/c0.txt", "0 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5\n"),
    "run lengths": (
        "train.csv",
        "ImageId,ClassId,EncodedPixels\nc0.png,1,20 5 40 3\nc1.png,1,7 2\n",
    ),
    "recipe": (
        "recipe.yaml",
        "training:\n  steps: 5\n  learning_rate: 0.01\nnetwork:\n  name: half_unet\n"
        "  width: [4, 8, 8]\nloss:\n  presence: 0.0\nsampling:\n  patch_size: [8, 8]\n"
        "split:\n  train: 0.5\n  validation: 0.25\n  test: 0.25\n",
    ),
    "split": ("split.csv", "id,role,group\nc0,train,a\nc1,validation,b\nc2,test,c\n"),
}


def _text_edits(name: str) -> tuple[st.SearchStrategy[edits.Edit], ...]:
    if name.endswith(".json"):
        return (edits.documents(as_yaml=False),)
    if name.endswith(".yaml"):
        return (edits.documents(as_yaml=True),)
    return (edits.TABLES,) if name.endswith(".csv") else ()


def _texts() -> list[Target]:
    return [
        Target(f"text {name}", file, lambda text=text: text.encode(), _text_edits(file))
        for name, (file, text) in TEXTS.items()
    ]


def _records(run: Path) -> list[Target]:
    """Every record of a run that is not a picture or a page."""
    return [
        Target("run", path.relative_to(run).as_posix(), path.read_bytes, _text_edits(path.name))
        for path in sorted(run.rglob("*"))
        if path.is_file()
        and path.suffix in (".json", ".csv", ".yaml", ".npz", ".pt", ".safetensors", ".bin")
    ]


_DOES_NOT_FIT = (OSError, EOFError, ValueError, LookupError, TypeError, zlib.error, struct.error)
"""What an edit may raise on content that earlier edits have changed: it is left out."""


def _edited(target: Target, changes: list[tuple[bool, edits.Edit]]) -> Tried:
    content = target.content()
    whole_content = content
    for inner, edit in changes:
        with contextlib.suppress(*_DOES_NOT_FIT):
            if inner and target.inside == "gz":
                content = gzip.compress(edit(gzip.decompress(content)), mtime=0)
            else:
                content = edit(content)
    cut = len(content) < len(whole_content) and whole_content.startswith(content)
    raw = not any(inner for inner, _ in changes) and content != whole_content
    return Tried(target.name, target.file, content, cut=cut, raw=raw)


def inputs_of(target: Target) -> st.SearchStrategy[Tried]:
    """Inputs of one target: a cut alone, or one to three edits."""
    raw = st.tuples(st.just(False), edits.BYTES)
    one = raw
    if target.structured:
        one = st.one_of(*(st.tuples(st.just(True), e) for e in target.structured), raw)
    changes = st.one_of(
        st.tuples(st.just(False), edits.CUTS).map(lambda e: [e]),
        st.lists(one, min_size=1, max_size=3),
    )
    return changes.map(lambda found: _edited(target, found))


def inputs(run: Path) -> st.SearchStrategy[Tried]:
    """All inputs. ``run`` is a finished run, of which a fifth of the inputs change a record."""
    files, texts, records = _files(), _texts(), _records(run)
    return st.one_of(
        *[st.sampled_from(files).flatmap(inputs_of)] * 3,
        st.sampled_from(texts).flatmap(inputs_of),
        st.sampled_from(records).flatmap(inputs_of),
    )
