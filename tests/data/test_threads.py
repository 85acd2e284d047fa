"""Readers run in threads, and CPython's ast does not: none of them may be in it side by side."""

from __future__ import annotations

import ast
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import numpy as np
import pytest
import SimpleITK

from rareseg.data.score_files.probability_files import read_probabilities
from rareseg_runner.formats import read_image


@pytest.fixture
def parsing(monkeypatch):
    """How many threads were inside ast, each time that one entered it."""
    entered: list[int] = []
    inside = 0
    counting = Lock()
    parse = ast.parse

    def watched(*args, **kwargs):
        nonlocal inside
        with counting:
            inside += 1
            entered.append(inside)
        time.sleep(0.005)
        try:
            return parse(*args, **kwargs)
        finally:
            with counting:
                inside -= 1

    monkeypatch.setattr(ast, "parse", watched)
    return entered


@pytest.fixture
def paths(tmp_path):
    scores = np.random.default_rng(0).random((2, 3, 4, 5), dtype=np.float32)
    np.savez(tmp_path / "a.npz", probabilities=scores)
    np.save(tmp_path / "b.npy", scores)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(scores[0]), tmp_path / "c.nii.gz")
    return tmp_path


def test_the_watch_sees_threads_that_parse_side_by_side(parsing):
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(np.dtype, ["8i2"] * 8))
    assert max(parsing) > 1


def test_readers_take_turns(paths, parsing):
    image = read_image((paths / "c.nii.gz",))
    with ThreadPoolExecutor(4) as threads:
        scores = [threads.submit(read_probabilities, paths / "a.npz", image) for _ in range(8)]
        images = [threads.submit(read_image, (paths / "b.npy",)) for _ in range(8)]
        assert all(done.result().shape == (2, 3, 4, 5) for done in scores)
        assert all(done.result().array.shape == (2, 3, 4, 5) for done in images)
    assert len(parsing) >= 16
    assert max(parsing) == 1


def test_a_volume_is_read_without_it(paths, parsing):
    read_image((paths / "c.nii.gz",))
    assert parsing == []
