from __future__ import annotations

import csv

import numpy as np
import pytest

from rareseg.evaluation.measures.mask_measures import (
    detail_case,
    summarize_details,
    write_details_csv,
)
from rareseg.evaluation.measures.measure_table import DETAIL_MEASURES
from rareseg.evaluation.statistics.undefined import Undefined
from rareseg_runner.image_records import Geometry


def block(*corner):
    mask = np.zeros((4, 12, 12), bool)
    z, y, x = corner
    mask[z : z + 2, y : y + 3, x : x + 3] = True
    return mask


@pytest.fixture
def details():
    geometry = Geometry(spacing=(5.0, 2.0, 2.0), dimension=3)
    pairs = {
        "hit": (block(1, 2, 2), block(1, 2, 2)),
        "alarm": (block(0, 8, 8), block(0, 0, 0) & False),
    }
    return [
        detail_case(*pair, case_id=name, region="r", geometry=geometry, group=name, role="test")
        for name, pair in pairs.items()
    ]


def test_one_case_that_is_right_and_one_false_alarm(details):
    found = summarize_details(details)
    assert list(found) == [measure.name for measure in DETAIL_MEASURES]
    assert found["hausdorff_95_mm"].value == 0.0
    assert found["hausdorff_95_mm"].n_undefined == 1
    assert found["surface_dice"].value == 0.5
    assert found["brats_lesionwise_dice"].value == 0.5
    assert found["autopet_false_positive_ml"].value == pytest.approx(18 * 0.02 / 2)
    assert (found["autopet_false_negative_ml"].value, found["surface_dice"].n_groups) == (0.0, 2)
    assert summarize_details([])["surface_dice"].value == Undefined("no case")


def test_reasons_stand_beside_empty_cells(details, tmp_path):
    write_details_csv(tmp_path / "details.csv", details)
    with (tmp_path / "details.csv").open(encoding="utf-8") as stream:
        hit, alarm = csv.DictReader(stream)
    assert (hit["surface_dice"], hit["undefined"]) == ("1.0", "")
    assert alarm["hausdorff_95_mm"] == ""
    assert "hausdorff_95_mm: the region is absent" in alarm["undefined"]
    assert "autopet_false_negative_ml: no object" in alarm["undefined"]
    assert alarm["brats_false_positives"] == "1"
    write_details_csv(tmp_path / "none.csv", [])
    assert (tmp_path / "none.csv").read_text().startswith("case,region,role,group,hausdorff_95_mm")
