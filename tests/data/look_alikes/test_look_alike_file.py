"""What cases look like is remembered as it was, and damage is told."""

import numpy as np
import pytest

from rareseg.data.look_alikes import ComparedCase, make_thumbnail, read_compared, write_compared
from rareseg.errors import DataError
from rareseg_runner.image_records import Geometry, Image


def compared(name, shape, seed, group=None):
    rng = np.random.default_rng(seed)
    array = rng.normal(100, 20, (1, *shape)).astype(np.float32)
    image = Image(array, Geometry(dimension=2 if shape[0] == 1 else 3))
    return ComparedCase(name, group, f"digest{seed}", make_thumbnail(image))


def test_photographs_volumes_and_flat_images_come_back_as_they_were(tmp_path):
    cases = [
        compared("a", (1, 70, 50), 0, "p1"),
        compared("b", (9, 30, 20), 1),
        ComparedCase("flat", None, "", None),
        compared("ü", (1, 40, 96), 2),
    ]
    write_compared(tmp_path / "looks.npz", cases)
    back = read_compared(tmp_path / "looks.npz")
    assert [(c.id, c.group, c.digest) for c in back] == [(c.id, c.group, c.digest) for c in cases]
    assert back[2].thumbnail is None
    for was, now in zip(cases, back, strict=True):
        if was.thumbnail is not None:
            assert now.thumbnail is not None
            assert np.array_equal(now.thumbnail.picture, was.thumbnail.picture)
            assert np.array_equal(now.thumbnail.spectrum, was.thumbnail.spectrum)
            assert now.thumbnail.picture.dtype == np.int8
            assert (now.thumbnail.extent, now.thumbnail.shape) == (
                was.thumbnail.extent,
                was.thumbnail.shape,
            )


def test_nothing_is_remembered_of_nothing(tmp_path):
    assert read_compared(tmp_path / "absent.npz") == ()
    write_compared(tmp_path / "none.npz", [])
    assert read_compared(tmp_path / "none.npz") == ()


def test_a_damaged_file_is_one_sentence(tmp_path):
    path = tmp_path / "looks.npz"
    write_compared(path, [compared("a", (1, 70, 50), 0)])
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"looks\.npz is damaged"):
        read_compared(path)
    np.savez(path, about=np.array([object()], dtype=object))
    with pytest.raises(DataError, match=r"looks\.npz is damaged"):
        read_compared(path)
