"""Names of findings, what may be allowed, and movements of masks."""

import numpy as np
import pytest

from rareseg.errors import UsageError
from rareseg.quality.audit.finding import KINDS, Example, Finding, Move, check_allowed, in_order


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'shifted-masks'"):
        check_allowed(["shifted-mask"])


def test_problems_of_the_files_are_never_allowed():
    with pytest.raises(UsageError, match="mend"):
        check_allowed(["data-problems"])


def test_known_names_are_allowed():
    assert check_allowed(["leak-across-splits"] * 2) == {"leak-across-splits"}


@pytest.mark.parametrize("name", KINDS)
def test_names_are_kebab_case(name):
    assert name == name.lower().strip("-")
    assert not set(name) - set("abcdefghijklmnopqrstuvwxyz-")


def test_the_worst_come_first_and_allowed_ones_do_not_stop():
    found = [Finding("few-cases", ""), Finding("shifted-masks", ""), Finding("data-problems", "")]
    assert [f.name for f in in_order(found)] == ["data-problems", "shifted-masks", "few-cases"]
    assert [f.stops for f in in_order(found)] == [True, False, False]
    assert not Finding("identical-images", "", allowed=True).stops


def test_cases_are_named_once():
    finding = Finding("differing-masks", "", (Example("a", other="b"), Example("a", other="c")))
    assert finding.cases == ("a", "b", "c")


def test_a_move_puts_a_mask_where_it_says():
    mask = np.zeros((1, 6, 6), np.uint8)
    mask[0, 1, 2] = 1
    assert np.argwhere(Move((0, 3, -1)).apply(mask)).tolist() == [[0, 4, 1]]
    assert np.argwhere(Move(flips=(2,)).apply(mask)).tolist() == [[0, 1, 3]]
    assert np.argwhere(Move(transposed=True).apply(mask)).tolist() == [[0, 2, 1]]
    assert not Move((0, 5, 0)).apply(mask).any()


def test_a_move_in_words():
    assert Move((0, 3, -4)).words() == "moved by 3 down and 4 left"
    assert Move(flips=(1,)).words() == "mirrored top to bottom"
    assert Move((2, 0, 0), (2,), True).words() == (
        "with y and x exchanged, mirrored left to right, moved by 2 back"
    )
    assert Move().words() == "as it is"
