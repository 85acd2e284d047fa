"""The contract of every registered file format, also of one that a user registers.

A check takes the record of a format, one of its suffixes and a folder, and raises AssertionError.
All checks run over every suffix of the register. A format that is only read needs a line in
``MAKERS``, which writes its files by another library. Deliberately wrong formats below fail exactly
the checks that they break.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import nibabel
import numpy as np
import PIL.Image
import pytest
import SimpleITK as sitk
import tifffile

from rareseg.data.score_files.probability_files import list_probabilities, read_probabilities
from rareseg.errors import OutputError, RaresegError, ReadError
from rareseg_runner.formats import (
    Format,
    format_of,
    formats,
    is_image,
    mask_suffix,
    read_image,
    read_mask,
    register,
    stem_of,
    suffix_of,
    write_mask,
    write_probabilities,
)
from rareseg_runner.formats.format_registry import _BY_SUFFIX
from rareseg_runner.formats.npy import read_npy
from rareseg_runner.geometry import disagreement
from rareseg_runner.image_records import Geometry, Image

Check = Callable[[Format, str, Path], None]
Maker = Callable[[Path, np.ndarray], None]

LABELS = np.tile(np.array([[0, 1, 2, 3, 255], [3, 255, 0, 2, 1]], np.uint8), (3, 2))
NOISE = np.random.default_rng(0).integers(0, 256, (48, 64), dtype=np.uint8)
FLAT = Geometry(dimension=2)
OBLIQUE = Geometry(
    spacing=(2.0, 0.75, 0.5),
    dimension=3,
    origin=(10.0, -20.0, 30.0),
    direction=(0.0, -0.6, -0.8, 1.0, 0.0, 0.0, 0.0, -0.8, 0.6),
    orientation="PIR",
)


def by_pillow(path: Path, array: np.ndarray, **options: object) -> None:
    PIL.Image.fromarray(array).save(path, **options)


def by_itk(path: Path, array: np.ndarray) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(array), path)


def as_gif(path: Path, array: np.ndarray) -> None:
    """Write every index, since Pillow renumbers a palette of which some are unused."""
    greys = np.repeat(np.arange(256, dtype=np.uint8), 3)
    PIL.Image.fromarray(array).save(path, optimize=False, palette=greys.tobytes())


def as_pnm(path: Path, array: np.ndarray) -> None:
    PIL.Image.fromarray(array).save(path, format="PPM")


def as_npz(path: Path, array: np.ndarray) -> None:
    np.savez_compressed(path, anything=array)


def as_hdf5(path: Path, array: np.ndarray) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file.create_dataset("group/image", data=array, chunks=True, fletcher32=True)


def as_heic(path: Path, _: np.ndarray) -> None:
    """Write a ramp of (48, 64) that was encoded once: free encoders of HEIC are under the GPL."""
    shutil.copy(Path(__file__).parent / "ramp.heic", path)


def as_mgh(path: Path, array: np.ndarray) -> None:
    nibabel.MGHImage(array.T[..., None], np.diag([-1.0, -1, 1, 1])).to_filename(path)


def as_pair(path: Path, array: np.ndarray) -> None:
    nibabel.Nifti1Pair(array.T, np.diag([-1.0, -1, 1, 1])).to_filename(path)


def as_slide(path: Path, array: np.ndarray) -> None:
    tifffile.imwrite(path, array, compression="zlib")


def as_ndpi(path: Path, array: np.ndarray) -> None:
    """Write Hamamatsu's TIFF: as usual, but offsets of pages have 8 bytes, values 4 more apart."""
    height, width = array.shape
    entries = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 4, 1, 0),
        (277, 3, 1, 1),
        (278, 4, 1, height),
        (279, 4, 1, array.size),
        (65420, 4, 1, 1),
    ]
    start = 12 + 2 + 12 * len(entries) + 8 + 4 * len(entries)
    entries[5] = (273, 4, 1, start)
    content = struct.pack("<2sHQ", b"II", 42, 12) + struct.pack("<H", len(entries))
    content += b"".join(struct.pack("<HHII", *entry) for entry in entries)
    content += struct.pack("<Q", 0) + bytes(4 * len(entries)) + array.tobytes()
    path.write_bytes(content)


