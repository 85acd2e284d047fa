"""Scores are counted before they take memory: classes and voxels, and so many cases as fit."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from rareseg.data.records import Case
from rareseg.errors import DataError
from rareseg.prediction.bundle import load_model
from rareseg.prediction.scorer import ModelScorer
from rareseg.run.predict import predict_images
from rareseg.run.scores import case_scoring
from rareseg.run.scores.case_scoring import ScoredCase, score_all
from rareseg.run.setup.own_data import cases_of
from rareseg.run.setup.run_folder import open_run
from rareseg_runner.memory_limit import limited_to
from rareseg_runner.scoring.image_scorer import score_bytes

SIDE = 64
IMAGE = SIDE * SIDE
SCORES = 4 * (IMAGE + 2 * 2 * IMAGE)
"""What the network sees, and two sums of the scores of two classes, as float32."""


def test_a_sum_and_what_is_added_or_both_grids() -> None:
    assert score_bytes((1, 2, 3), (1, 2, 3), classes=5, channels=2) == 4 * (2 * 6 + 5 * 12)
    assert score_bytes((1, 2, 3), (1, 2, 3), classes=5, channels=2, networks=3) == 4 * (12 + 90)
    assert score_bytes((4, 4, 4), (2, 2, 2), classes=3, channels=1) == 4 * (8 + 3 * (8 + 64))
    assert score_bytes((0, 2, 3), (0, 2, 3), classes=2, channels=1) == 0


def test_an_image_whose_scores_do_not_fit_is_a_failure_of_its_own(
    finished: Path, specks: Path, tmp_path: Path
) -> None:
    image = sorted((specks / "images").iterdir())[0]
    with limited_to(IMAGE + SCORES):
        done = predict_images(finished, image, tmp_path / "fits")
        assert not done.failures
    with limited_to(IMAGE + SCORES - 1):
        done = predict_images(finished, image, tmp_path / "out")
    assert [one.image for one in done.failures] == [image.name]
    said = done.failures[0].reason
    assert f"the scores of 2 classes on 1 × {SIDE} × {SIDE} voxels: " in said
    assert "are needed, where --memory allows" in said


def test_an_evaluation_names_the_case(finished: Path) -> None:
    folder = open_run(finished)
    cases = cases_of(folder, "test")
    scorer = ModelScorer(load_model(folder.bundle))
    with limited_to(2 * IMAGE), pytest.raises(DataError, match=f"case '{cases[0].id}': the scores"):
        score_all(scorer, cases, role="test")


@pytest.mark.parametrize(("images", "together"), [(1.5, 1), (500, 2)])
def test_cases_are_counted_at_a_time_as_they_fit(
    images: float, together: int, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two are, beside the one that is predicted, where three fit; each waits for a second."""
    folder = open_run(finished)
    cases: tuple[Case, ...] = cases_of(folder, "test")
    scorer = ModelScorer(load_model(folder.bundle))
    at_work: list[ScoredCase] = []
    most: list[int] = []
    second = threading.Event()
    count = case_scoring.count_case

    def slowly(scored: ScoredCase, *arguments: object, **options: object) -> object:
        at_work.append(scored)
        most.append(len(at_work))
        if len(at_work) > 1:
            second.set()
        second.wait(0.5)
        at_work.pop()
        return count(scored, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(case_scoring, "count_case", slowly)
    with limited_to(round(images * (IMAGE + SCORES))):
        score_all(scorer, cases, role="test")
    assert max(most) == together
