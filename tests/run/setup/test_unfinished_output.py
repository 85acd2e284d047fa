"""What is unfinished may be written again; what is finished, or another's, may not."""

import pytest

from rareseg.errors import OutputError
from rareseg.run.setup.unfinished_output import unfinished


def fail(out):
    with unfinished(out):
        (out / "cases.csv").write_text("half", encoding="utf-8")
        raise RuntimeError("no more")


def test_what_is_unfinished_may_be_written_again_and_then_not(tmp_path):
    out = tmp_path / "out"
    with pytest.raises(RuntimeError):
        fail(out)
    with unfinished(out):
        (out / "cases.csv").write_text("whole", encoding="utf-8")
    assert [path.name for path in out.iterdir()] == ["cases.csv"]
    with pytest.raises(OutputError, match="1 entries"), unfinished(out):
        pass


def test_a_failure_before_anything_is_written_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), unfinished(tmp_path / "out"):
        raise RuntimeError("no data")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_of_the_user_is_refused_and_kept(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match="nothing was changed"), unfinished(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
