"""A cut that is set by hand, and what it reaches, against masks that are cut and counted."""

import numpy as np
import pytest

from rareseg.decision.operating_point import OperatingPoint, fixed_point
from rareseg.errors import UsageError
from rareseg.evaluation.statistics.undefined import Undefined
from rareseg.evaluation.tables.component_table import components_of_cases
from rareseg.evaluation.tables.score_table import score_cases
from rareseg_runner.decision.cut_point import apply_point

RNG = np.random.default_rng(5)
SCORES = {f"c{i}": RNG.random((1, 24, 24)).astype(np.float32) ** 2 for i in range(9)}
REFERENCES = {
    name: ((scores > 0.8) if i % 3 else np.zeros(scores.shape, bool)).astype(np.uint8)
    for i, (name, scores) in enumerate(SCORES.items())
}


@pytest.fixture(scope="module")
def tables():
    return (
        score_cases(SCORES, REFERENCES, role="validation"),
        components_of_cases(SCORES, REFERENCES, role="validation"),
    )


@pytest.mark.parametrize("size", [0, 3])
@pytest.mark.parametrize("gate", [0.0, 0.995])
def test_it_reaches_what_its_masks_reach(tables, size, gate):
    found = fixed_point(
        *tables, region="foreground", threshold=0.5, smallest_component=size, gate=gate
    )
    dice, clean = [], []
    for name, scores in SCORES.items():
        mask = apply_point(
            scores, OperatingPoint("foreground", 0.5, gate=gate, smallest_component=size)
        )
        reference = REFERENCES[name] > 0
        if reference.any():
            dice.append(2 * (mask & reference).sum() / (mask.sum() + reference.sum()))
        else:
            clean.append(not mask.any())
    assert found.mean_dice == pytest.approx(np.mean(dice))
    assert found.share_clean == pytest.approx(np.mean(clean))
    assert (found.n_positive, found.n_negative, found.role) == (6, 3, "validation")
    assert isinstance(found.value, Undefined)


@pytest.mark.parametrize(("threshold", "size"), [(0.30001, 0), (0.30001, 3)])
def test_between_the_counted_thresholds_it_says_so(tables, threshold, size):
    found = fixed_point(*tables, region="foreground", threshold=threshold, smallest_component=size)
    assert found.threshold == np.float32(threshold)
    assert "do not count at this threshold" in str(found.mean_dice)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"threshold": 1.5}, "threshold is 1.5"),
        ({"threshold": 0.5, "gate": -0.1}, "gate is -0.1"),
        ({"threshold": 0.5, "smallest_component": -1}, "-1 does not exist"),
        ({"threshold": 0.5, "region": "rim"}, "rim"),
    ],
)
def test_what_is_no_cut_is_a_sentence(tables, values, says):
    with pytest.raises(UsageError, match=says):
        fixed_point(*tables, **{"region": "foreground", **values})