def as_dicom(path: Path, array: np.ndarray) -> None:
    by_itk(path.with_suffix(".dcm"), array)
    path.with_suffix(".dcm").rename(path)


MAKERS: dict[str, Maker] = {
    ".jpg": by_pillow,
    ".jpeg": by_pillow,
    ".bmp": by_pillow,
    ".gif": as_gif,
    ".webp": partial(by_pillow, lossless=True),
    ".pgm": as_pnm,
    ".ppm": as_pnm,
    ".pnm": as_pnm,
    ".jp2": by_pillow,
    ".j2k": by_pillow,
    ".avif": by_pillow,
    ".heic": as_heic,
    ".heif": as_heic,
    ".npz": as_npz,
    ".h5": as_hdf5,
    ".hdf5": as_hdf5,
    ".svs": as_slide,
    ".ndpi": as_ndpi,
    ".mgh": as_mgh,
    ".mgz": as_mgh,
    ".hdr": as_pair,
    ".dcm": by_itk,
    ".dicom": as_dicom,
    ".ima": as_dicom,
    ".nhdr": by_itk,
    ".mhd": by_itk,
}
"""Writes (y, x) of uint8 as each suffix that the package itself only reads."""


def make(form: Format, suffix: str, folder: Path, array: np.ndarray) -> Path:
    """Return a file of the format that holds (y, x) of uint8."""
    path = folder / f"made{suffix}"
    if form.writes is not None:
        form.writes(path, array[None], FLAT)
    else:
        assert suffix in MAKERS, f"{form.name} is only read: MAKERS needs a line for {suffix}"
        MAKERS[suffix](path, array)
    return path


def readers(form: Format) -> list[Callable[[Path], object]]:
    return [read_mask] if form.masks_only else [lambda path: read_image([path]), read_mask]


def says_one_sentence(error: RaresegError, path: Path) -> None:
    said = str(error)
    assert str(path) in said, f"the message does not name {path}: {said}"
    assert re.search(r"[^.]\.$", said), f"the message does not end as a sentence: {said}"
    assert "\n" not in said, f"the message has several lines: {said}"


def is_found_by_its_suffix(form: Format, suffix: str, folder: Path) -> None:
    path = make(form, suffix, folder, LABELS)
    assert is_image(path)
    assert (suffix_of(path), stem_of(path)) == (suffix, "made")
    upper = folder / f"UPPER{suffix.upper()}"
    assert (suffix_of(upper), stem_of(upper)) == (suffix, "UPPER")


def is_read_as_an_image(form: Format, suffix: str, folder: Path) -> None:
    if form.masks_only:
        with pytest.raises(ReadError, match="holds labels and no image"):
            read_image([make(form, suffix, folder, NOISE)])
        return
    image = read_image([make(form, suffix, folder, NOISE)])
    assert image.array.shape[1:] == (1, *NOISE.shape)
    assert image.array.flags.c_contiguous
    assert image.array.dtype.isnative
    if not form.lossy:
        np.testing.assert_array_equal(image.array[0, 0], NOISE)


def labels_come_back_unchanged(form: Format, suffix: str, folder: Path) -> None:
    path = make(form, suffix, folder, LABELS)
    if form.lossy:
        with pytest.raises(ReadError, match="lossy") as error:
            read_mask(path)
        says_one_sentence(error.value, path)
    else:
        np.testing.assert_array_equal(read_mask(path).array, LABELS[None])


def masks_of_an_image_can_be_written(form: Format, suffix: str, folder: Path) -> None:
    path = folder / f"mask{mask_suffix(Path('a' + suffix))}"
    write_mask(path, LABELS[None], FLAT)
    np.testing.assert_array_equal(read_mask(path).array, LABELS[None])


