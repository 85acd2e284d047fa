"""Differences over groups and seeds: by hand, against brute force, and in simulation."""

import numpy as np
import pytest

from rareseg.errors import ScoreError
from rareseg.evaluation.comparison import Headline
from rareseg.evaluation.contest import hold_contest
from rareseg.evaluation.crossed import compare_crossed
from rareseg.evaluation.values import Undefined, is_defined


def test_the_mean_difference_by_hand():
    first = [{"a": 0.5, "b": 0.7}, {"a": 0.4, "b": 0.8}]
    second = [{"a": 0.6, "b": 0.7}, {"a": 0.5, "b": 0.9}]
    found = compare_crossed(first, second, {}, measure="dice")
    assert found.first == pytest.approx(0.6)
    assert found.second == pytest.approx(0.675)
    assert found.difference.value == pytest.approx(0.075)
    assert (found.difference.n_cases, found.difference.n_groups, found.n_seeds) == (2, 2, 2)
    assert "groups and seeds" in found.difference.method
    assert "independent images" in found.difference.method


def test_the_interval_is_that_of_groups_and_seeds_drawn_by_hand():
    rng = np.random.default_rng(5)
    cases = [f"c{i}" for i in range(30)]
    groups = {case: f"g{i % 8}" for i, case in enumerate(cases)}
    first = [{case: rng.random() for case in cases} for _ in range(4)]
    second = [{case: rng.random() + 0.1 for case in cases} for _ in range(4)]
    found = compare_crossed(first, second, groups, measure="dice", resamples=20_000)
    values = np.array([[s[c] - f[c] for c in cases] for f, s in zip(first, second, strict=True)])
    members = [[i for i, c in enumerate(cases) if groups[c] == f"g{g}"] for g in range(8)]
    means = []
    for _ in range(4000):
        drawn = [i for g in rng.integers(8, size=8) for i in members[g]]
        means.append(values[np.ix_(rng.integers(4, size=4), drawn)].mean())
    low, high = np.quantile(means, [0.025, 0.975])
    spread = np.std(means)
    assert found.difference.low == pytest.approx(low, abs=0.15 * spread)
    assert found.difference.high == pytest.approx(high, abs=0.15 * spread)


def test_what_differs_by_seed_alone_is_no_difference():
    """Ten cases that agree within each seed: only new seeds can tell."""
    first = [{f"c{i}": 0.5 for i in range(10)} for _ in range(3)]
    second = [{f"c{i}": 0.5 + shift for i in range(10)} for shift in (-0.1, 0.2, 0.1)]
    found = compare_crossed(first, second, {}, measure="dice")
    assert found.difference.low == pytest.approx(-0.1)
    assert not found.differs
    one = compare_crossed(first[:1], second[1:2], {}, measure="dice")
    assert one.differs
    assert "one seed alone" in one.difference.method


def test_no_case_and_one_group_are_undefined():
    nothing = compare_crossed([{}, {}], [{}, {}], {}, measure="dice")
    assert isinstance(nothing.difference.value, Undefined)
    assert not nothing.differs
    one = compare_crossed([{"a": 0.1}], [{"a": 0.9}], {}, measure="dice")
    assert one.difference.value == pytest.approx(0.8)
    assert not is_defined(one.difference.low)
    assert not one.differs


def test_runs_that_agree_everywhere_say_nothing_about_other_cases():
    same = [{f"c{i}": 0.0 for i in range(20)}] * 3
    found = compare_crossed(same, same, {}, measure="false alarm")
    assert found.difference.value == 0.0
    assert found.difference.low == Undefined("no case differs")
    assert not found.differs


def test_other_cases_or_seeds_are_refused():
    with pytest.raises(ScoreError, match="same cases and seeds"):
        compare_crossed([{"a": 0.1}], [{"b": 0.1}], {}, measure="dice")
    with pytest.raises(ScoreError, match="same cases and seeds"):
        compare_crossed([{"a": 0.1}], [{"a": 0.1}, {"a": 0.2}], {}, measure="dice")


def runs(values, *, cut="0.5", seeds=2, alarms=None):
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
        [column] = hold_contest({"a": runs(self.VALUES), "b": runs(mixed), "c": runs(better)})
        assert (column.region, column.measure, column.best, column.winner) == (
            "spot",
            "dice",
            "c",
            "c",
        )
        assert column.entries[0].against is None
        assert column.entries[2].against.differs
        assert not column.entries[1].against.differs
        [close] = hold_contest({"a": runs(self.VALUES), "b": runs(mixed)})
        assert close.best in ("a", "b")
        assert close.winner == ""

    def test_fewer_alarms_are_better(self):
        quiet, loud = [0.0] * 10, [1.0] * 9 + [0.0]
        columns = hold_contest(
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
                Headline(f"p{i}", "spot", None, {"dice": dice, "lesion recall": recall})
                for i in range(12)
            ]
            lines += [Headline(f"n{i}", "spot", None, {"false alarm": alarm}) for i in range(12)]
            return {"0.5": [lines, lines]}

        rows = {
            "loud": with_recall(0.6, 1.0, 1.0),
            "mute": with_recall(0.0, 0.0, 0.0),
            "calm": with_recall(0.5, 0.9, 0.5),
        }
        found = {column.measure: column for column in hold_contest(rows)}
        assert found["false alarm"].silent == {"mute"}
        assert found["false alarm"].best == "calm"
        assert found["false alarm"].winner == "calm"
        assert found["dice"].winner == "loud"
        only = hold_contest({"mute": rows["mute"], "dumb": rows["mute"]})
        assert {(column.best, column.winner) for column in only} == {("", "")}

    def test_one_row_alone_wins_nothing(self):
        [column] = hold_contest({"a": runs(self.VALUES)})
        assert (column.best, column.winner) == ("a", "")

    def test_winners_are_rare_where_rows_are_alike(self):
        """Five rows of pure noise: by 5 % together, not by each pair."""
        rng = np.random.default_rng(0)
        won = 0
        for _ in range(100):
            rows = {
                name: {
                    "0.5": [
                        [
                            Headline(f"p{i}", "spot", None, {"dice": float(v)})
                            for i, v in enumerate(rng.random(25))
                        ]
                    ]
                }
                for name in "abcde"
            }
            won += bool(hold_contest(rows)[0].winner)
        assert won <= 10  # 5 expected at most; more than 10 once in a hundred
