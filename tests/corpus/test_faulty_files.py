"""Every file of the corpus: refused in one sentence that names it, or read as it must be."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from corpus.faulty_files import FILES, FaultyFile
from corpus.smallest import smallest
from rareseg.errors import ReadError
from rareseg_runner.formats import formats, read_image, read_mask


def require(module: str) -> None:
    """Skip the test where the extra that installs a module is not there."""
    if module:
        pytest.importorskip(
            module, reason=f"{module} is not installed; make test-extras installs it"
        )


def read(entry: FaultyFile, path: Path) -> np.ndarray:
    return read_mask(path).array if entry.role == "mask" else read_image([path]).array[0]


@pytest.mark.parametrize("entry", FILES, ids=lambda entry: entry.name)
def test_a_faulty_file(entry, tmp_path, monkeypatch):
    require(entry.needs)
    monkeypatch.chdir(tmp_path)  # what is unpickled makes a folder here
    (tmp_path / "data").mkdir()
    for name, content in entry.files().items():
        (tmp_path / "data" / name).write_bytes(content)
    path = tmp_path / "data" / entry.name
    try:
        found = read(entry, path)
    except ReadError as error:
        said = str(error)
        assert not isinstance(entry.right, np.ndarray), said
        assert entry.right is None or re.search(entry.right, said), said
        assert str(path) in said
        assert re.search(r"[^.]\.$", said), f"no sentence: {said}"
        assert "\n" not in said
    else:
        assert not isinstance(entry.right, str), f"read as {found.dtype} of {found.shape}"
        if entry.right is not None:
            np.testing.assert_array_equal(np.squeeze(found), entry.right)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_names_differ():
    names = [entry.name for entry in FILES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("suffix", "needs"), [(suffix, form.needs) for form in formats() for suffix in form.suffixes]
)
def test_every_format_has_a_smallest_file(suffix, needs):
    """A format of yours needs a line in tests/corpus/smallest.py."""
    require("" if needs is None else needs[0])
    files = smallest(suffix)
    assert next(iter(files)) == f"whole{suffix}"
    assert sum(map(len, files.values())) < 20_000
