"""What everything that takes a reference refuses: masks in which nothing would be inside."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from rareseg.data.store.array_store import store_from_arrays
from rareseg.decision.operating_point import default_point
from rareseg.errors import DataError, ScoreError
from rareseg.evaluation.comparisons.paired_test import compare_paired
from rareseg.evaluation.measures.case_result import measure_case
from rareseg.evaluation.measures.mask_measures import detail_case
from rareseg.evaluation.metrics.challenge_scores import autopet_volumes, brats_lesions
from rareseg.evaluation.metrics.objects import match_objects
from rareseg.evaluation.metrics.overlap import count_masks
from rareseg.evaluation.metrics.surface_distance import measure_surfaces
from rareseg.evaluation.tables.component_table import components_of_case, components_of_cases
from rareseg.evaluation.tables.score_table import score_case, score_cases
from rareseg_runner.image_records import Geometry

SCORES = np.full((6, 7), 0.25, np.float32)
MASK = SCORES >= 0.5
NAMED = {"case_id": "a", "region": "r"}

TAKERS: dict[str, Callable[..., object]] = {
    "score_case": lambda ref, **more: score_case(SCORES, ref, **NAMED, **more),
    "score_cases": lambda ref, **more: score_cases({"a": SCORES}, {"a": ref}, **more),
    "components_of_case": lambda ref, **more: components_of_case(SCORES, ref, **NAMED, **more),
    "components_of_cases": lambda ref, **more: components_of_cases(
        {"a": SCORES}, {"a": ref}, **more
    ),
    "measure_case": lambda ref, **more: measure_case(
        MASK, ref, case_id="a", point=default_point("r"), top_score=0.25, **more
    ),
    "detail_case": lambda ref, **more: detail_case(MASK, ref, **NAMED, geometry=Geometry(), **more),
    "match_objects": lambda ref, **more: match_objects(ref, MASK, **more),
    "count_masks": lambda ref, **more: count_masks(MASK, ref, **more),
    "measure_surfaces": lambda ref, **more: measure_surfaces(MASK, ref, **more),
    "brats_lesions": lambda ref, **more: brats_lesions(MASK, ref, **more),
    "autopet_volumes": lambda ref, **more: autopet_volumes(MASK, ref, **more),
}


def reference(*values: int, kind: str = "uint8") -> np.ndarray:
    mask = np.zeros(SCORES.shape, kind)
    mask.flat[: len(values)] = values
    return mask


@pytest.mark.parametrize("kind", ["uint8", "int16", "int64"])
@pytest.mark.parametrize("taker", TAKERS)
def test_a_mask_of_0_and_255_alone_is_refused(taker: str, kind: str) -> None:
    with pytest.raises(ScoreError, match="holds 255 and no 1"):
        TAKERS[taker](reference(255, 255, kind=kind))


@pytest.mark.parametrize("taker", TAKERS)
def test_what_is_meant_is_taken(taker: str) -> None:
    TAKERS[taker](reference(255, 255), ignores=True)
    TAKERS[taker](reference(255, 1))
    TAKERS[taker](reference())
    TAKERS[taker](reference(1).astype(np.bool_))


@pytest.mark.parametrize("name", ["score_cases", "components_of_cases"])
def test_groups_of_cases_that_there_are_not_are_refused(name: str) -> None:
    with pytest.raises(ScoreError, match=r"groups names 1 cases that there are not.*'b'"):
        TAKERS[name](reference(1), groups={"a": "g", "b": "g"})
    TAKERS[name](reference(1), groups={})


def test_the_same_holds_in_a_comparison_and_a_store(tmp_path) -> None:
    with pytest.raises(ScoreError, match="groups names 1 cases"):
        compare_paired({"a": 1.0}, {"a": 0.5}, {"b": "g"}, measure="dice")
    image = np.zeros((1, 1, 6, 7), np.uint8)
    with pytest.raises(DataError, match="groups names 1 cases"):
        store_from_arrays(tmp_path, {"a": image}, {"a": reference(1)[None]}, groups={"b": "g"})
    with pytest.raises(DataError, match="'a' hold the value 255"):
        store_from_arrays(tmp_path, {"a": image}, {"a": reference(255)[None]})


def test_a_sum_that_leaves_1_by_rounding_is_a_probability() -> None:
    over = np.full((6, 7), 1.0009, np.float32)
    row = score_case(over, reference(1), **NAMED)
    assert row.top == 1.0
    with pytest.raises(ScoreError, match="outside"):
        score_case(over + np.float32(0.001), reference(1), **NAMED)
