"""Only what a receipt of ours names, and nobody changed since, is overwritten."""

import pytest

from rareseg.errors import OutputError
from rareseg.run.outputs.receipt import receipt_for, require_ours

NAMES = ("page.html", "record.json")


def written(out, text="ours"):
    require_ours(out, "receipt.json", NAMES)
    with receipt_for(out, "receipt.json", NAMES):
        for name in NAMES:
            (out / name).write_text(text)


def test_our_own_files_are_replaced_and_others_are_left(tmp_path):
    written(tmp_path)
    (tmp_path / "notes.txt").write_text("a user's")
    written(tmp_path, "again")
    assert (tmp_path / "page.html").read_text() == "again"
    assert (tmp_path / "notes.txt").read_text() == "a user's"


def test_a_file_of_the_same_name_that_nobody_noted_is_left(tmp_path):
    (tmp_path / "record.json").write_text('{"findings": [], "content_hash": ""}')
    with pytest.raises(OutputError, match="not of this run"):
        written(tmp_path)
    assert (tmp_path / "record.json").read_text() == '{"findings": [], "content_hash": ""}'


def test_a_file_that_was_changed_is_left(tmp_path):
    written(tmp_path)
    (tmp_path / "page.html").write_text("with a remark")
    with pytest.raises(OutputError, match=r"page\.html is not as an earlier call left it"):
        written(tmp_path)
    assert (tmp_path / "page.html").read_text() == "with a remark"


def test_a_call_that_was_killed_is_taken_up(tmp_path):
    writing = receipt_for(tmp_path, "receipt.json", NAMES)
    writing.__enter__()  # and killed
    (tmp_path / "page.html").write_text("half")
    written(tmp_path)
    assert (tmp_path / "page.html").read_text() == "ours"