def every_number_type_comes_back(form: Format, suffix: str, folder: Path) -> None:
    if form.writes is None:
        return
    assert {"uint8", "uint16"} <= set(form.holds), "masks have up to 16 bits"
    for name in form.holds:
        array = np.array([[[0, 1, 2, 3, 255]]], name)
        if name == "float32":
            array = array + np.float32(1 / 3)
        else:
            array[..., -1] = np.iinfo(name).max
            array[..., 0] = np.iinfo(name).min
        form.writes(folder / f"a{suffix}", array, FLAT)
        image = form.reads(folder / f"a{suffix}")
        assert image.array.dtype == name
        np.testing.assert_array_equal(image.array[0], array)


def what_it_does_not_hold_is_refused(form: Format, suffix: str, folder: Path) -> None:
    path = folder / f"mask{suffix}"
    for mask in (LABELS[None], np.full((1, 2, 2), -1), np.zeros((3, 2, 2), np.uint8)):
        least = mask.astype(np.int32 if mask.min() < 0 else np.uint8)
        if form.can_write(least):
            write_mask(path, mask, FLAT)
            path.unlink()
            continue
        with pytest.raises(OutputError) as error:
            write_mask(path, mask, FLAT)
        says_one_sentence(error.value, path)
        assert not path.exists()


def the_geometry_survives(form: Format, suffix: str, folder: Path) -> None:
    if form.writes is None or form.kind == "photograph":
        return
    array = np.arange(4 * 5 * 6, dtype=np.uint8).reshape(4, 5, 6)
    form.writes(folder / f"a{suffix}", array, OBLIQUE)
    mask = read_mask(folder / f"a{suffix}")
    np.testing.assert_array_equal(mask.array, array)
    assert mask.geometry.dimension == 3
    if form.kind == "volume":
        assert form.keeps == "frame", "a volume has a frame"
    if form.keeps is not None:
        np.testing.assert_allclose(mask.geometry.spacing, OBLIQUE.spacing, rtol=1e-5)
    if form.keeps == "frame":
        assert mask.geometry.orientation == OBLIQUE.orientation
        assert mask.geometry.origin is not None, "the origin is lost"
        assert disagreement(mask.geometry, OBLIQUE, array.shape) is None


def probabilities_come_back(form: Format, suffix: str, folder: Path) -> None:
    scores = np.linspace(0, 1, 20, dtype=np.float32).reshape(1, 4, 5)
    path, image = folder / f"case{suffix}", Image(scores[None], FLAT)
    if not form.scores:
        path.touch()
        (folder / "case.npz").touch()
        assert list_probabilities(folder, ["case"]).files["case"][""].suffix == ".npz"
    elif form.writes is not None:
        write_probabilities(path, scores, FLAT)
        assert list_probabilities(folder, ["case"]).files["case"][""] == path
        np.testing.assert_allclose(read_probabilities(path, image)[0], scores, atol=1e-5)


def a_damaged_file_is_one_sentence(form: Format, suffix: str, folder: Path) -> None:
    whole = make(form, suffix, folder, NOISE)
    parts = {part: part.read_bytes() for part in sorted(folder.iterdir())}
    for part, content in parts.items():
        for share in (0.0, 0.02, 0.5, 0.9):
            part.write_bytes(content[: int(len(content) * share)])
            for read in readers(form):
                with pytest.raises(ReadError) as error:
                    read(whole)
                says_one_sentence(error.value, whole)
        part.write_bytes(content)
    readers(form)[0](whole)


def flipped_bytes_raise_nothing_else(form: Format, suffix: str, folder: Path) -> None:
    """What the damage leaves readable is read; the rest is one sentence."""
    rng = np.random.default_rng(0)
    path = make(form, suffix, folder, NOISE[:16, :20])
    content = path.read_bytes()
    for _ in range(40):
        damaged = bytearray(content)
        for at in rng.integers(min(len(content), 400), size=3):
            damaged[at] = rng.integers(256)
        path.write_bytes(damaged)
        for read in readers(form):
            try:
                read(path)
            except ReadError as error:
                says_one_sentence(error, path)


