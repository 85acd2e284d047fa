"""Cases are read when they are asked for, and no more of them are held than there is room for."""

import threading

import numpy as np
import pytest

import rareseg.review.case_reader as cases_module
from rareseg.data.formats import read_mask
from rareseg.review.open_review import open_room


@pytest.fixture
def room(run):
    opened = open_room(run)
    yield opened
    opened.answers.close()


def test_the_oldest_goes_when_there_is_no_room(room, monkeypatch):
    ids = list(dict.fromkeys(item.case_id for item in room.items.items))[:4]
    one = room.cases.look(ids[0]).nbytes
    monkeypatch.setattr(cases_module, "MOST_BYTES", int(2.5 * one))
    for name in (ids[1], ids[0], ids[2]):
        room.cases.look(name)
    assert list(room.cases._held) == [ids[0], ids[2]]
    monkeypatch.setattr(cases_module, "MOST_BYTES", 1)
    looked = room.cases.look(ids[3])
    assert list(room.cases._held) == [ids[3]]
    assert room.cases.look(ids[3]) is looked


def test_label_and_prediction_are_class_indices_on_the_same_grid(room):
    for item in room.items.items[:3]:
        looked = room.cases.look(item.case_id)
        drawn = read_mask(looked.case.mask).array > 0
        assert np.array_equal(looked.labels, drawn)
        assert looked.predicted.shape == looked.labels.shape == looked.image.array.shape[1:]
        assert set(np.unique(looked.predicted)) <= {0, 1}


def test_a_damaged_file_of_a_prediction_is_made_again(room):
    predictions = room.cases.predictions
    name = room.items.items[0].case_id
    looked = room.cases.look(name)
    path = predictions.folder / f"{name}.npz"
    whole = path.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes(255 - byte for byte in whole[middle:-60]) + whole[-60:]
    for damage in (b"", whole[:40], b"no archive at all", flipped):
        path.write_bytes(damage)
        assert np.array_equal(predictions.of(name, looked.image), looked.predicted)
    with np.load(path) as kept:
        assert np.array_equal(kept["classes"], looked.predicted)


def test_who_asks_for_a_case_that_is_held_does_not_wait_for_another(room, monkeypatch):
    first, second = list(dict.fromkeys(item.case_id for item in room.items.items))[:2]
    held = room.cases.look(first)
    begun, go_on = threading.Event(), threading.Event()
    read = cases_module.read_case

    def slow(case, predictions):
        begun.set()
        assert go_on.wait(60)
        return read(case, predictions)

    monkeypatch.setattr(cases_module, "read_case", slow)
    thread = threading.Thread(target=room.cases.look, args=(second,))
    thread.start()
    assert begun.wait(60)
    assert room.cases.look(first) is held  # while the other is still being read
    go_on.set()
    thread.join()
    assert list(room.cases._held) == [first, second]
