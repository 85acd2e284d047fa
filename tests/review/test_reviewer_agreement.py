"""Agreement equals scikit-learn's Cohen and the example of Fleiss' paper."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from rareseg.evaluation.statistics.undefined import Undefined
from rareseg.quality.suspects import Suspect
from rareseg.review.answers import VERDICTS, Answer
from rareseg.review.reviewer_agreement import cohen_kappa, fleiss_kappa, measure_agreement

ITEM = Suspect("i", "c", None, "r", "missed object", 0.5, ((0, 1), (0, 1), (0, 1)), 1, 0, "")

FLEISS_1971 = [
    # 14 raters, 10 subjects, 5 categories: the table that is often quoted, κ = 0.210
    (0, 0, 0, 0, 14), (0, 2, 6, 4, 2), (0, 0, 3, 5, 6), (0, 3, 9, 2, 0), (2, 2, 8, 1, 1),
    (7, 7, 0, 0, 0), (3, 2, 6, 3, 0), (2, 5, 3, 2, 2), (6, 5, 2, 1, 0), (0, 2, 2, 3, 7),
]  # fmt: skip


def said(verdicts: dict[str, str]) -> dict[str, Answer]:
    return {name: Answer(1, ITEM, name, verdict, "", "", "") for name, verdict in verdicts.items()}


@pytest.mark.parametrize("seed", range(5))
def test_two_raters_as_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    first = rng.choice(VERDICTS, 40)
    second = np.where(rng.random(40) < 0.6, first, rng.choice(VERDICTS, 40))
    expected = cohen_kappa_score(first, second)
    assert cohen_kappa(list(zip(first, second, strict=True))) == pytest.approx(expected)


def test_many_raters_as_in_the_example():
    rows = [[str(k) for k, n in enumerate(row) for _ in range(n)] for row in FLEISS_1971]
    assert fleiss_kappa(rows) == pytest.approx(0.210, abs=5e-4)


def test_only_items_that_all_decided_count():
    latest = {
        "a": said({"Ada": "accept label", "Bo": "accept label"}),
        "b": said({"Ada": "unsure", "Bo": "accept label"}),
        "c": said({"Ada": "exclude case"}),
    }
    found = measure_agreement(latest)
    assert (found.reviewers, found.n_items, found.share) == (("Ada", "Bo"), 2, 0.5)
    assert found.method == "Cohen's κ"


def test_a_third_reviewer_makes_it_fleiss():
    verdicts = ["accept label", "unsure", "exclude case", "accept label"]
    latest = {str(k): said({"A": one, "B": one, "C": "unsure"}) for k, one in enumerate(verdicts)}
    found = measure_agreement(latest)
    assert (found.method, found.n_items, found.share) == ("Fleiss' κ", 4, 0.25)
    # by hand: P̄ = (1/3 + 1 + 1/3 + 1/3)/4 = 1/2, shares 4/12, 6/12, 2/12
    chance = (16 + 36 + 4) / 144
    assert found.kappa == pytest.approx((0.5 - chance) / (1 - chance))


@pytest.mark.parametrize(
    "latest",
    [
        {},
        {"a": said({"Ada": "unsure"})},
        {"a": said({"Ada": "unsure"}), "b": said({"Bo": "unsure"})},
    ],
)
def test_without_common_items_it_is_undefined(latest):
    found = measure_agreement(latest)
    assert isinstance(found.share, Undefined)
    assert isinstance(found.kappa, Undefined)


def test_where_all_say_the_same_of_everything_kappa_is_undefined_and_the_share_is_one():
    found = measure_agreement({k: said({"A": "unsure", "B": "unsure"}) for k in "abc"})
    assert found.share == 1.0
    assert isinstance(found.kappa, Undefined)
