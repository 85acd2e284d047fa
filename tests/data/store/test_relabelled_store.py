import pickle

import numpy as np
import pytest

from rareseg.data.store.array_store import store_from_arrays
from rareseg.data.store.relabelled_store import relabel
from rareseg.errors import OutputError
from rareseg_runner.image_records import Classes

ONE = Classes(("background", "any"), (0, 1), {"any": (1,)})


@pytest.fixture
def store(tmp_path):
    rng = np.random.default_rng(0)
    images = {f"c{i}": rng.integers(0, 99, (2, 1, 5 + i, 6)).astype(np.uint8) for i in range(3)}
    labels = {k: rng.integers(0, 3, v.shape[1:]).astype(np.uint8) for k, v in images.items()}
    return store_from_arrays(tmp_path / "store", images, labels)


def test_images_are_shared_and_labels_are_new(store, tmp_path):
    made = relabel(store, tmp_path / "new", lambda row: store.label(row) > 0, classes=ONE, key="k")
    assert made.classes == ONE
    assert made.cases.ids == store.cases.ids
    for row in range(3):
        np.testing.assert_array_equal(made.values(row), store.values(row))
        np.testing.assert_array_equal(made.label(row), store.label(row) > 0)
    one, other = tmp_path / "store" / "images.bin", tmp_path / "new" / "images.bin"
    assert one.stat().st_ino == other.stat().st_ino
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(made)).labels, made.labels)


def test_a_store_of_the_same_key_is_opened_and_of_another_made_anew(store, tmp_path):
    def refuse(row):
        raise AssertionError("nothing is to be labelled")

    relabel(store, tmp_path / "new", store.label, classes=store.classes, key="k")
    again = relabel(store, tmp_path / "new", refuse, classes=store.classes, key="k")
    np.testing.assert_array_equal(again.labels, store.labels)
    other = relabel(store, tmp_path / "new", lambda r: store.label(r) * 0, classes=ONE, key="l")
    assert not other.labels.any()


def test_of_a_part_the_rest_holds_nothing(store, tmp_path):
    part = store.subset(["c1"])
    made = relabel(part, tmp_path / "new", part.label, classes=store.classes, key="k")
    np.testing.assert_array_equal(made.label(made.row("c1")), part.label(0))
    assert not made.label(0).any()


def test_another_folder_is_left_alone(store, tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "mine.txt").write_text("mine")
    with pytest.raises(OutputError):
        relabel(store, tmp_path / "new", store.label, classes=ONE, key="k")
    assert (tmp_path / "new" / "mine.txt").read_text() == "mine"
