"""Names of results: readable where they can be, and never out of their folder."""

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rareseg.data.file_names import clean_name, clean_path, require_own_folders
from rareseg.errors import DataError


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("part 1", "part 1"),
        ("Müller_3.a", "Müller_3.a"),
        ("12:30:05", "12_30_05"),
        ("../../up", "_._.._up"),
        (".hidden", "_hidden"),
        ("", "_"),
        ("a.", "a"),
        ("Com1.nii", "_Com1.nii"),
    ],
)
def test_a_name(text, name):
    assert clean_name(text) == name


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("line/a", "line/a"),
        ("../../up", "up"),
        ("/etc/x", "etc/x"),
        ("..", "_"),
        ("a\\..\\b", "a_.._b"),
    ],
)
def test_a_path(text, path):
    assert clean_path(text) == path


@given(st.text())
def test_no_path_leads_out_of_its_folder(text):
    path = PurePosixPath(clean_path(text))
    assert not path.is_absolute()
    assert ".." not in path.parts
    assert len(path.parts) >= 1
    assert clean_path(clean_path(text)) == clean_path(text)


def test_two_regions_of_one_folder_are_refused():
    require_own_folders(["core", "whole"])
    for pair in (("a/b", "a_b"), ("Core", "core")):
        with pytest.raises(DataError, match="rename one"):
            require_own_folders(pair)
