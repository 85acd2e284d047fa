"""Roles by group: no group divided, every role with positives, the same for the same seed."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rareseg.data.records import Role
from rareseg.data.splits import SplitCase, split_cases
from rareseg.errors import DataError, UsageError

SHARES: dict[Role, float] = {"train": 0.65, "validation": 0.15, "test": 0.2}


def fact(number: int, group: str, *holds: int) -> SplitCase:
    return SplitCase(f"case{number}", group, frozenset(holds))


def many(groups: int, rng: np.random.Generator) -> list[SplitCase]:
    """Groups of one to six images; most empty, classes 1, 2 and 3 ever rarer."""
    facts: list[SplitCase] = []
    for group in range(groups):
        kind = int(rng.choice(4, p=[0.6, 0.2, 0.15, 0.05]))
        facts += [
            fact(len(facts) + i, f"g{group}", *([kind] if kind else []))
            for i in range(rng.integers(1, 7))
        ]
    return facts


def held_by(facts: list[SplitCase], roles: dict[str, Role], kind: int) -> Counter[Role]:
    return Counter(roles[f.id] for f in facts if kind in f.holds)


@settings(max_examples=30, deadline=None)
@given(st.integers(30, 120), st.integers(0, 10_000))
def test_the_guarantees(groups: int, seed: int) -> None:
    facts = many(groups, np.random.default_rng(seed))
    try:
        roles = split_cases(facts, shares=SHARES, seed=seed, declared={})
    except DataError:
        assert len({f.group for f in facts if f.holds}) < 3
        return
    assert roles.keys() == {f.id for f in facts}
    for group in {f.group for f in facts}:
        assert len({roles[f.id] for f in facts if f.group == group}) == 1
    for kind in (1, 2, 3):
        if len({f.group for f in facts if kind in f.holds}) >= 3:
            assert len(held_by(facts, roles, kind)) == 3
    assert roles == split_cases(facts[::-1], shares=SHARES, seed=seed, declared={})


def test_shares_are_met_within_a_group_for_every_kind() -> None:
    facts = [fact(i, f"g{i}", *([1] if i < 60 else [2] if i < 100 else [])) for i in range(300)]
    roles = split_cases(facts, shares=SHARES, seed=0, declared={})
    for kind, total in ((1, 60), (2, 40)):
        counts = held_by(facts, roles, kind)
        for role, share in SHARES.items():
            assert abs(counts[role] - share * total) <= 1
    assert Counter(roles.values()) == {"train": 195, "validation": 45, "test": 60}


def test_seeds_differ() -> None:
    facts = many(80, np.random.default_rng(0))
    assert split_cases(facts, shares=SHARES, seed=0, declared={}) != split_cases(
        facts, shares=SHARES, seed=1, declared={}
    )


def test_four_cases_suffice_for_three_roles() -> None:
    facts = [fact(i, f"g{i}", 1, 2) for i in range(4)]
    roles = split_cases(facts, shares=SHARES, seed=0, declared={})
    assert Counter(roles.values()) == {"train": 2, "validation": 1, "test": 1}


def test_one_group_of_each_class_still_gives_every_role_a_positive() -> None:
    facts = [fact(i, f"g{i}", i + 1) for i in range(3)] + [fact(9, "empty")]
    roles = split_cases(facts, shares=SHARES, seed=0, declared={})
    assert {roles[f.id] for f in facts[:3]} == {"train", "validation", "test"}


def test_too_few_groups_are_an_error() -> None:
    same = [fact(i, "patient", 1) for i in range(50)]
    with pytest.raises(DataError, match="1 groups to divide while the roles train, valid"):
        split_cases(same, shares=SHARES, seed=0, declared={})
    lonely = [fact(i, f"g{i}", *([1] if i < 2 else [])) for i in range(50)]
    with pytest.raises(DataError, match="2 positive groups"):
        split_cases(lonely, shares=SHARES, seed=0, declared={})


def test_declared_roles_stand_and_bind_their_group() -> None:
    facts = [fact(i, f"g{i // 2}", 1) for i in range(40)]
    declared: dict[str, Role] = {"case0": "test", "case3": "train"}
    roles = split_cases(facts, shares=SHARES, seed=0, declared=declared)
    assert (roles["case0"], roles["case1"]) == ("test", "test")
    assert (roles["case2"], roles["case3"]) == ("train", "train")
    with pytest.raises(DataError, match="g0 is declared in test and train"):
        split_cases(facts, shares=SHARES, seed=0, declared={"case0": "test", "case1": "train"})


def test_a_role_that_was_not_declared_is_taken_from_train() -> None:
    facts = [fact(i, f"g{i}", *([1] if i % 2 else [])) for i in range(100)]
    declared: dict[str, Role] = {f"case{i}": "test" if i < 20 else "train" for i in range(100)}
    roles = split_cases(facts, shares=SHARES, seed=0, declared=declared)
    assert {i for i, role in roles.items() if role == "test"} == {f"case{i}" for i in range(20)}
    assert abs(Counter(roles.values())["validation"] - 15) <= 1
    both = dict.fromkeys((f"case{i}" for i in range(100)), "train")
    with_test = split_cases(facts, shares=SHARES, seed=0, declared=both)  # type: ignore[arg-type]
    counts = Counter(with_test.values())
    assert abs(counts["validation"] - 15) <= 1
    assert abs(counts["test"] - 20) <= 1


def test_shares_are_checked() -> None:
    for shares in ({"train": 0.5, "test": 0.4}, {"train": 1.5, "test": -0.5}, {"trian": 1.0}, {}):
        with pytest.raises(UsageError, match="must sum to 1"):
            split_cases([fact(0, "g", 1)], shares=shares, seed=0, declared={})  # type: ignore[arg-type]
