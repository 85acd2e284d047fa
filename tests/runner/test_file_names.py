"""Names of results: readable where they can be, and never out of their folder."""

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rareseg.errors import DataError
from rareseg_runner.file_names import (
    alike_names,
    clean_name,
    clean_path,
    name_fault,
    require_names,
)


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
    require_names(["core", "whole", "tumour/oedema", "10:11"], "region")
    for pair in (("a/b", "a_b"), ("Core", "core"), ("caf\u00e9", "cafe\u0301")):
        with pytest.raises(DataError, match="rename one"):
            require_names(pair, "region")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        ("a\x00b", "control characters"),
        ("line\nbreak", "control characters"),
        ("../../up", "leads out"),
        ("a\\..\\b", "leads out"),
        ("\u202egnp.exe", "direction of text"),
    ],
)
def test_names_that_cannot_be_taken_are_told_why(name, words):
    assert words in str(name_fault(name))
    with pytest.raises(DataError, match="rename it"):
        require_names([name, "other"], "class")


def test_names_that_some_system_takes_for_one_are_found():
    assert alike_names(["a", "B", "A", "b", "c"]) == [("a", "A"), ("B", "b")]
