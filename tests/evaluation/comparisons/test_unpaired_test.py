"""Two evaluations of different cases: the interval by hand and in simulation, and the file."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rareseg.errors import ScoreError
from rareseg.evaluation.comparisons.paired_test import Headline
from rareseg.evaluation.comparisons.unpaired_test import (
    CaseLine,
    compare_unpaired,
    difference_interval,
    read_case_lines,
)
from rareseg.evaluation.statistics.intervals import Estimate, estimate_share
from rareseg.evaluation.statistics.undefined import Undefined, is_defined


def estimate(value, low, high) -> Estimate:
    return Estimate(value, low, high, 10, 10, 0, "")


def line(name: str, *, dice: float | None, alarm: bool = False, group: str | None = None):
    """A positive case with a dice, or a negative one."""
    values = {"false alarm": float(alarm)} if dice is None else {"dice": dice, "found": 1.0}
    positive = dice is not None
    return CaseLine(
        Headline(name, "speck", group, values),
        "positive" if positive else "negative",
        2 if positive else 0,
        30.0 if positive else 0.0,
        0.9 if positive else 0.2,
    )


def test_the_interval_of_a_difference_by_hand():
    change, low, high = difference_interval(estimate(0.6, 0.5, 0.8), estimate(0.5, 0.4, 0.55))
    assert change == pytest.approx(-0.1)
    assert low == pytest.approx(-0.1 - math.hypot(0.1, 0.2))
    assert high == pytest.approx(-0.1 + math.hypot(0.05, 0.1))


def test_newcombes_example_of_two_shares():
    """56/70 against 48/80 (Newcombe 1998, method 10 has 0.0524 to 0.3339 by Wilson's bounds)."""
    ones = [estimate_share([1.0] * hits + [0.0] * (n - hits), [1.0] * n,
                           [f"{n}-{k}" for k in range(n)], none="")
            for hits, n in ((48, 80), (56, 70))]  # fmt: skip
    change, low, high = difference_interval(*ones)
    assert change == pytest.approx(0.2)
    # Clopper–Pearson's bounds are wider than Wilson's, and so is the difference's.
    assert low == pytest.approx(0.0524, abs=0.02)
    assert high == pytest.approx(0.3339, abs=0.02)
    assert low < 0.0524
    assert high > 0.3339


def test_what_is_undefined_stays_so_with_its_reason():
    none = estimate(Undefined("no case"), Undefined("no case"), Undefined("no case"))
    assert difference_interval(none, estimate(0.5, 0.4, 0.6)) == (Undefined("no case"),) * 3
    few = estimate(0.5, Undefined("few"), Undefined("few"))
    change, low, high = difference_interval(few, estimate(0.75, 0.7, 0.8))
    assert (change, low, high) == (0.25, Undefined("few"), Undefined("few"))


def drawn(rng: np.random.Generator, n_groups: int, mean: float) -> list[CaseLine]:
    lines = []
    for g in range(n_groups):
        of_group = rng.normal(mean, 0.1)
        for k in range(int(rng.integers(1, 4))):
            dice = float(np.clip(of_group + rng.normal(0, 0.1), 0.0, 1.0))
            lines.append(line(f"{rng.random()}-{k}", dice=dice, group=f"g{g}"))
    return lines


def test_the_interval_covers_the_difference_of_groups():
    held = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        found = compare_unpaired(drawn(rng, 15, 0.6), drawn(rng, 12, 0.5), region="speck")
        dice = next(one for one in found if one.measure == "dice")
        assert is_defined(dice.low)
        held += dice.low <= -0.1 <= dice.high
    assert held >= 200 * 0.95 - 3 * math.sqrt(200 * 0.95 * 0.05)


def test_equal_worlds_seldom_differ():
    told = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        found = compare_unpaired(drawn(rng, 15, 0.6), drawn(rng, 12, 0.6), region="speck")
        told += next(one for one in found if one.measure == "dice").differs
    assert told <= 200 * 0.05 + 3 * math.sqrt(200 * 0.05 * 0.95)


def test_what_changed_in_the_data_stands_beside():
    june = [line(f"j{k}", dice=0.6 if k < 5 else None, group=f"j{k}") for k in range(40)]
    july = [line(f"y{k}", dice=0.6 if k < 25 else None, group=f"y{k}") for k in range(40)]
    found = {one.measure: one for one in compare_unpaired(june, july, region="speck")}
    share = found["share of cases with the region"]
    assert (share.first.value, share.second.value, share.of_data) == (0.125, 0.625, True)
    assert share.differs
    assert not found["false alarm"].differs
    assert found["dice"].first.n_cases == 5


def test_a_stratum_without_a_case_is_undefined():
    found = {
        one.measure: one
        for one in compare_unpaired([line("a", dice=None)], [line("b", dice=0.5)], region="speck")
    }
    assert isinstance(found["dice"].difference, Undefined)
    assert not found["dice"].differs


def test_a_file_that_is_none_is_named(tmp_path):
    (tmp_path / "cases.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ScoreError, match=r"cases\.csv cannot be read as the cases"):
        read_case_lines(tmp_path / "cases.csv")
