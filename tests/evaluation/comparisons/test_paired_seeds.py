"""Differences over groups and seeds: by hand, against brute force, and in simulation."""

import numpy as np
import pytest
from scipy.stats import t as student

from rareseg.errors import ScoreError
from rareseg.evaluation.comparisons.comparison_table import tabulate_runs
from rareseg.evaluation.comparisons.paired_seeds import VarianceParts, compare_over_seeds
from rareseg.evaluation.comparisons.paired_test import Headline
from rareseg.evaluation.statistics.undefined import Undefined, is_defined


def test_the_mean_difference_by_hand():
    first = [{"a": 0.5, "b": 0.7}, {"a": 0.4, "b": 0.8}]
    second = [{"a": 0.6, "b": 0.7}, {"a": 0.5, "b": 0.9}]
    found = compare_over_seeds(first, second, {}, measure="dice")
    assert found.first == pytest.approx(0.6)
    assert found.second == pytest.approx(0.675)
    assert found.difference.value == pytest.approx(0.075)
    assert (found.difference.n_cases, found.difference.n_groups, found.n_seeds) == (2, 2, 2)
    assert "groups and seeds" in found.difference.method
    assert "independent images" in found.difference.method


def test_the_interval_adds_the_variances_of_groups_and_of_trainings():
    rng = np.random.default_rng(5)
    cases = [f"c{i}" for i in range(32)]
    groups = {case: f"g{i % 8}" for i, case in enumerate(cases)}
    first = [{case: rng.random() for case in cases} for _ in range(4)]
    second = [{case: rng.random() + 0.1 for case in cases} for _ in range(4)]
    found = compare_over_seeds(first, second, groups, measure="dice")
    one, two = (np.array([list(run.values()) for run in runs]) for runs in (first, second))
    # Groups are of equal size, so that the jackknife's error is that of a mean of 8.
    by_group = (two - one).mean(0).reshape(4, 8).mean(0)
    over_groups = by_group.var(ddof=1) / 8
    trainings = one.mean(1).var(ddof=1) + two.mean(1).var(ddof=1)
    variance = over_groups + trainings / 4
    of_groups, of_trainings = student.ppf(0.975, [7, 6])
    bar = (over_groups * of_groups + trainings / 4 * of_trainings) / variance
    reach = bar * np.sqrt(variance)
    value = (two - one).mean()
    assert (found.difference.low, found.difference.high) == pytest.approx(
        (value - reach, value + reach)
    )


def test_what_differs_by_seed_alone_is_no_difference():
    """Ten cases that agree within each seed: only new seeds can tell."""
    first = [{f"c{i}": 0.5 for i in range(10)} for _ in range(3)]
    second = [{f"c{i}": 0.5 + shift for i in range(10)} for shift in (-0.1, 0.2, 0.1)]
    found = compare_over_seeds(first, second, {}, measure="dice")
    assert found.difference.low < -0.1
    assert not found.differs


def test_fewer_than_three_seeds_claim_nothing():
    rng = np.random.default_rng(0)
    first = [{f"c{i}": rng.random() for i in range(10)} for _ in range(2)]
    second = [
        {case: value + 0.5 + rng.normal(0, 0.01) for case, value in one.items()} for one in first
    ]
    two = compare_over_seeds(first, second, {}, measure="dice")
    assert two.difference.low > 0
    assert not two.differs
    one = compare_over_seeds(first[:1], second[:1], {}, measure="dice")
    assert "one seed alone" in one.difference.method
    assert not one.differs


@pytest.mark.parametrize("ratio", [0.0, 0.25, 1.0, 3.0, 10.0])
@pytest.mark.parametrize("kish", [9, 30])
@pytest.mark.parametrize("seeds", [3, 5])
def test_differences_are_told_by_chance_no_more_often_than_said(kish, seeds, ratio):
    """Variances as they are estimated from so many groups and trainings; no difference at all."""
    rng = np.random.default_rng(0)
    n, confidence = 1500, 0.9875
    told = 0
    for _ in range(n):
        groups = rng.chisquare(kish - 1) / (kish - 1)
        trainings = seeds * ratio * rng.chisquare(2 * (seeds - 1)) / (2 * (seeds - 1))
        spread = VarianceParts(groups=groups, trainings=trainings, kish=float(kish))
        seen = rng.normal(0.0, np.sqrt(1 + ratio))
        told += abs(seen) > spread.bar(seeds, confidence=confidence) * spread.error(seeds)
    level = 1 - confidence
    assert told / n <= level + 3 * np.sqrt(level * (1 - level) / n)


