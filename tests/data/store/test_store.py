"""A store gives back what went in, and is whole or not there."""

from __future__ import annotations

import errno
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from rareseg.data.checks.fingerprint import inspect_dataset
from rareseg.data.dataset import open_dataset
from rareseg.data.store import store_writing
from rareseg.data.store.array_store import store_from_arrays
from rareseg.data.store.build import build_store
from rareseg.data.store.store import Store, open_store
from rareseg.errors import DataError, OutputError, ProblemsError, StoreError, UsageError, WorkError
from rareseg_runner.formats import read_image
from rareseg_runner.image_records import IGNORE, Classes, Geometry, Image
from rareseg_runner.preprocessing.preprocess import Preprocessing, network_input, prepare


def arrays(kind: type = np.uint8) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    rng = np.random.default_rng(4)
    shapes = {"one": (1, 12, 17), "two": (1, 30, 8), "three": (1, 5, 5)}
    images = {k: rng.integers(0, 200, (3, *shape)).astype(kind) for k, shape in shapes.items()}
    labels = {k: rng.integers(0, 3, shape).astype(np.uint8) for k, shape in shapes.items()}
    return images, labels


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Four photographs of different sizes, the last without a mask because it is empty."""
    rng = np.random.default_rng(5)
    for folder in ("images", "masks", "negatives"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    for number, (height, width) in enumerate([(20, 30), (25, 18), (16, 16)]):
        pixels = rng.integers(0, 256, (height, width)).astype(np.uint8)
        mask = np.zeros((height, width), np.uint8)
        mask[3:6, 4:9] = 255
        Picture.fromarray(pixels).save(tmp_path / "data" / "images" / f"p{number}.png")
        Picture.fromarray(mask).save(tmp_path / "data" / "masks" / f"p{number}.png")
    clean = rng.integers(0, 256, (14, 22)).astype(np.uint8)
    Picture.fromarray(clean).save(tmp_path / "data" / "negatives" / "clean.png")
    return tmp_path / "data"


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float32])
@pytest.mark.parametrize("target", [None, (1.0, 2.0, 2.0)])
def test_the_store_gives_the_network_s_values_bit_for_bit(
    tmp_path: Path, kind: type, target: tuple[float, float, float] | None
) -> None:
    images, labels = arrays(kind)
    settings = Preprocessing(target_spacing=target)
    store = store_from_arrays(tmp_path / "store", images, labels, preprocessing=settings)
    assert store.images.dtype == (np.uint8 if kind is np.uint8 and target is None else np.int16)
    for row, (name, array) in enumerate(images.items()):
        assert store.cases.ids[row] == name
        np.testing.assert_array_equal(
            store.values(row), network_input(Image(array, Geometry()), settings)
        )
        if target is None:
            np.testing.assert_array_equal(store.label(row), labels[name])


def test_mixed_number_types_share_int16(tmp_path: Path) -> None:
    images, labels = arrays()
    images["two"] = images["two"].astype(np.float32)
    store = store_from_arrays(tmp_path / "store", images, labels)
    assert store.images.dtype == np.int16
    for row, array in enumerate(images.values()):
        expected = prepare(Image(array, Geometry()), Preprocessing()).values()
        np.testing.assert_array_equal(store.values(row), expected)


def test_spacing_follows_the_grid(tmp_path: Path) -> None:
    images, labels = arrays()
    settings = Preprocessing(target_spacing=(1.0, 1.0, 1.0))
    store = store_from_arrays(
        tmp_path / "s", images, labels, spacing=(1.0, 0.5, 0.5), preprocessing=settings
    )
    np.testing.assert_array_equal(store.cases.shape, [[1, 6, 8], [1, 15, 4], [1, 2, 2]])
    np.testing.assert_allclose(store.cases.spacing[0], [1.0, 1.0, 17 * 0.5 / 8])


def test_arrays_must_belong_together(tmp_path: Path) -> None:
    images, labels = arrays()
    with pytest.raises(DataError, match="'one' has an image or labels"):
        store_from_arrays(tmp_path / "s", images, {k: v for k, v in labels.items() if k != "one"})
    with pytest.raises(DataError, match="'two'"):
        store_from_arrays(tmp_path / "s", images, labels | {"two": labels["one"]})
    classes = Classes(("background", "a"), (0, 1), {"a": (1,)})
    with pytest.raises(DataError, match=r"Case 'one': .* value\(s\) 2"):
        store_from_arrays(tmp_path / "s", images, labels, classes=classes)
    assert list(tmp_path.iterdir()) == []


def test_a_subset_shares_the_arrays(tmp_path: Path) -> None:
    store = store_from_arrays(tmp_path / "store", *arrays(), groups={"two": "g"})
    part = store.subset(["three", "two"])
    assert part.cases.ids == ("two", "three")
    assert part.cases.groups == ("g", None)
    assert part.images is store.images
    np.testing.assert_array_equal(part.values(0), store.values(1))
    with pytest.raises(UsageError, match=r"did you mean 'three'\?"):
        store.subset(["thre"])


def test_a_pickled_store_is_a_path(tmp_path: Path) -> None:
    images, labels = arrays()
    store = store_from_arrays(tmp_path / "store", images, labels)
    arrived: Store = pickle.loads(pickle.dumps(store.subset(["two"])))
    np.testing.assert_array_equal(arrived.values(0), store.values(1))
    packed = pickle.dumps(store)
    store_from_arrays(tmp_path / "store", images, {k: v * 0 for k, v in labels.items()})
    with pytest.raises(StoreError, match="rebuilt"):
        pickle.loads(packed)


def test_the_same_inputs_are_not_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = store_from_arrays(tmp_path / "store", *arrays())
    with monkeypatch.context() as patch:
        patch.setattr(store_writing, "_store_case", None)  # writing would fail
        assert store_from_arrays(tmp_path / "store", *arrays()).key == first.key
    other = store_from_arrays(
        tmp_path / "store", *arrays(), preprocessing=Preprocessing(method="range")
    )
    assert other.key != first.key
    assert open_store(tmp_path / "store").preprocessing.method == "range"


def test_photographs_from_files(photos: Path, tmp_path: Path) -> None:
    dataset = open_dataset(photos)
    store = build_store(dataset, tmp_path / "store", jobs=2)
    assert (len(store), store.channels, store.images.dtype) == (4, 1, np.uint8)
    assert store.preprocessing == Preprocessing(dimension=2)
    for case in dataset.cases:
        row = store.row(case.id)
        expected = network_input(read_image(case.images), store.preprocessing)
        np.testing.assert_array_equal(store.values(row), expected)
        assert store.label(row).sum() == (0 if case.mask is None else 15)


def test_a_changed_file_is_noticed(photos: Path, tmp_path: Path) -> None:
    fingerprint = inspect_dataset(open_dataset(photos))
    first = build_store(open_dataset(photos), tmp_path / "store", fingerprint=fingerprint)
    Picture.fromarray(np.zeros((20, 30), np.uint8)).save(photos / "images" / "p0.png")
    os.utime(photos / "images" / "p0.png", (1, 1))
    with pytest.raises(StoreError, match="changed since"):
        build_store(open_dataset(photos), tmp_path / "store", fingerprint=fingerprint)
    again = build_store(open_dataset(photos), tmp_path / "store")
    assert again.key != first.key
    assert again.image(again.row("p0")).max() == 0
    assert first.image(first.row("p0")).max() > 0  # who still maps the old files keeps them


def test_problems_are_listed_before_anything_is_written(photos: Path, tmp_path: Path) -> None:
    Picture.fromarray(np.zeros((9, 9), np.uint8)).save(photos / "masks" / "p1.png")
    with pytest.raises(ProblemsError, match="p1"):
        build_store(open_dataset(photos), tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_what_is_not_a_store_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("all of it")
    with pytest.raises(OutputError, match="not a store"):
        store_from_arrays(tmp_path, *arrays())
    assert (tmp_path / "thesis.txt").read_text() == "all of it"


def test_an_interrupted_build_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(store_writing, "_store_case", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store_from_arrays(tmp_path / "store", *arrays())
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(store_writing, "_store_case", full)
        with pytest.raises(WorkError, match=r"store could not be written \(No space left"):
            store_from_arrays(tmp_path / "store", *arrays())
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr(store_writing.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(WorkError, match="make room"):
        store_from_arrays(tmp_path / "store", *arrays())
    assert list(tmp_path.iterdir()) == []


def test_damage_is_noticed_and_repaired(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with pytest.raises(StoreError, match="holds no store"):
        open_store(folder)
    store_from_arrays(folder, *arrays())
    with (folder / "labels.bin").open("ab") as file:
        file.write(b"x")
    with pytest.raises(StoreError, match=r"labels.bin has 470 bytes, expected 469"):
        open_store(folder)
    (folder / "store.json").write_text("{}")
    with pytest.raises(StoreError, match="version"):
        open_store(folder)
    assert len(store_from_arrays(folder, *arrays())) == 3


def test_ignored_voxels_survive(tmp_path: Path) -> None:
    images, labels = arrays()
    labels["one"][0, 0] = 77
    classes = Classes(("background", "a", "b"), (0, 1, 2), {"a": (1,)}, ignore_value=77)
    store = store_from_arrays(tmp_path / "store", images, labels, classes=classes)
    assert (store.label(0)[0, 0] == IGNORE).all()
    assert open_store(tmp_path / "store").classes == classes
