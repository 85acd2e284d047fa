"""The pages keep their word: every code block runs, every command line is one that exists.

A block that cannot run stands below a line ``<!-- not run: REASON -->``; those are counted here.
"""

from __future__ import annotations

import itertools
import os
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import typer
from PIL import Image

import rareseg as rs
from rareseg.cli import app
from rareseg.decision.point_search.objectives import LEVELS, make_goal
from rareseg.recipe import check_values, parse_settings
from rareseg.report.report_content import as_priority
from rareseg.study.comparison_rows import make_rows
from rareseg.study.search_space import make_space

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
START = ROOT / "docs" / "start.md"
SHELL = ("", "sh", "bash", "console")
OTHER_PROGRAMS = (
    "cd",
    "curl",
    "docker",
    "export",
    "git",
    "make",
    "pip",
    "python",
    "source",
    "srun",
    "torchrun",
)
MOST_NOT_RUN = 3


@dataclass(frozen=True)
class Block:
    """A fenced block: where it stands, its language, its text, and why it is not run, if so."""

    page: Path
    line: int
    language: str
    text: str
    not_run: str

    @property
    def place(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks_of(page: Path) -> Iterator[Block]:
    lines = page.read_text(encoding="utf-8").splitlines()
    begun: tuple[int, str, str] | None = None
    above = ""
    for number, line in enumerate(lines, start=1):
        fence = re.fullmatch(r"(`{3,})(\S*)", line.strip())
        if begun is None and fence:
            reason = re.fullmatch(r"<!-- not run: (.+) -->", above.strip())
            begun = number, fence[2], reason[1] if reason else ""
        elif begun is not None and fence and not fence[2]:
            first, language, reason_text = begun
            yield Block(page, first, language, "\n".join(lines[first : number - 1]), reason_text)
            begun = None
        elif begun is None and line.strip():
            above = line
    assert begun is None, f"{page.name}: a block that begins in line {begun[0]} does not end"


def commands_of(block: Block) -> list[str]:
    """Return a shell block's lines; a backslash at the end continues one."""
    return [line.strip() for line in block.text.replace("\\\n", " ").splitlines() if line.strip()]


def words_of(line: str) -> list[str]:
    """Return the words of a command line, without comments and VARIABLE=value before it."""
    words = shlex.split(line, comments=True)
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        del words[0]
    return words


BLOCKS = [block for page in PAGES for block in blocks_of(page)]
LINES = [
    pytest.param(block, line, id=f"{block.place} {line[:40]}")
    for block in BLOCKS
    if block.language in SHELL
    for line in commands_of(block)
    if block.language or re.match(r"rareseg |python |make ", line)
]
MENTIONS = sorted(
    {
        (page.name, found)
        for page in PAGES
        for found in re.findall(r"`(rareseg [a-z][^`]*)`", page.read_text(encoding="utf-8"))
    }
)


def parse(words: list[str], *, whole: bool) -> tuple[str, dict[str, Any]]:
    """Read `rareseg WORDS` as the command line does, without doing it; what is wrong is raised.

    A line that is not ``whole`` may leave out what it must have.
    """
    group: Any = typer.main.get_command(app)
    above = group.context_class(group, info_name="rareseg")
    name, command, rest = group.resolve_command(above, list(words))
    context = command.make_context(name, rest, parent=above, resilient_parsing=not whole)
    return str(name), context.params


def check_meaning(name: str, given: dict[str, Any]) -> None:
    """Hold the words that the command line leaves to the functions against those functions."""
    check_values(parse_settings(given.get("settings") or []))
    if name == "compare":
        make_rows([part for part in given["strategies"].split(",") if part], given["rows"] or [])
    if name == "search":
        make_space(given["ranges"] or [], given["choices"] or [])
    if name in ("tune", "search"):
        make_goal(given["maximize"], beta=given["beta"])
        assert given.get("level") in (None, *LEVELS)
    if name == "evaluate":
        as_priority(given["priority"])
    assert given.get("missing_mask") in (None, "error", "negative")


@pytest.mark.parametrize(("block", "line"), LINES)
def test_a_command_line_exists(block: Block, line: str) -> None:
    words = words_of(line)
    if not words:
        return
    if words[0] == "rareseg":
        name, given = parse(words[1:], whole=True)
        check_meaning(name, given)
    elif words[0] == "make":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        for target in words[1:]:
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"no target {target}"
    elif words[0] == "python":
        assert words[1] == "-c" or (ROOT / words[1]).is_file()
        if words[1] == "-c":
            compile(words[2], block.place, "exec")
    else:
        assert words[0] in OTHER_PROGRAMS


@pytest.mark.parametrize(("page", "found"), MENTIONS)
def test_a_command_in_a_sentence_exists(page: str, found: str) -> None:
    words = words_of(found.replace("…", "").replace("...", ""))
    parse(words[1:], whole=False)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("rareseg trian data/", "No such command"),
        ("rareseg train data/ --otu run", "No such option"),
        ("rareseg predict run images/", "Missing"),
        ("rareseg train data/ --devices none", "none|integer"),
    ],
)
def test_a_command_line_that_does_not_exist_is_seen(line: str, complaint: str) -> None:
    with pytest.raises(Exception, match=complaint):
        parse(words_of(line)[1:], whole=True)