class TestPower:
    SPREAD = VarianceParts(groups=0.01**2, trainings=2 * 0.03**2, kish=9.0)

    def test_is_that_of_simulated_comparisons(self):
        spread, seeds, difference = self.SPREAD, 3, 0.05
        rng = np.random.default_rng(1)
        n = 20_000
        over_groups = spread.groups * rng.chisquare(8, n) / 8
        trainings = spread.trainings / seeds * rng.chisquare(4, n) / 4
        variance = over_groups + trainings
        of_groups, of_trainings = student.ppf(0.975, [8, 4])
        bar = (over_groups * of_groups + trainings * of_trainings) / variance
        seen = rng.normal(difference, spread.error(seeds), n)
        told = np.mean(seen > bar * np.sqrt(variance))
        assert spread.power(difference, seeds, confidence=0.95) == pytest.approx(told, abs=0.05)

    def test_seeds_bring_it_to_what_is_wanted_unless_groups_are_too_few(self):
        found = self.SPREAD.seeds_for(0.05, 0.8, confidence=0.95)
        assert found is not None
        assert self.SPREAD.power(0.05, found, confidence=0.95) >= 0.8
        assert self.SPREAD.power(0.05, found - 1, confidence=0.95) < 0.8
        few = VarianceParts(groups=0.05**2, trainings=0.0, kish=6.0)
        assert few.seeds_for(0.05, 0.8, confidence=0.95) is None


def test_no_case_and_one_group_are_undefined():
    nothing = compare_over_seeds([{}, {}], [{}, {}], {}, measure="dice")
    assert isinstance(nothing.difference.value, Undefined)
    assert not nothing.differs
    one = compare_over_seeds([{"a": 0.1}] * 3, [{"a": 0.9}] * 3, {}, measure="dice")
    assert one.difference.value == pytest.approx(0.8)
    assert not is_defined(one.difference.low)
    assert not one.differs


def test_runs_that_agree_everywhere_say_nothing_about_other_cases():
    same = [{f"c{i}": 0.0 for i in range(20)}] * 3
    found = compare_over_seeds(same, same, {}, measure="false alarm")
    assert found.difference.value == 0.0
    assert found.difference.low == Undefined("no case differs")
    assert not found.differs


def test_other_cases_or_seeds_are_refused():
    with pytest.raises(ScoreError, match="same cases and seeds"):
        compare_over_seeds([{"a": 0.1}], [{"b": 0.1}], {}, measure="dice")
    with pytest.raises(ScoreError, match="same cases and seeds"):
        compare_over_seeds([{"a": 0.1}], [{"a": 0.1}, {"a": 0.2}], {}, measure="dice")


def runs(values, *, cut="0.5", seeds=3, alarms=None):
    """Dice of positive cases, the same in every seed but for a little, and alarms."""
    rng = np.random.default_rng(1)
    made = []
    for _ in range(seeds):
        lines = [
            Headline(f"p{i}", "spot", None, {"dice": v + 0.001 * rng.random()})
            for i, v in enumerate(values)
        ]
        lines += [
            Headline(f"n{i}", "spot", None, {"false alarm": a}) for i, a in enumerate(alarms or [])
        ]
        made.append(lines)
    return {cut: made}


