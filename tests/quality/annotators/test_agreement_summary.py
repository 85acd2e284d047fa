"""The agreement over a data set: what its means, counts and quarters are made of."""

import numpy as np
import pytest

from rareseg.evaluation.statistics.intervals import clopper_pearson
from rareseg.evaluation.statistics.undefined import Undefined
from rareseg.quality.annotators.agreement import CaseAgreement, Object, Pair
from rareseg.quality.annotators.agreement_summary import ObjectCount, summarize_agreement
from rareseg.quality.annotators.fleiss import Votes, fleiss_kappa, kappa_sums

NAMES = ("a", "b", "c")


def case(name, *, dices=(), objects=(), votes=(90, 4, 3, 3), group=None, names=NAMES):
    """Return a case whose objects are given as (size, who drew it, dice)."""
    pairs = [("a", "b"), ("a", "c"), ("b", "c")]
    made = tuple(
        Object(name, "spot", group, k, ((0, 1),) * 3, 9, size, "pixels", names,
               tuple(int(n in who) for n in names), dice)
        for k, (size, who, dice) in enumerate(objects, start=1)
    )  # fmt: skip
    return CaseAgreement(
        case_id=name,
        region="spot",
        group=group,
        annotators=names,
        votes=Votes(votes),
        near=Votes((10, *votes[1:])),
        ambiguous=sum(votes[1:-1]),
        pairs=tuple(Pair(*pair, d, d) for pair, d in zip(pairs, dices, strict=False)),
        objects=made,
        size_unit="pixels",
    )


NONE = Undefined("neither annotator drew anything")
CASES = (
    case("1", dices=(0.9, 0.6, NONE), objects=[(4.0, "abc", 0.9), (8.0, "a", 0.0)]),
    case("2", dices=(0.3, 0.3, 0.3), objects=[(2.0, "ab", 0.3), (16.0, "abc", 0.8)]),
    case("3", dices=(NONE, NONE, NONE), votes=(100, 0, 0, 0)),
)


def test_means_are_over_cases_and_say_how_many():
    (found,) = summarize_agreement(CASES)
    assert found.dice.value == pytest.approx((0.75 + 0.3) / 2)
    assert (found.dice.n_cases, found.dice.n_undefined) == (2, 1)
    assert (found.n_cases, found.n_all, found.n_some, found.n_none) == (3, 2, 0, 1)
    assert found.disagreed_share.value == pytest.approx(0.7)
    assert "assumes independent images" in found.dice.method


def test_pooled_kappa_counts_the_cases_in_which_nobody_drew():
    (found,) = summarize_agreement(CASES)
    assert found.pooled_kappa.value == fleiss_kappa(kappa_sums(c.votes) for c in CASES)
    assert found.pooled_kappa.n_cases == 3
    assert found.kappa.n_cases == 2


def test_objects_are_counted_by_who_drew_them():
    (found,) = summarize_agreement(CASES)
    assert found.n_objects == 4
    assert found.object_counts == (ObjectCount(3, 1, 1), ObjectCount(3, 2, 1), ObjectCount(3, 3, 2))


def test_quarters_go_by_size():
    (found,) = summarize_agreement(CASES)
    assert [(q.n_objects, q.smallest, q.largest) for q in found.quarters] == [
        (1, s, s) for s in (2.0, 4.0, 8.0, 16.0)
    ]
    assert [q.drawn.value for q in found.quarters] == pytest.approx([2 / 3, 1, 1 / 3, 1])
    assert [q.drawn_by_all.value for q in found.quarters] == [0, 1, 0, 1]
    assert [q.dice.value for q in found.quarters] == [0.3, 0.9, 0.0, 0.8]


def test_the_objects_of_one_image_are_one_group():
    many = case("1", dices=(1.0, 1.0, 1.0), objects=[(1.0, "abc", 1.0)] * 16)
    quarter = summarize_agreement([many])[0].quarters[0]
    assert (quarter.n_objects, quarter.drawn_by_all.n_groups) == (4, 1)
    assert quarter.drawn_by_all.low == pytest.approx(clopper_pearson(1, 1)[0])
    assert "assumes independent images" in quarter.drawn_by_all.method


def test_three_objects_have_no_quarters():
    assert summarize_agreement(CASES[:1])[0].quarters == ()


def test_pairs_are_over_the_cases_that_both_looked_at():
    two = case("4", dices=(0.5,), names=("a", "b"), votes=(95, 2, 3))
    (found,) = summarize_agreement([*CASES, two])
    values = {(p.first, p.second): (p.dice.value, p.dice.n_cases) for p in found.pairs}
    assert values[("a", "b")] == (pytest.approx((0.9 + 0.3 + 0.5) / 3), 3)
    assert values[("a", "c")] == (pytest.approx(0.45), 2)


def test_one_review_is_left_out_of_everything():
    alone = case("5", names=("a",), votes=(90, 10), objects=[(3.0, "a", NONE)])
    assert summarize_agreement([*CASES, alone]) == summarize_agreement(CASES)
    (found,) = summarize_agreement([alone])
    assert (found.n_cases, found.n_objects) == (0, 0)
    assert found.dice.value == Undefined("no case that two annotators looked at")


def test_groups_widen_the_interval():
    rng = np.random.default_rng(0)
    values = np.repeat(rng.uniform(0.2, 0.9, 6), 5)
    grouped = [
        case(str(i), dices=(float(v),) * 3, group=f"g{i // 5}") for i, v in enumerate(values)
    ]
    alone = [case(str(i), dices=(float(v),) * 3) for i, v in enumerate(values)]
    wide, narrow = (summarize_agreement(part)[0].dice for part in (grouped, alone))
    assert wide.value == narrow.value
    assert (wide.n_groups, narrow.n_groups) == (6, 30)
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)