def test_every_page_is_in_the_table_of_contents() -> None:
    listed = {
        name
        for block in blocks_of(ROOT / "docs" / "index.md")
        if block.language == "{toctree}"
        for name in block.text.split()
    }
    assert {page.stem for page in PAGES[1:]} - {"index"} <= {name.rstrip("*") for name in listed}


def test_few_blocks_are_not_run_and_each_says_why() -> None:
    left_out = [f"{block.place}: {block.not_run}" for block in BLOCKS if block.not_run]
    assert len(left_out) <= MOST_NOT_RUN, left_out


def test_links_between_pages_lead_somewhere() -> None:
    lost = [
        f"{page.name}: {target}"
        for page in PAGES
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert lost == []


# What a page may take for granted: these folders beside it, and these names.


def write_pngs(folder: Path, images: int, seed: int) -> Path:
    """Write a folder of PNGs as people have it: images/ and masks/, and negatives/ without."""
    settings = rs.SpecksSettings(
        images=images, size=64, contrast=8.0, foreground_share=0.06, distractors=1, seed=seed
    )
    specks = rs.write_specks(folder.with_name(f"{folder.name}-specks"), settings)
    for name in ("images", "masks", "negatives"):
        (folder / name).mkdir(parents=True)
    for case in rs.open_dataset(specks).cases:
        (image,) = case.images
        name = f"plate{seed}_{case.id}.png"
        holds = case.mask is not None and np.asarray(Image.open(case.mask)).any()
        shutil.copy(image, folder / ("images" if holds else "negatives") / name)
        if case.mask and holds:
            shutil.copy(case.mask, folder / "masks" / name)
    shutil.rmtree(specks)
    return folder


@pytest.fixture(scope="session")
def newcomer(call, settings, tmp_path_factory) -> Path:
    """A folder in which the commands of "start in five minutes" have been called, one by one."""
    here = tmp_path_factory.mktemp("newcomer")
    write_pngs(here / "data", 30, seed=1)
    write_pngs(here / "more_data", 8, seed=2)
    write_pngs(here / "empty_images", 16, seed=3)
    new = here / "new_images"
    shutil.copytree(here / "more_data" / "images", new)
    for name in ("images", "masks"):
        shutil.rmtree(here / "empty_images" / name)
    before = Path.cwd()
    os.chdir(here)
    try:
        for block in blocks_of(START):
            for line in commands_of(block) if block.language in SHELL else ():
                words = words_of(line)
                if words[:1] != ["rareseg"] or words[1] == "demo":
                    continue
                if "--budget" in words:
                    # Seconds in place of the page's minutes.
                    at = words.index("--budget")
                    words[at : at + 2] = settings()
                done = call(*words[1:])
                assert done.code == 0, f"{block.place}: {line}\n{done.err}"
    finally:
        os.chdir(before)
    return here


def test_the_start_leaves_what_its_page_says(newcomer: Path) -> None:
    text = START.read_text(encoding="utf-8")
    named = re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)
    assert len(named) >= 6
    assert [name for name in named if not any(newcomer.glob(name.rstrip("/")))] == []


@pytest.fixture
def assumed(newcomer: Path, tmp_path: Path, monkeypatch) -> Iterator[dict[str, Any]]:
    """The names that a page may use; the current folder holds data/, run/, images, a photo."""
    here = shutil.copytree(newcomer, tmp_path / "here")
    monkeypatch.chdir(here)
    shutil.copy(next((here / "new_images").iterdir()), here / "photo.png")
    store = rs.build_store(rs.open_dataset("data/"), tmp_path / "cache")
    endless = rs.PatchSampler.__iter__
    # A sampler without an epoch never ends: its reader stops it, here after three batches.
    monkeypatch.setattr(
        rs.PatchSampler,
        "__iter__",
        lambda self: itertools.islice(endless(self), None if self.epoch_length else 3),
    )
    rng = np.random.default_rng(0)
    references = {f"case{k}": rng.random((32, 32)) < 0.1 * (k % 2) for k in range(40)}
    probabilities = {
        name: np.clip(0.5 * mask + 0.6 * rng.random(mask.shape), 0, 1).astype(np.float32)
        for name, mask in references.items()
    }
    dist.init_process_group(
        "gloo", init_method=(tmp_path / "meeting").as_uri(), rank=0, world_size=1
    )
    yield {
        "__name__": "__main__",
        "rs": rs,
        "torch": torch,
        "np": np,
        "dist": dist,
        "store": store,
        "network": torch.nn.Conv2d(1, 2, 1),
        "probabilities": probabilities,
        "references": references,
    }
    dist.destroy_process_group()


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if any(b.language == "python" for b in BLOCKS if b.page == page)],
    ids=lambda page: page.name,
)
def test_every_python_block_of_a_page_runs(page: Path, assumed: dict[str, Any]) -> None:
    for block in blocks_of(page):
        if block.language == "python" and not block.not_run:
            # Line numbers of the page, so that an error names the line that people read.
            code = compile("\n" * block.line + block.text, str(page), "exec")
            exec(code, assumed)


def test_pictures_that_pages_show_are_there() -> None:
    for page in PAGES:
        for target in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
            path = page.parent / target
            assert path.suffix == ".svg" or Image.open(path).size