def another_content_is_one_sentence(form: Format, suffix: str, folder: Path) -> None:
    path = folder / f"notes{suffix}"
    path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n" * 40)
    for read in (lambda path: read_image([path]), read_mask):
        with pytest.raises(ReadError) as error:
            read(path)
        says_one_sentence(error.value, path)


CHECKS: tuple[Check, ...] = (
    is_found_by_its_suffix,
    is_read_as_an_image,
    labels_come_back_unchanged,
    masks_of_an_image_can_be_written,
    every_number_type_comes_back,
    what_it_does_not_hold_is_refused,
    the_geometry_survives,
    probabilities_come_back,
    a_damaged_file_is_one_sentence,
    flipped_bytes_raise_nothing_else,
    another_content_is_one_sentence,
)
REGISTERED = [(form, suffix) for form in formats() for suffix in form.suffixes]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(
    ("form", "suffix"), REGISTERED, ids=[suffix.lstrip(".") for _, suffix in REGISTERED]
)
def test_every_format_keeps_the_contract(form, suffix, check, tmp_path):
    if form.needs is not None and importlib.util.find_spec(form.needs[0]) is None:
        pytest.skip(f"{form.needs[0]} is not installed; make test-extras installs it")
    check(form, suffix, tmp_path)


@pytest.fixture
def entered():
    """Register formats that are gone after the test."""
    before = dict(_BY_SUFFIX)
    yield register
    for suffix in set(_BY_SUFFIX) - set(before):
        del _BY_SUFFIX[suffix]
    assert before == _BY_SUFFIX


def known(suffix: str) -> Format:
    form = format_of(Path("a" + suffix))
    assert form is not None
    return form


def broken_checks(form: Format, folder: Path) -> set[str]:
    """Return the names of the checks that a format fails."""
    failed = set()
    for check in CHECKS:
        own = folder / check.__name__
        own.mkdir()
        try:
            check(form, form.suffixes[0], own)
        except (Exception, SystemExit, pytest.fail.Exception):
            failed.add(check.__name__)
    return failed


def as_stretched(path: Path) -> Image:
    image = read_npy(path, as_mask=True)
    return replace(image, array=image.array * np.uint8(85))


def as_padded(path: Path) -> Image:
    """Read like a reader that fills what is missing with zeros."""
    try:
        return read_npy(path)
    except ReadError:
        return Image(np.zeros((1, 1, 2, 2), np.uint8), FLAT)


def as_ended(path: Path) -> Image:
    """Read like a library that ends the process; a traceback would be caught by the guard."""
    try:
        return Image(np.load(path)[None, None], FLAT)
    except (ValueError, OSError, EOFError) as error:
        raise SystemExit(1) from error


def write_eight_bits(path: Path, array: np.ndarray, geometry: Geometry) -> None:
    known(".npy").writes(path, array.astype(np.uint8), geometry)


def write_without_frame(path: Path, array: np.ndarray, _: Geometry) -> None:
    known(".nrrd").writes(path, array, Geometry(dimension=3))


