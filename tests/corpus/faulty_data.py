"""Folders, tables and texts with one fault each, and what is right of them.

To add one, write a function that makes it in an empty folder and returns the path that a command
is given, and a line in :data:`DATA`, :data:`RECIPES`, :data:`SPLITS` or :data:`SCORES`.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from corpus.smallest import by_itk, by_pillow, gz, nrrd, stack

CASES = 6


@dataclass(frozen=True)
class FaultyData:
    """One input. ``says`` are the words of the refusal, or None where it opens.

    ``named`` must stand in what is said: the file at fault. ``cases`` are those of what opens.
    """

    name: str
    make: Callable[[Path], Path]
    says: str | None
    named: str = ""
    cases: int = CASES
    options: tuple[str, ...] = field(default=())


def picture(number: int) -> tuple[bytes, bytes]:
    """Return a PNG of noise with a bright block, or without in every other one, and its mask."""
    rng = np.random.default_rng(number)
    image, mask = rng.integers(0, 120, (16, 16), dtype=np.uint8), np.zeros((16, 16), np.uint8)
    if number % 2 == 0:
        y, x = rng.integers(1, 8, 2)
        mask[y : y + 5, x : x + 4] = 1
        image[mask > 0] += np.uint8(120)
    return by_pillow(".png", image), by_pillow(".png", mask)


def put(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def whole(root: Path, *, names: str = "c{}", count: int = CASES) -> Path:
    """Write images/ and masks/ of whole files."""
    for number in range(count):
        image, mask = picture(number)
        put(root / "images" / f"{names.format(number)}.png", image)
        put(root / "masks" / f"{names.format(number)}.png", mask)
    return root


def spoilt(root: Path, spoil: Callable[[Path], object]) -> Path:
    """Write whole files, then let a function spoil them."""
    spoil(whole(root))
    return root


def renamed(root: Path, name: bytes | str) -> Path:
    """Write whole files of which the first case has another name."""
    whole(root)
    for folder in ("images", "masks"):
        target = os.fsdecode(name if isinstance(name, bytes) else name.encode())
        (root / folder / "c0.png").rename(root / folder / f"{target}.png")
    return root


def also(root: Path, name: str) -> Path:
    """Write whole files and the first case once more under another name."""
    whole(root)
    for folder, content in zip(("images", "masks"), picture(40), strict=True):
        put(root / folder / f"{name}.png", content)
    return root


def manifest(root: Path, content: str | bytes) -> Path:
    """Write whole files and a manifest."""
    whole(root)
    return put(root / "manifest.csv", content)


def rows(*changed: str, head: str = "id,image,mask") -> str:
    """Return a manifest of the whole files whose first rows are others."""
    kept = [f"c{k},images/c{k}.png,masks/c{k}.png" for k in range(len(changed), CASES)]
    return "\n".join([head, *changed, *kept]) + "\n"


def table(name: str, content: str | bytes, says: str | None, **options: object) -> FaultyData:
    named = options.pop("named", "manifest.csv")
    return FaultyData(name, partial(manifest, content=content), says, named, **options)


def declared(content: str | bytes, root: Path) -> Path:
    """Write whole files and a dataset.json."""
    put(whole(root) / "dataset.json", content)
    return root


def note(name: str, content: str | bytes, says: str | None, named: str = "dataset.json"):
    return FaultyData(name, partial(declared, content), says, named)


def pipe(root: Path) -> None:
    os.mkfifo(root / "images" / "p.png")


def listening(root: Path) -> None:
    """Leave a socket among the images; its path is too long for one in most test folders."""
    before = Path.cwd()
    os.chdir(root / "images")
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("s.png")
    finally:
        os.chdir(before)


def moved_out(root: Path) -> None:
    """Leave a link to an image outside of the folder."""
    path = root / "images" / "c0.png"
    elsewhere = put(root.parent / "elsewhere" / "far.png", path.read_bytes())
    path.unlink()
    path.symlink_to(elsewhere)


def header_outside(root: Path) -> None:
    """Leave a header that names a file outside of the folder as its values."""
    put(root.parent / "secret.raw", bytes(16 * 12 * 4))
    put(root / "images" / "h.nrrd", nrrd({"data file": "../../secret.raw"}, b""))
    put(root / "masks" / "h.nrrd", by_itk("h.nrrd", stack(np.zeros((12, 16), np.uint8)))["h.nrrd"])


def volume_cut(root: Path) -> None:
    made = by_itk("v.nrrd", stack(np.arange(192, dtype=np.uint8).reshape(12, 16)))["v.nrrd"]
    put(root / "images" / "v.nrrd", made[:-100])
    put(root / "masks" / "v.nrrd", made)


def _of(change: Callable[[Path], object], name: str, says: str | None, named: str = "", **more):
    return FaultyData(name, partial(spoilt, spoil=change), says, named, **more)


DEEP = 100_000
_LABELS = '{"labels": {"background": 0, "speck": 1}'
DATA = (
    FaultyData("nothing", lambda root: root, "no|holds", ""),
    FaultyData("absent", lambda root: root / "nowhere", "does not exist", "nowhere"),
    FaultyData("a_file", lambda root: put(root / "notes.txt", "hello"), ".", "notes.txt"),
    FaultyData("one_case", partial(whole, count=1), None, cases=1),
    _of(lambda r: put(r / "images" / "c0.png", b""), "empty_image", "empty|read", "c0.png"),
    _of(lambda r: put(r / "masks" / "c0.png", b""), "empty_mask", "empty|read", "c0.png"),
    _of(lambda r: put(r / "masks" / "c0.png", picture(0)[1][:70]), "cut_mask", ".", "c0.png"),
    _of(lambda r: (r / "masks" / "c0.png").unlink(), "no_mask", "no mask", "c0.png"),
    _of(lambda r: (r / "images" / "c0.png").unlink(), "no_image", ".", "c0.png"),
    _of(
        lambda r: ((r / "images" / "c0.png").unlink(), (r / "images" / "c0.png").mkdir()),
        "folder_as_image",
        ".",
        "c0.png",
    ),
    _of(
        lambda r: ((r / "masks" / "c0.png").unlink(), (r / "masks" / "c0.png").mkdir()),
        "folder_as_mask",
        ".",
        "c0.png",
    ),
    _of(lambda r: (r / "images" / "x.png").symlink_to("nowhere.png"), "broken_link", ".", "x.png"),
    _of(lambda r: (r / "images" / "x.png").symlink_to("x.png"), "link_to_itself", ".", "x.png"),
    _of(lambda r: (r / "images" / "loop").symlink_to(".."), "folder_loop", None),
    _of(moved_out, "link_out", None),
    _of(pipe, "pipe", ".", "p.png"),
    _of(listening, "socket", ".", "s.png"),
    _of(header_outside, "header_outside", "outside", "h.nrrd"),
    _of(volume_cut, "cut_volume", "truncated", "v.nrrd"),
    FaultyData("device_name", partial(renamed, name="CON"), None),
    FaultyData("line_break", partial(renamed, name="a\nb"), None),
    FaultyData("escape", partial(renamed, name="a\x1b[31mred"), None),
    FaultyData("no_utf8", partial(renamed, name=b"a\xff"), None),
    FaultyData("markup", partial(renamed, name="[red]a[bold]"), None),
    FaultyData("braces", partial(renamed, name="{0} %s $HOME"), None),
    FaultyData("minus", partial(renamed, name="--help"), None),
    FaultyData("colon", partial(renamed, name="10:30 a"), None),
    FaultyData("spaces", partial(renamed, name="  a  "), None),
    FaultyData("dots", partial(renamed, name="a..b."), None),
    FaultyData("long_name", partial(renamed, name="n" * 240), None),
    FaultyData("hidden", partial(renamed, name=".c0"), None, cases=CASES - 1),
    FaultyData("capitals", partial(also, name="C1"), "capital|differ|case|id", "C1"),
    FaultyData("unicode_twins", lambda r: also(renamed_twin(r), "e\u0301"), "accent|id", ".png"),
    # Manifests
    table("empty_table", "", "."),
    table("head_alone", "id,image,mask\n", "."),
    table("no_columns", rows(head="a,b,c"), "column|image"),
    table("latin_1", rows("é,images/c0.png,masks/c0.png").encode("latin-1"), None),
    table("utf_16", rows().encode("utf-16"), "UTF-8|column"),
    table("bom", rows().encode("utf-8-sig"), None),
    table("zeros", bytes(300), "."),
    table("open_quote", rows('"c0,images/c0.png,masks/c0.png'), "."),
    table("long_cell", rows("c0,images/c0.png," + "x" * 200_000), ".", named=""),
    table("null_in_path", rows("c0,images/c\0.png,masks/c0.png"), "."),
    table("long_path", rows("c0," + "p/" * 3000 + "c0.png,masks/c0.png"), ".", named=""),
    table("long_name_in_path", rows("c0," + "p" * 300 + ".png,masks/c0.png"), ".", named=""),
    table("image_absent", rows("c0,images/none.png,masks/c0.png"), "exist", named="none.png"),
    table("image_is_folder", rows("c0,images,masks/c0.png"), ".", named="images"),
    table("image_is_device", rows("c0,/dev/zero,masks/c0.png"), ".", named="zero"),
    table("few_cells", rows("c0"), "image|mask"),
    table("many_cells", rows("c0,images/c0.png,masks/c0.png,a,b,c"), None),
    table("twice", rows("c1,images/c0.png,masks/c0.png"), "id", named="c1"),
    table("capitals_twice", rows("C1,images/c0.png,masks/c0.png"), "capital|differ|id", named="C1"),
    table("outside", rows("../../x,images/c0.png,masks/c0.png"), None),
    table("absolute", rows("/tmp/x,images/c0.png,masks/c0.png"), None),
    table("dots_alone", rows("..,images/c0.png,masks/c0.png"), None),
    table("no_id", rows(",images/c0.png,masks/c0.png"), "id", named=""),
    table("device_id", rows("aux,images/c0.png,masks/c0.png"), None),
    table("bell", rows("a\x07,images/c0.png,masks/c0.png"), None),
    table(
        "split_word", rows("c0,images/c0.png,masks/c0.png,never", head="id,image,mask,split"), None
    ),
    table(
        "annotator_outside",
        rows("c0,images/c0.png,masks/c0.png,masks/c0.png", head="id,image,mask,mask_../x"),
        None,
    ),
    # dataset.json
    note("no_json", "labels: 1", "JSON|read"),
    note("empty_json", "", "."),
    note("a_list", "[1, 2]", "."),
    note("deep", "[" * DEEP, "."),
    note("deep_labels", '{"labels": ' + "[" * DEEP, "."),
    note("long_number", '{"labels": {"background": 0, "speck": ' + "9" * 6000 + "}}", "."),
    note("no_utf8_json", b'{"labels": {"background": 0, "sp\xff": 1}}', "."),
    note("label_text", '{"labels": {"background": 0, "speck": "one"}}', "."),
    note("label_list", '{"labels": {"background": 0, "speck": [[]]}}', "."),
    note("label_nan", '{"labels": {"background": 0, "speck": NaN}}', "."),
    note("label_inf", '{"labels": {"background": 0, "speck": 1e999}}', "."),
    note("label_minus", '{"labels": {"background": 0, "speck": -1}}', "."),
    note("label_huge", '{"labels": {"background": 0, "speck": 1e300}}', "."),
    note("labels_list", '{"labels": [0, 1]}', None),
    note("labels_number", '{"labels": 3}', "."),
    note("labels_alike", '{"labels": {"background": 0, "a": 1, "b": 1}}', "."),
    note("name_outside", '{"labels": {"background": 0, "../../x": 1}}', None),
    note("region_outside", _LABELS + ', "regions": {"../x": [1]}}', None),
    note(
        "regions_alike",
        _LABELS + ', "regions": {"A": [1], "a": [1]}}',
        "one folder|same folder|folder",
        "",
    ),
    note("region_unknown", _LABELS + ', "regions": {"r": [7]}}', "."),
    note("region_text", _LABELS + ', "regions": {"r": "speck"}}', "."),
    note("channels_list", _LABELS + ', "channel_names": [[1], 2]}', None),
    note("channels_number", _LABELS + ', "channel_names": 5}', "."),
)


def renamed_twin(root: Path) -> Path:
    return renamed(root, "\u00e9")


@dataclass(frozen=True)
class FaultyText:
    """The content of one file, and the words of its refusal, or None where it may be read."""

    name: str
    content: bytes | str
    says: str | None = "."


RECIPES = (
    FaultyText("empty.yaml", "", None),
    FaultyText("list.yaml", "- 1\n- 2\n"),
    FaultyText("text.yaml", "hello"),
    FaultyText("tab.yaml", "training:\n\tsteps: 3\n"),
    FaultyText("colon.yaml", "training: steps: 3\n"),
    FaultyText("python.yaml", "training: !!python/object/apply:os.mkdir [unpickled]\n"),
    FaultyText(
        "aliases.yaml",
        "a: &a [x, x, x, x, x, x, x, x, x]\n"
        + "".join(
            f"{y}: &{y} [{', '.join(['*' + x] * 9)}]\n"
            for x, y in zip("abcdefg", "bcdefgh", strict=True)
        ),
    ),
    FaultyText("itself.yaml", "training: &t\n  steps: *t\n"),
    FaultyText("deep.yaml", "training: " + "[" * 20_000),
    FaultyText("deep_map.yaml", "training: " + "{a: " * 5_000),
    FaultyText("key_list.yaml", "? [a, b]\n: 1\n"),
    FaultyText("key_map.yaml", "training: {? {a: 1} : 2}\n"),
    FaultyText("merge.yaml", "training:\n  <<: [1, 2]\n  steps: 3\n"),
    FaultyText("date.yaml", "training: 2020-13-45\n"),
    FaultyText("day.yaml", "training:\n  steps: 2020-01-01\n"),
    FaultyText("number_key.yaml", "1: 2\n"),
    FaultyText("none_key.yaml", "~: 2\n"),
    FaultyText("digits.yaml", "training:\n  steps: " + "9" * 6000 + "\n"),
    FaultyText("minus.yaml", "training:\n  steps: -3\n"),
    FaultyText("nan.yaml", "training:\n  learning_rate: .nan\n"),
    FaultyText("infinite.yaml", "training:\n  learning_rate: .inf\n"),
    FaultyText("text_number.yaml", "training:\n  steps: many\n"),
    FaultyText("nothing_in.yaml", "training:\n", None),
    FaultyText("unknown.yaml", "trainign:\n  steps: 3\n"),
    FaultyText("network.yaml", "network:\n  name: [1]\n"),
    FaultyText("network_map.yaml", "network: {name: {a: 1}}\n"),
    FaultyText("loss.yaml", "loss: 7\n"),
    FaultyText("latin_1.yaml", "training:\n  steps: é\n".encode("latin-1")),
    FaultyText("zeros.yaml", bytes(200)),
    FaultyText("control.yaml", "training:\n  steps: \x07\n"),
    FaultyText("surrogate.yaml", 'training:\n  steps: "\\ud800"\n'),
    FaultyText("documents.yaml", "training:\n  steps: 3\n---\na: 1\n"),
)
SPLITS = (
    FaultyText("empty.csv", ""),
    FaultyText("head.csv", "id,role\n", None),
    FaultyText("columns.csv", "name,part\nc0,train\n"),
    FaultyText("role.csv", "id,role\nc0,somewhere\n"),
    FaultyText("no_role.csv", "id,role\nc0\n"),
    FaultyText("twice.csv", "id,role\nc0,test\nc0,validation\n"),
    FaultyText("unknown.csv", "id,role\nnobody,test\n", None),
    FaultyText("latin_1.csv", "id,role\né,test\n".encode("latin-1")),
    FaultyText("utf_16.csv", "id,role\nc0,test\n".encode("utf-16")),
    FaultyText("zeros.csv", bytes(300)),
    FaultyText("long.csv", "id,role\n" + "x" * 200_000 + ",test\n"),
    FaultyText("quote.csv", 'id,role\n"c0,test\n'),
    FaultyText("bom.csv", "id,role\nc0,validation\nc1,test\n".encode("utf-8-sig"), None),
)
SPOILS: dict[str, Callable[[bytes], bytes | None]] = {
    "missing": lambda _: None,
    "empty": lambda _: b"",
    "cut": lambda content: content[: len(content) // 2],
    "list": lambda _: b"[]",
    "map": lambda _: b"{}",
    "null": lambda _: b"null",
    "number": lambda _: b"7",
    "deep": lambda _: b"[" * DEEP,
    "zeros": lambda content: bytes(len(content)),
    "latin-1": lambda content: content[:40] + "é".encode("latin-1") + content[40:],
    "packed": gz,
}
"""What may have happened to a file of a run: returns its content, or None where it is gone."""
