"""Files of unknown origin are read within bounds, and a name that stands twice is an error."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from rareseg.yaml_files import parse_yaml, read_yaml
from rareseg_runner.text_files import (
    MOST_LEVELS,
    RepeatedNameError,
    in_words,
    parse_json,
    read_bytes,
    read_json,
    read_table,
)


def laughs(levels: int) -> str:
    """Return lists of nine references each to the one before: 9 ** levels values in few bytes."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    for level in range(1, levels):
        lines.append(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]")
    return "\n".join(lines)


def test_plain_files_are_read_as_the_parsers_read_them(tmp_path: Path) -> None:
    content = {"a": [1, 2.5, None, True], "ä": {"b": "[{]}", "c": []}}
    path = tmp_path / "x.json"
    path.write_text("\ufeff" + json.dumps(content), encoding="utf-8")
    assert read_json(path) == content
    path.write_text("a: [1, 2.5, null, true]\nb: &x {c: d}\ne: *x\nf: {<<: *x, c: g}\n")
    assert read_yaml(path) == {
        "a": [1, 2.5, None, True],
        "b": {"c": "d"},
        "e": {"c": "d"},
        "f": {"c": "g"},
    }
    path.write_text('id,role\na,"x, y"\nb\n')
    assert read_table(path) == [{"id": "a", "role": "x, y"}, {"id": "b", "role": None}]
    assert parse_yaml("") is None


@pytest.mark.parametrize("text", ['{"a": 1, "b": 2, "a": 3}', '[{"x": {"a": 1, "a": 1}}]'])
def test_a_key_that_stands_twice_in_json_is_named(text: str) -> None:
    with pytest.raises(RepeatedNameError, match="the key 'a' stands there twice"):
        parse_json(text)


def test_a_key_that_stands_twice_in_yaml_is_named() -> None:
    with pytest.raises(RepeatedNameError, match="the key 'steps' stands there twice"):
        parse_yaml("training:\n  steps: 5\n  seed: 1\n  steps: 6\n")


def test_a_column_that_stands_twice_is_named(tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    path.write_text("id,role,id\na,train,b\n")
    with pytest.raises(RepeatedNameError, match="the column 'id' stands there twice"):
        read_table(path)


@pytest.mark.parametrize("deep", [MOST_LEVELS + 1, 5_000, 200_000])
def test_what_is_nested_deeper_than_anybody_writes_is_refused(deep: int) -> None:
    with pytest.raises(ValueError, match="nested deeper than"):
        parse_json("[" * deep + "]" * deep)
    with pytest.raises(ValueError, match="nested deeper than"):
        parse_yaml("[" * min(deep, 5_000) + "]" * min(deep, 5_000))
    assert parse_json("[" * MOST_LEVELS + "]" * MOST_LEVELS)


def test_aliases_that_multiply_are_refused_at_once() -> None:
    assert len(parse_yaml(laughs(3))) == 3
    with pytest.raises(ValueError, match="more than 100,000 values, with aliases counted out"):
        parse_yaml(laughs(9))
    with pytest.raises(ValueError, match="an alias repeats what it stands in"):
        parse_yaml("a: &a [*a]")


def test_a_file_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"#" * 2000)
    assert read_bytes(path, 2000) == b"#" * 2000
    with pytest.raises(ValueError, match=r"more than 1\.9 KiB, which is the limit"):
        read_bytes(path, 1945)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes by name")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "dataset.json"
    os.mkfifo(pipe)
    with pytest.raises(ValueError, match="a pipe or a device"):
        read_json(pipe)
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "none.json")


def test_sizes_are_told_in_the_unit_that_fits() -> None:
    assert [in_words(n) for n in (12, 2048, 3 << 19, 5 << 30)] == [
        "12 bytes",
        "2 KiB",
        "1.5 MiB",
        "5 GiB",
    ]
