"""`image_scores.csv`: what stands in it comes back, and what does not fit is named."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rareseg.data.score_files.image_score_files import (
    NAME,
    PresenceFile,
    read_presences,
    write_presences,
)
from rareseg.errors import DataError

HEAD = "id,region,presence\n"
IDS = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=5)


def read(path, *, known=("a", "b"), needed=("a",), regions=("core", "whole")):
    return read_presences(path, known=known, needed=needed, regions=regions)


def written(folder, text):
    path = folder / NAME
    path.write_text(text, encoding="utf-8")
    return path


@given(q=st.floats(0, 1, width=32), name=IDS)
def test_what_was_written_comes_back_bit_for_bit(q, name, tmp_path_factory):
    path = tmp_path_factory.mktemp("told") / NAME
    said = {name: {"whole": q, "core": 0.25}}
    write_presences(path, said)
    assert read(path, known=[name], needed=[name]) == said


def test_other_tools_may_write_more_columns_in_any_order(tmp_path):
    path = written(tmp_path, "presence,note,region,id\n0.5,,core,a\n1e-3,x,whole,a\n")
    assert read(path) == {"a": {"core": 0.5, "whole": float(np.float32(1e-3))}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has the columns none; needed are id, region, presence"),
        ("id,region\na,core\n", "has the columns id, region; needed are"),
        (HEAD + "c,core,0.5\n", "names the case 'c', which the references do not hold"),
        (HEAD + "a,cor,0.5\n", r"region 'cor' \(did you mean 'core'\?\); allowed are core"),
        (HEAD + "a,core,0.5\na,core,0.5\n", "has two lines for region 'core' of case 'a'"),
        (HEAD + "a,core,1.5\n", r"the presence '1.5' for case 'a'; it must be .* in \[0, 1\]"),
        (HEAD + "a,core,-0.1\n", "holds the presence '-0.1'"),
        (HEAD + "a,core,nan\n", "holds the presence 'nan'"),
        (HEAD + "a,core,high\n", "holds the presence 'high'"),
        (HEAD + "a,core\n", "holds the presence ''"),
        (HEAD + "b,core,0.5\n", "has no line for region 'core' of case 'a'"),
        (HEAD + "a,core,0.5\nb,whole,0.5\n", "no line for region 'whole' of case 'a'"),
        (HEAD, "has no line for region 'core' of case 'a'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_in_one_sentence(tmp_path, text, said):
    with pytest.raises(DataError, match=said) as met:
        read(written(tmp_path, text))
    assert NAME in str(met.value)
    assert str(met.value).endswith(".")


def test_cases_that_are_not_needed_need_no_line(tmp_path):
    assert read(written(tmp_path, HEAD + "a,core,0.5\n")) == {"a": {"core": 0.5}}


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / NAME).write_bytes(b"\xff\xfe\x00\x9f" * 9)
    with pytest.raises(DataError, match="cannot be read"):
        read(tmp_path / NAME)


def test_a_file_grows_and_goes_on_after_it_was_cut_short(tmp_path):
    path = tmp_path / "deep" / NAME
    first = PresenceFile(path, kept=())
    first.add("a", {"core": 0.25, "whole": 0.75})
    first.add("b", {"core": 0.5, "whole": 1.0})
    path.write_bytes(path.read_bytes()[:-5])  # in the middle of b's last line
    again = PresenceFile(path, kept=["a"])
    again.add("b", {"core": 0.5, "whole": 1.0})
    found = read(path, needed=("a", "b"))
    assert found == {"a": {"core": 0.25, "whole": 0.75}, "b": {"core": 0.5, "whole": 1.0}}
