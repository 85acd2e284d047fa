"""Fleiss' kappa against statsmodels, by hand, and with numbers of annotators that vary."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.inter_rater import fleiss_kappa as their_kappa

from rareseg.evaluation.statistics.jackknife import jackknife_interval
from rareseg.evaluation.statistics.undefined import Undefined
from rareseg.quality.annotators.fleiss import Votes, estimate_kappa, fleiss_kappa, kappa_sums


def kappa(*counts):
    return fleiss_kappa(kappa_sums(Votes(tuple(part))) for part in counts)


def test_by_hand():
    # Four voxels, three annotators, drawn by 3, 2, 1 and 0 of them: P̄ = (1 + 1/3 + 1/3 + 1) / 4,
    # half of all votes are for the region, and κ = (2/3 − 1/2) / (1 − 1/2).
    assert kappa((1, 1, 1, 1)) == pytest.approx(1 / 3)
    assert kappa((5, 0, 0, 2)) == pytest.approx(1.0)
    # Two annotators who never agree: κ is as low as it goes.
    assert kappa((0, 4, 0)) == pytest.approx(-1.0)


@given(st.lists(st.integers(0, 30), min_size=3, max_size=8))
def test_equals_statsmodels(counts):
    n = len(counts) - 1
    table = np.array([[x, n - x] for x, count in enumerate(counts) for _ in range(count)])
    found = kappa(counts)
    if len(table) == 0 or table[:, 0].sum() in (0, table.sum()):
        assert isinstance(found, Undefined)
        return
    assert found == pytest.approx(their_kappa(table), abs=1e-9)


def test_rare_regions_keep_their_digits():
    # One voxel in 10¹²: 1 − P̄ₑ is then 10⁻¹² and would be noise if it were a difference.
    found = kappa((10**12, 0, 1, 1))
    p = 5 / (3 * (10**12 + 2))
    expected = 1 - (2 / 3 / (10**12 + 2)) / (2 * p * (1 - p))
    assert found == pytest.approx(expected, rel=1e-12)


class TestNumbersOfAnnotatorsThatVary:
    def test_by_hand(self):
        # Two annotators on 2 voxels (2 and 1 votes), four on 1 voxel (1 vote):
        # P = 1, 0 and (1 + 9 − 4) / 12 = 1/2, P̄ = 1/2; 4 of 8 votes, P̄ₑ = 1/2, κ = 0.
        assert kappa((0, 1, 1), (0, 1, 0, 0, 0)) == pytest.approx(0.0)

    @given(
        st.lists(st.lists(st.integers(0, 9), min_size=2, max_size=6), min_size=1, max_size=4),
    )
    def test_from_the_definition_voxel_by_voxel(self, cases):
        agreements, votes, total = [], 0, 0
        for counts in cases:
            n = len(counts) - 1
            for x, count in enumerate(counts):
                if n > 1:
                    agreements += [(x**2 + (n - x) ** 2 - n) / (n * (n - 1))] * count
                    votes += x * count
                    total += n * count
        found = kappa(*cases)
        if votes in (0, total):
            assert isinstance(found, Undefined)
            return
        chance = (votes / total) ** 2 + (1 - votes / total) ** 2
        expected = (np.mean(agreements) - chance) / (1 - chance)
        assert found == pytest.approx(expected, abs=1e-9)

    def test_one_annotator_says_nothing(self):
        assert kappa((5, 9), (1, 1, 1, 1)) == kappa((1, 1, 1, 1))
        assert kappa((5, 9)) == Undefined("no voxel that two annotators looked at")


@pytest.mark.parametrize(
    ("counts", "reason"),
    [((9, 0, 0), "nobody drew anything"), ((0, 0, 9), "everyone drew everything")],
)
def test_without_variety_it_is_undefined(counts, reason):
    assert kappa(counts) == Undefined(reason)


def test_votes_are_counted():
    votes = Votes((7, 2, 3, 4))
    assert (votes.n_annotators, votes.voxels, votes.drawn, votes.disagreed) == (3, 16, 9, 5)


class TestEstimate:
    CASES = tuple(
        kappa_sums(Votes(counts)) for counts in ((90, 2, 3, 5), (80, 9, 1, 10), (95, 5, 0, 0))
    )

    def estimate(self, groups, cases=CASES):
        return estimate_kappa(cases, groups)

    def test_is_the_jackknife_over_groups(self):
        cases = [
            kappa_sums(Votes(counts))
            for counts in (
                (90, 2, 3, 5),
                (80, 9, 1, 10),
                (95, 5, 0, 0),
                (88, 4, 4, 4),
                (91, 1, 2, 6),
                (85, 5, 5, 5),
                (94, 1, 1, 4),
            )
        ]
        groups = ["a", "b", "b", "c", "d", "e", "f"]
        found = self.estimate(groups, cases)
        assert (found.n_cases, found.n_groups) == (7, 6)
        left_out = [
            fleiss_kappa(c for c, own in zip(cases, groups, strict=True) if own != group)
            for group in "abcdef"
        ]
        expected = jackknife_interval(
            found.value,
            np.array(left_out),
            np.array([100.0, 200, 100, 100, 100, 100]),
            scale="plain",
        )
        assert found.low < found.value < found.high
        assert (found.low, found.high) == expected

    def test_says_what_it_assumes(self):
        assert "assumes independent images" in self.estimate([None] * 3).method
        assert "assumes" not in self.estimate(["a", "b", "c"]).method

    @pytest.mark.parametrize("groups", [["a", "a", "a"], ["a", "b", "b"]])
    def test_few_groups_have_no_interval(self, groups):
        found = self.estimate(groups)
        assert math.isclose(found.value, fleiss_kappa(self.CASES))
        assert isinstance(found.low, Undefined)

    def test_without_any_case_it_is_undefined(self):
        found = self.estimate([], cases=())
        assert isinstance(found.value, Undefined)
        assert found.n_cases == 0
