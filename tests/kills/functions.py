"""What is killed beside commands: a reviewer's decisions, and the store."""

from __future__ import annotations

from pathlib import Path

from rareseg.data.dataset import open_dataset
from rareseg.data.store.build import build_store
from rareseg.quality.suspects import Suspect
from rareseg.review.answers import Answers

ANSWERS = 12


def answer_items(base: str, confirmed: str) -> None:
    """Record decisions, and note each in a file of its own once it is confirmed."""
    with Answers(Path(base)) as answers:
        begun = len(answers.log())
        for number in range(begun, ANSWERS):
            item = Suspect(
                f"i{number}", f"c{number}", None, "foreground", "missed object", 0.5,
                ((0, 1), (2, 9), (3, 8)), 30, 0, "because",
            )  # fmt: skip
            answers.record(item, reviewer="Ada", verdict="unsure", note=str(number))
            with Path(confirmed).open("a", encoding="utf-8") as file:
                file.write(f"i{number}\n")


def make_store(data: str, out: str) -> None:
    """Build the store of a data set."""
    build_store(open_dataset(data), Path(out), jobs=1)
