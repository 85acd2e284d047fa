"""Images that were drawn are shown without predictions; what is said of them is written at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from rareseg.errors import RunError, UsageError
from rareseg.review.picks.picked_images import open_picks_api
from rareseg.run.scores.picked_groups import Pick, read_answers, write_picks


@pytest.fixture
def picks(tmp_path) -> Path:
    rng = np.random.default_rng(0)
    drawn = []
    for name in ("a", "b", "c"):
        image = tmp_path / f"{name}.png"
        PIL.Image.fromarray(rng.integers(0, 255, (32, 40), dtype=np.uint8)).save(image)
        drawn.append(Pick(name, (image,), f"digest-{name}", f"image {name}"))
    write_picks(tmp_path / "labels", drawn)
    return tmp_path / "labels"


@pytest.fixture
def api(run, picks):
    api = open_picks_api(run, picks)
    yield api
    api.answers.close()


def test_nothing_is_predicted_and_two_things_can_be_said(api):
    about = api.about()
    assert about["verdicts"] == ["accept label", "unsure"]
    assert about["total"] == 3
    detail = api.detail("pick-a", "Ada")
    assert detail["case"]["predicted"] == {}
    assert detail["case"]["drawn"] == {}
    assert detail["case"]["by"] == "nobody: labels come first"
    assert "no prediction is shown" in detail["item"]["reason"]


def test_a_decision_is_written_at_once_and_taken_back(api, picks):
    assert read_answers(picks) == {}
    api.decide("pick-a", "Ada", "accept label", "")
    api.decide("pick-b", "Ada", "unsure", "a scratch?")
    assert read_answers(picks) == {"a": "empty"}
    api.undo("Ada")
    api.undo("Ada")
    assert read_answers(picks) == {}


def test_who_disagree_leave_an_image_without_a_label(api, picks):
    api.decide("pick-c", "Ada", "accept label", "")
    api.decide("pick-c", "Bo", "unsure", "")
    assert read_answers(picks) == {}


def test_it_is_taken_up_again(api, picks, run):
    api.decide("pick-a", "Ada", "accept label", "")
    (picks / "answered.csv").unlink()
    api.answers.close()
    again = open_picks_api(run, picks)
    assert read_answers(picks) == {"a": "empty"}
    again.answers.close()


def test_what_is_no_list_is_refused(run, tmp_path):
    with pytest.raises(RunError, match="no list of groups to label"):
        open_picks_api(run, tmp_path)


def test_no_other_verdict_is_taken(api):
    with pytest.raises(UsageError):
        api.decide("pick-a", "Ada", "accept prediction", "")
