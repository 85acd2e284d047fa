"""Every region is always there, and groups travel from a run to whatever is used with it."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from rareseg.data.builtin.specks import SpecksSettings, write_specks
from rareseg.decision.guarantees.guarantee import make_guarantee
from rareseg.errors import UsageError
from rareseg.run.certify import certify
from rareseg.run.evaluate import evaluate
from rareseg.run.setup.run_folder import DataOptions, RunFolder, read_about

PATTERN = r"(p\w*?\d+)_"
"""Fits the names of the run's own data too, plate0000_0 and so on."""
SETTINGS = SpecksSettings(
    images=40, size=64, contrast=8.0, foreground_share=0.06, distractors=1, seed=78
)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """20 parts, two photographs each; nothing but the names says which belong together."""
    data = write_specks(tmp_path_factory.mktemp("photographs") / "data", SETTINGS)
    rows = list(csv.DictReader((data / "manifest.csv").open()))
    with (data / "manifest.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["id", "image", "mask"])
        writer.writeheader()
        writer.writerows(
            {"id": f"p{k // 2}_{k % 2}", "image": row["image"], "mask": row["mask"]}
            for k, row in enumerate(rows)
        )
    return data


@pytest.fixture
def run(finished, tmp_path):
    """A copy of the finished run, as if it had been begun with the pattern."""
    shutil.copytree(finished, tmp_path / "run")
    about = json.loads((tmp_path / "run" / "run.json").read_text())
    (tmp_path / "run" / "run.json").write_text(json.dumps(about | {"group_from": PATTERN}))
    return tmp_path / "run"


def positive_parts(data):
    """The parts that have a photograph with a speck."""
    rows = csv.DictReader((data / "manifest.csv").open())
    return {
        row["id"].split("_")[0] for row in rows if np.asarray(Image.open(data / row["mask"])).any()
    }


class TestGroups:
    def test_a_certificate_counts_parts_and_not_photographs(self, run, photographs):
        said = []
        guarantee = make_guarantee("false negative rate", 0.3, confidence=None)
        (kept,) = certify(run, guarantee, certify_on=photographs, say=said.append).values()
        assert kept.statement.n_groups == len(positive_parts(photographs)) <= 20
        assert said[0] == f"{photographs}: 40 cases in 20 groups, by --group-from {PATTERN!r}"

    def test_an_empty_pattern_is_a_wish_of_its_own(self, run, photographs):
        said = []
        wish = DataOptions(str(photographs), group_from="")
        guarantee = make_guarantee("false negative rate", 0.3, confidence=None)
        (kept,) = certify(run, guarantee, certify_on=wish, say=said.append).values()
        assert kept.statement.assumes_independent_images
        assert "each taken as independent" in said[0]

    def test_evaluation_groups_as_the_run_does(self, run, photographs, tmp_path):
        evaluate(run, photographs, tmp_path / "as_the_run")
        evaluate(run, DataOptions(str(photographs), PATTERN), tmp_path / "told")
        found = [
            [row["group"] for row in csv.DictReader((tmp_path / name / "cases.csv").open())]
            for name in ("as_the_run", "told")
        ]
        assert found[0] == found[1]
        assert len(set(found[0])) == 20

    def test_names_that_the_pattern_does_not_fit_are_refused(self, run, photographs, tmp_path):
        other = tmp_path / "other"
        shutil.copytree(photographs, other)
        text = (other / "manifest.csv").read_text().replace("\np", "\nq")
        (other / "manifest.csv").write_text(text)
        with pytest.raises(UsageError, match="matches none of the 40 ids"):
            evaluate(run, other, tmp_path / "out")

    def test_the_command_line_hands_both_on(self, run, photographs, call):
        guarantee = ("--max-false-negative-rate", 0.3, "--certify-on", photographs)
        told = call("tune", run, *guarantee)
        assert told.code == 0, told.err
        assert "40 cases in 20 groups" in told.out
        told = call("tune", run, *guarantee, "--group-from", r"(p\d)")
        assert "40 cases in 10 groups, by --group-from" in told.out

    def test_masks_that_are_missing_are_what_they_are_in_the_run(self, finished):
        about = read_about(RunFolder(finished))
        assert DataOptions("x").like(about).missing_mask == "error"
        assert DataOptions("x", missing_mask="negative").like(about).missing_mask == "negative"
