"""Cases are read when they are asked for, and no more of them are held than there is room for."""

import threading

import numpy as np
import pytest

import rareseg.review.case_reader as cases_module
from rareseg.review.open_review import open_page_api
from rareseg_runner.formats import read_mask


@pytest.fixture
def api(run):
    opened = open_page_api(run)
    yield opened
    opened.answers.close()


def test_the_oldest_goes_when_there_is_no_room(api, monkeypatch):
    ids = list(dict.fromkeys(item.case_id for item in api.items.items))[:4]
    one = api.cases.look(ids[0]).nbytes
    monkeypatch.setattr(cases_module, "MOST_BYTES", int(2.5 * one))
    for name in (ids[1], ids[0], ids[2]):
        api.cases.look(name)
    assert list(api.cases._held) == [ids[0], ids[2]]
    monkeypatch.setattr(cases_module, "MOST_BYTES", 1)
    viewed = api.cases.look(ids[3])
    assert list(api.cases._held) == [ids[3]]
    assert api.cases.look(ids[3]) is viewed


def test_label_and_prediction_are_class_indices_on_the_same_grid(api):
    for item in api.items.items[:3]:
        viewed = api.cases.look(item.case_id)
        drawn = read_mask(viewed.case.mask).array > 0
        assert np.array_equal(viewed.labels, drawn)
        assert viewed.predicted.shape == viewed.labels.shape == viewed.image.array.shape[1:]
        assert set(np.unique(viewed.predicted)) <= {0, 1}


def test_a_damaged_file_of_a_prediction_is_made_again(api):
    predictions = api.cases.predictions
    name = api.items.items[0].case_id
    viewed = api.cases.look(name)
    path = predictions.folder / f"{name}.npz"
    whole = path.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes(255 - byte for byte in whole[middle:-60]) + whole[-60:]
    for damage in (b"", whole[:40], b"no archive at all", flipped):
        path.write_bytes(damage)
        assert np.array_equal(predictions.of(name, viewed.image), viewed.predicted)
    with np.load(path) as kept:
        assert np.array_equal(kept["classes"], viewed.predicted)


def test_who_asks_for_a_case_that_is_held_does_not_wait_for_another(api, monkeypatch):
    first, second = list(dict.fromkeys(item.case_id for item in api.items.items))[:2]
    held = api.cases.look(first)
    begun, go_on = threading.Event(), threading.Event()
    read = cases_module.read_case

    def slow(case, predictions):
        begun.set()
        assert go_on.wait(60)
        return read(case, predictions)

    monkeypatch.setattr(cases_module, "read_case", slow)
    thread = threading.Thread(target=api.cases.look, args=(second,))
    thread.start()
    assert begun.wait(60)
    assert api.cases.look(first) is held  # while the other is still being read
    go_on.set()
    thread.join()
    assert list(api.cases._held) == [first, second]
