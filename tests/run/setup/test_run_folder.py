"""A folder of results: nothing is written through a link that leads out of it."""

import json

import pytest

from rareseg.errors import OutputError
from rareseg.run.setup.run_folder import claim, require_no_links_out

ABOUT = {"weights": "w"}


def test_a_link_that_leads_out_is_refused_and_one_within_is_not(tmp_path):
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    (out / "inner").mkdir(parents=True)
    elsewhere.mkdir()
    require_no_links_out(tmp_path / "absent")
    (out / "again").symlink_to(out / "inner")
    require_no_links_out(out)
    (tmp_path / "name").symlink_to(out)
    require_no_links_out(tmp_path / "name")
    (out / "inner" / "foreground").symlink_to(elsewhere)
    with pytest.raises(OutputError, match=r"foreground is a link to .*elsewhere"):
        require_no_links_out(out)


def test_a_file_that_is_a_link_out_is_refused(tmp_path):
    claim(tmp_path / "out", "note.json", ABOUT, "others")
    (tmp_path / "theirs.jsonl").write_text("theirs")
    (tmp_path / "out" / "predicted.jsonl").symlink_to(tmp_path / "theirs.jsonl")
    with pytest.raises(OutputError, match=r"predicted\.jsonl is a link"):
        claim(tmp_path / "out", "note.json", ABOUT, "others")


def test_what_is_noted_later_says_nothing_of_what_a_folder_is_for(tmp_path):
    claim(tmp_path, "note.json", ABOUT, "others", later="images")
    (tmp_path / "note.json").write_text(json.dumps({**ABOUT, "images": {"a": "1"}}))
    claim(tmp_path, "note.json", ABOUT, "others", later="images")
    with pytest.raises(OutputError, match="holds others"):
        claim(tmp_path, "note.json", {"weights": "x"}, "others", later="images")
    (tmp_path / "note.json").write_text("{")
    with pytest.raises(OutputError, match="holds others"):
        claim(tmp_path, "note.json", ABOUT, "others", later="images")