WRONG: dict[str, tuple[str, dict[str, object], set[str]]] = {
    "labels are scaled": (
        ".npy",
        {"reads_mask": as_stretched},
        {
            "labels_come_back_unchanged",
            "masks_of_an_image_can_be_written",
            "the_geometry_survives",
        },
    ),
    "lossy, and read as a mask": (".npy", {"lossy": True}, {"labels_come_back_unchanged"}),
    "sixteen bits are cut to eight": (
        ".npy",
        {"writes": write_eight_bits},
        {"every_number_type_comes_back", "probabilities_come_back"},
    ),
    "damage is filled with zeros": (
        ".npy",
        {"reads": as_padded},
        {"a_damaged_file_is_one_sentence", "another_content_is_one_sentence"},
    ),
    "damage ends the program": (
        ".npy",
        {"reads": as_ended, "reads_mask": None, "kind": "photograph"},
        {
            "a_damaged_file_is_one_sentence",
            "another_content_is_one_sentence",
            "flipped_bytes_raise_nothing_else",
        },
    ),
    "the frame is lost": (".nrrd", {"writes": write_without_frame}, {"the_geometry_survives"}),
    "a volume that says it keeps nothing": (".nrrd", {"keeps": None}, {"the_geometry_survives"}),
    "read alone, and no maker": (
        ".npy",
        {"writes": None, "masks_as": ".png"},
        {
            "is_found_by_its_suffix",
            "is_read_as_an_image",
            "labels_come_back_unchanged",
            "a_damaged_file_is_one_sentence",
            "flipped_bytes_raise_nothing_else",
        },
    ),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_wrong_format_fails_exactly_the_checks_that_it_breaks(fault, entered, tmp_path):
    right, changes, expected = WRONG[fault]
    # A suffix before the right one: ITK and the readers choose by the end of the name.
    suffix = f".wrong{right}"
    form = replace(known(right), name=fault, suffixes=(suffix,), **changes)
    entered(form)
    assert broken_checks(form, tmp_path) == expected


def test_what_is_registered_is_an_image_at_once(entered, tmp_path):
    path = tmp_path / "scan.lab.npy"
    np.save(path, LABELS)
    assert stem_of(path) == "scan.lab"
    entered(replace(known(".npy"), name="LAB", suffixes=(".lab.npy",)))
    assert (stem_of(path), mask_suffix(path)) == ("scan", ".lab.npy")
    assert is_image(path)
    np.testing.assert_array_equal(read_mask(path).array, LABELS[None])
    with pytest.raises(ReadError, match=r"\.ima, \.lab\.npy and a folder of DICOM"):
        read_image([Path(__file__)])


@pytest.mark.usefixtures("entered")
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_format_that_contributing_adds_keeps_it_too(check, monkeypatch, tmp_path):
    page = (Path(__file__).parents[3] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    chapter = page.split("## Add a file format\n")[1].split("\n## ")[0]
    (block,) = re.findall(r"```python\n(.*?)```", chapter, re.DOTALL)
    exec(compile(block, "CONTRIBUTING.md", "exec"), {"__name__": "contributing"})
    monkeypatch.setitem(MAKERS, ".sgi", by_pillow)
    check(known(".sgi"), ".sgi", tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"suffixes": (".PNG",)}, "lower case"),
        ({"suffixes": ("png",)}, "with its dot"),
        ({"suffixes": (".new", ".npy")}, r"\.npy is read as NPY already"),
        ({"suffixes": (".new",), "writes": None}, "give either"),
        ({"suffixes": (".new",), "masks_as": ".png"}, "give either"),
    ],
)
def test_a_contradiction_is_not_registered(changes, said, entered):
    with pytest.raises(ValueError, match=said):
        entered(replace(known(".npy"), **changes))
    assert ".new" not in _BY_SUFFIX


def test_the_page_lists_the_register():
    """Each row of docs/your-data.md names the suffixes of one kind, in order."""
    page = (Path(__file__).parents[3] / "docs" / "your-data.md").read_text(encoding="utf-8")
    table = page.split("## Formats")[1].split("##")[0]
    rows = re.findall(r"^\| ([^|]+) \| ((?:\.[\w.]+ ?)+)\|", table, re.MULTILINE)
    listed = {kind: tuple(suffixes.split()) for kind, suffixes in rows}
    kinds = dict.fromkeys(form.kind for form in formats())
    assert list(listed) == list(kinds)
    for kind in kinds:
        of_kind = [s for form in formats() if form.kind == kind for s in form.suffixes]
        assert listed[kind] == tuple(of_kind), kind