class TestContest:
    VALUES = tuple(np.linspace(0.3, 0.9, 12))

    def test_a_row_that_is_better_everywhere_wins_and_one_that_is_not_does_not(self):
        better = [v + 0.1 for v in self.VALUES]
        mixed = [v + (0.08 if i % 2 else -0.08) for i, v in enumerate(self.VALUES)]
        [column] = tabulate_runs({"a": runs(self.VALUES), "b": runs(mixed), "c": runs(better)})
        assert (column.region, column.measure, column.best, column.winner) == (
            "spot",
            "dice",
            "c",
            "c",
        )
        assert column.entries[0].against is None
        assert column.entries[2].against.differs
        assert not column.entries[1].against.differs
        [close] = tabulate_runs({"a": runs(self.VALUES), "b": runs(mixed)})
        assert close.best in ("a", "b")
        assert close.winner == ""

    def test_fewer_alarms_are_better(self):
        quiet, loud = [0.0] * 10, [1.0] * 9 + [0.0]
        columns = tabulate_runs(
            {
                "loud": runs(self.VALUES, alarms=loud),
                "quiet": runs(self.VALUES, alarms=quiet),
            }
        )
        alarm = next(column for column in columns if column.measure == "false alarm")
        assert (alarm.best, alarm.winner) == ("quiet", "quiet")
        assert alarm.entries[1].value == 0.0

    def test_silence_is_best_at_nothing(self):
        """It raises no alarm, since it finds nothing."""

        def with_recall(dice, recall, alarm):
            lines = [
                Headline(f"p{i}", "spot", None, {"dice": dice, "object recall": recall})
                for i in range(12)
            ]
            lines += [Headline(f"n{i}", "spot", None, {"false alarm": alarm}) for i in range(12)]
            return {"0.5": [lines] * 3}

        rows = {
            "loud": with_recall(0.6, 1.0, 1.0),
            "mute": with_recall(0.0, 0.0, 0.0),
            "calm": with_recall(0.5, 0.9, 0.5),
        }
        found = {column.measure: column for column in tabulate_runs(rows)}
        assert found["false alarm"].silent == {"mute"}
        assert found["false alarm"].best == "calm"
        assert found["false alarm"].winner == "calm"
        assert found["dice"].winner == "loud"
        only = tabulate_runs({"mute": rows["mute"], "dumb": rows["mute"]})
        assert {(column.best, column.winner) for column in only} == {("", "")}

    def test_one_row_alone_wins_nothing(self):
        [column] = tabulate_runs({"a": runs(self.VALUES)})
        assert (column.best, column.winner) == ("a", "")

    @pytest.mark.parametrize("n_seeds", [3, 5])
    @pytest.mark.parametrize(("n_groups", "noise"), [(9, 0.0), (9, 0.04), (30, 0.02)])
    def test_winners_are_rare_where_rows_are_alike(self, n_groups, noise, n_seeds):
        """Two rows that are equal in truth, four columns: 5 % have a winner at most."""
        rng = np.random.default_rng(n_groups + n_seeds)
        trials = 100
        won = sum(
            any(
                column.winner for column in tabulate_runs(equal_rows(rng, n_groups, noise, n_seeds))
            )
            for _ in range(trials)
        )
        assert won / trials <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / trials)

    def test_columns_and_rows_share_the_confidence(self):
        rng = np.random.default_rng(3)
        rows = {
            name: runs([v + d + rng.normal(0, 0.05) for v in self.VALUES])
            for name, d in (("a", 0.0), ("b", 0.055))
        }
        [alone] = tabulate_runs(rows)
        alarms = {
            name: {
                "0.5": [
                    [
                        *lines,
                        *(
                            Headline(c.case_id, f"r{k}", None, c.values)
                            for k in range(60)
                            for c in lines
                        ),
                    ]
                    for lines in own["0.5"]
                ]
            }
            for name, own in rows.items()
        }
        assert alone.winner == "b"
        assert tabulate_runs(alarms)[0].winner == ""


def equal_rows(rng, n_groups, noise, n_seeds):
    """Two rows of the same quality: groups differ, trainings differ by ``noise``."""
    groups = np.repeat(np.arange(n_groups), rng.integers(1, 5, n_groups))
    level = 0.5 + 0.15 * rng.normal(size=n_groups)[groups]
    rows = {}
    for row in "ab":
        own = 0.03 * rng.normal(size=(4, n_groups))[:, groups]
        made = []
        for _ in range(n_seeds):
            values = level + own + noise * rng.normal(size=(4, 1))
            values = values + 0.06 * rng.normal(size=values.shape)
            made.append(
                [
                    Headline(f"c{i}", f"r{r}", f"g{g}", {"dice": float(values[r, i])})
                    for r in range(4)
                    for i, g in enumerate(groups)
                ]
            )
        rows[row] = {"0.5": made}
    return rows
