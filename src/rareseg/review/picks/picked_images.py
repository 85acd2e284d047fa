"""Show images that were drawn at random to be labelled, with no prediction, and keep the answers.

What is empty is said here; a mask of anything else is drawn in a tool for that and named in the
manifest. Each decision is written beside the manifest at once, where `tune --certify-on` reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rareseg.data.case_files import read_case_image
from rareseg.data.records import Case, Role
from rareseg.errors import DataError, RunError, UsageError
from rareseg.prediction.bundle import load_model
from rareseg.quality.suspects import Suspect
from rareseg.review.answers import Answers, LatestAnswers, Verdict
from rareseg.review.apply_answers import DECISIONS
from rareseg.review.case_reader import CaseReader
from rareseg.review.page_api import PageApi
from rareseg.review.review_items import Items
from rareseg.run.scores.picked_groups import EMPTY, MANIFEST, is_picked, read_picks, write_answers
from rareseg.run.setup.run_folder import open_run
from rareseg_runner.image_records import Classes, Image

VERDICTS: tuple[Verdict, ...] = ("accept label", "unsure")
"""What can be said of an image without a mask: that it is empty, or not that."""

_REASON = (
    "Drawn at random to be labelled; no prediction is shown. Accept the label where the image "
    f"holds nothing of any region. Otherwise say unsure, and name a mask for it in {MANIFEST}."
)


class NoPredictions:
    """Predictions of images that are to be labelled before any is seen: nothing, everywhere."""

    digest = "no prediction was shown"

    def __init__(self, classes: Classes, roles: Mapping[str, Role]) -> None:
        self.classes, self.roles = classes, roles

    def of(self, case_id: str, image: Image) -> NDArray[np.uint8]:
        """Return class indices (z, y, x) without any foreground."""
        return np.zeros(image.array.shape[1:], np.uint8)

    def by(self, case_id: str) -> str:
        """Say that nobody predicts."""
        return "nobody: labels come first"


class PicksApi(PageApi):
    """A review of images that were drawn; what it decides is written to their folder."""

    def __init__(self, folder: Path, items: Items, cases: CaseReader, answers: Answers) -> None:
        super().__init__(folder.resolve().name, items, cases, answers)
        self._folder = folder
        self._write()

    def about(self) -> dict[str, Any]:
        """Return what a page of these images is about."""
        return {**super().about(), "verdicts": list(VERDICTS)}

    def decide(self, item_id: str, reviewer: str, verdict: str, note: str) -> dict[str, Any]:
        """Store a decision, and write it beside the manifest; UsageError for any other verdict."""
        if verdict not in VERDICTS:
            raise UsageError(f"'{verdict}' is no verdict here; allowed are {', '.join(VERDICTS)}.")
        done = super().decide(item_id, reviewer, verdict, note)
        self._write()
        return done

    def undo(self, reviewer: str) -> dict[str, Any]:
        """Take the reviewer's last decision back, there too."""
        done = super().undo(reviewer)
        self._write()
        return done

    def _write(self) -> None:
        write_answers(self._folder, answers_of(self.answers.latest()))


def answers_of(latest: LatestAnswers) -> dict[str, str]:
    """Return by id which images are empty: those of which every reviewer who looked says so."""
    return {
        next(iter(said.values())).item.case_id: EMPTY
        for said in latest.values()
        if said and all(one.verdict == "accept label" for one in said.values())
    }


def open_picks_api(run: Path | str, picks: Path | str) -> PicksApi:
    """Return the review of a folder that `rareseg monitor --label` wrote.

    Raises :class:`RunError` where it is none, :class:`DataError` where an image cannot be read.
    """
    folder = Path(picks)
    if not is_picked(folder) or not folder.is_dir():
        raise RunError(
            f"{folder} is no list of groups to label; name the folder that `rareseg monitor "
            "--label` wrote."
        )
    classes = load_model(open_run(Path(run)).bundle).classes
    cases = [Case(pick.id, pick.images, None, group=pick.group) for pick in read_picks(folder)]
    region = next(iter(classes.regions))
    items = Items(tuple(_item(case, region) for case in cases))
    nothing = NoPredictions(classes, {case.id: "certify" for case in cases})
    return PicksApi(folder, items, CaseReader(cases, nothing), Answers(folder / DECISIONS))


def _item(case: Case, region: str) -> Suspect:
    try:
        shape = read_case_image(case).array.shape[1:]
    except DataError as error:
        raise DataError(f"'{case.id}' cannot be labelled: {error}") from error
    z, y, x = shape
    return Suspect(
        id=f"pick-{case.id}",
        case_id=case.id,
        group=case.group,
        region=region,
        kind="random pick",
        score=0.0,
        box=((0, z), (0, y), (0, x)),
        voxels=0,
        plane=z // 2,
        reason=_REASON,
    )
