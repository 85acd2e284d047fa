"""What is killed: one call of every command that writes, and what it starts from.

A command that is registered and missing in :data:`SCENARIOS` and in :data:`WRITES_NOTHING` fails a
test; name it here with the arguments of a short call.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image

from corpus.faulty_data import whole
from corpus.finished_run import SETTINGS
from rareseg.quality.suspects import Suspect, save_suspects
from rareseg.review.answers import Answers

WRITES_NOTHING = ("inspect", "review", "serve", "benchmark")
"""`review` writes decisions alone, which the scenario "answers" has."""
WITHOUT = ("demo",)
"""Calls train with thousands of steps, and are made of commands that are killed here."""


@dataclass(frozen=True)
class Scenario:
    """A call below a folder ``place``: ``prepare`` lays out what it needs beside data and run."""

    name: str
    arguments: tuple[str, ...]
    function: str = ""
    prepare: Callable[[Path], object] = lambda place: None
    begun: str = ""
    """A part of the run that is there from the start, if any ("run")."""

    def call(self, place: Path) -> dict[str, object]:
        """Return the call as kills.killer takes it."""
        words = [word.format(place=place) for word in self.arguments]
        return {"arguments": words, **({"function": self.function} if self.function else {})}


def _new_images(place: Path) -> None:
    rng = np.random.default_rng(77)
    for number in range(4):
        (place / "new").mkdir(exist_ok=True)
        image = rng.integers(0, 200, (16, 16), dtype=np.uint8)
        PIL.Image.fromarray(image).save(place / "new" / f"n{number}.png")


def _annotated(place: Path) -> None:
    names = [path.stem for path in sorted((place / "data" / "images").iterdir())]
    lines = ["id,image,mask_ada,mask_bo,mask_cy"]
    lines += [f"{n},data/images/{n}.png," + ",".join([f"data/masks/{n}.png"] * 3) for n in names]
    (place / "annotated.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _reviewed(place: Path) -> None:
    run, box = place / "run", ((0, 1), (2, 9), (3, 8))
    names = [path.stem for path in sorted((place / "data" / "images").iterdir())]
    items = [
        Suspect(f"i{n}", n, None, "foreground", "missed object", 0.5, box, 30, 0, "because")
        for n in names[:4]
    ]
    save_suspects(run / "suspects.json", items)
    with Answers(run / "review" / "decisions.sqlite") as answers:
        for item, verdict in zip(items, ("exclude case", "accept label") * 2, strict=True):
            answers.record(item, reviewer="Ada", verdict=verdict)


_TRAIN = ("train", "{place}/data", "--out", "{place}/out", *SETTINGS)
_STUDY = tuple(word for word in SETTINGS if not word.startswith("--set=training.steps"))
SCENARIOS = (
    Scenario("train", _TRAIN),
    Scenario("train with folds", (*_TRAIN, "--folds", "2")),
    Scenario(
        "compare",
        (
            *("compare", "{place}/data", "--out", "{place}/out"),
            *("--strategies", "random,balanced", "--steps", "2", *_STUDY),
        ),
    ),
    Scenario(
        "search",
        (
            *("search", "{place}/data", "--out", "{place}/out"),
            *("--trials", "2", "--steps", "2", *_STUDY),
        ),
    ),
    Scenario(
        "predict",
        (
            *("predict", "{place}/run", "{place}/new", "--out", "{place}/out"),
            *("--probabilities", "--overlay", "--format", "coco"),
        ),
        prepare=_new_images,
    ),
    Scenario(
        "monitor",
        ("monitor", "{place}/run", "{place}/new", "--out", "{place}/out"),
        prepare=_new_images,
    ),
    Scenario("export", ("export", "{place}/run", "--out", "{place}/out", "--engine", "torch")),
    Scenario("evaluate", ("evaluate", "{place}/run", "{place}/data", "--out", "{place}/out")),
    Scenario("tune", ("tune", "{place}/run", "--maximize", "youden")),
    Scenario(
        "certify",
        (
            *("tune", "{place}/run", "--max-false-negative-rate", "0.9", "--confidence", "0.5"),
            *("--certify-on", "{place}/unseen"),
        ),
        prepare=lambda place: whole_elsewhere(place / "unseen"),
    ),
    Scenario("calibrate", ("calibrate", "{place}/run")),
    Scenario("suspects", ("suspects", "{place}/run")),
    Scenario(
        "audit",
        (
            "audit",
            "{place}/data",
            "--out",
            "{place}/out",
            "--write-manifest",
            "{place}/grouped.csv",
        ),
    ),
    Scenario("plan", ("plan", "{place}/data", "--out", "{place}/recipe.yaml")),
    Scenario("preview", ("preview", "{place}/data", "--out", "{place}/sheet.png", *SETTINGS)),
    Scenario(
        "consensus",
        ("consensus", "{place}/annotated.csv", "--out", "{place}/out"),
        prepare=_annotated,
    ),
    Scenario(
        "apply-review", ("apply-review", "{place}/run", "--out", "{place}/out"), prepare=_reviewed
    ),
    Scenario("answers", ("{place}/decisions.sqlite", "{place}/confirmed.txt"), "answer_items"),
    Scenario("store", ("{place}/data", "{place}/out"), "make_store"),
)


def whole_elsewhere(root: Path) -> None:
    """Write cases that no run has seen."""
    whole(root / "all", count=40)
    for folder in ("images", "masks"):
        (root / folder).mkdir()
        for number in range(12, 40):
            name = f"c{number}.png"
            (root / "all" / folder / name).rename(root / folder / name)
    shutil.rmtree(root / "all")


def confirmed_are_kept(place: Path) -> list[str]:
    """Return the decisions that were confirmed and are not in the database."""
    told = place / "confirmed.txt"
    if not told.is_file():
        return []
    with Answers(place / "decisions.sqlite") as answers:
        kept = {line["item"] for line in answers.log()}
    return sorted(set(told.read_text(encoding="utf-8").split()) - kept)
