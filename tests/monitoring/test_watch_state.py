"""The state of a watch: what is kept, counted once, refused, and left by a failure to write."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from rareseg.errors import OutputError, RunError, WorkError
from rareseg.monitoring.observed_features import by_group
from rareseg.monitoring.watch_state import NAME, WatchState

ABOUT = {"weights": "abc", "points": {"speck": [0.5]}, "arithmetic": {}, "features": []}


@pytest.fixture
def state(tmp_path, features):
    with WatchState(tmp_path / NAME, features) as opened:
        yield opened


def test_an_image_is_kept_as_it_was_observed(state, observed, tmp_path, features):
    one = observed(3, "g")
    state.add("reference", one)
    state.close()
    with WatchState(tmp_path / NAME, features) as again:
        assert again.observed().reference == (one,)
        assert again.part_of(one.digest) == "reference"
        assert again.part_of("another") is None


def test_of_the_training_the_images_themselves_are_kept(state, observed, features):
    one = observed(3)
    values = {f: v for f, v in one.values.items() if not f.region}
    from dataclasses import replace

    state.add("training", replace(one, values=values, doubt={}))
    assert state.observed().training[0].values == values


def test_an_image_counts_once_whatever_it_is_added_as(state, observed):
    state.add("reference", observed(1))
    state.add("stream", observed(1))
    state.seal()
    assert (len(state.observed().reference), state.observed().stream) == (1, ())


def test_groups_get_their_places_at_the_end_of_a_call(state, observed, features):
    for number in (5, 2, 9):
        state.add("stream", observed(number, "late" if number == 9 else None))
    assert state.observed().stream == ()  # an interrupted call says nothing yet
    assert state.seal() == (3, 3)
    state.add("stream", observed(1))
    assert state.seal() == (1, 1)
    names, _ = by_group(state.observed().stream, features)
    assert names[-1] == "image digest-0001"
    assert [(call.n_images, call.n_groups) for call in state.calls()] == [(3, 3), (1, 1)]
    assert state.seal() == (0, 0)
    assert len(state.calls()) == 2


def test_the_order_within_a_call_is_not_that_of_names(state, observed):
    numbers = list(range(40))
    for number in reversed(numbers):
        state.add("stream", observed(number))
    state.seal()
    assert [one.digest for one in state.observed().stream] == sorted(
        observed(number).digest for number in numbers
    )


def test_later_images_of_a_group_and_groups_of_the_reference_do_not_count(state, observed):
    state.add("reference", observed(1, "r"))
    state.add("stream", observed(2, "a"))
    state.seal()
    state.add("stream", observed(3, "a"))
    state.add("stream", observed(4, "r"))
    assert state.seal() == (0, 0)
    assert [one.id for one in state.observed().late] == ["n3", "n4"]
    assert [one.id for one in state.observed().stream] == ["n2"]


def test_another_model_is_refused_by_what_differs(state):
    state.claim(ABOUT)
    state.claim(ABOUT)
    with pytest.raises(OutputError, match="another model; choose another --out"):
        state.claim({**ABOUT, "weights": "xyz"})
    with pytest.raises(OutputError, match="other operating points"):
        state.claim({**ABOUT, "points": {}})


def test_what_is_no_state_is_refused(tmp_path, features):
    (tmp_path / "text").write_text("no database\n" * 100)
    with pytest.raises(RunError, match=r"text cannot be opened as the state of a watch"):
        WatchState(tmp_path / "text", features)
    with closing(sqlite3.connect(tmp_path / "later")) as base:
        base.execute("PRAGMA user_version = 7")
    with pytest.raises(RunError, match="version 7, this rareseg reads 1"):
        WatchState(tmp_path / "later", features)


def test_a_damaged_line_is_named(state, observed, tmp_path):
    state.add("reference", observed(1))
    with closing(sqlite3.connect(tmp_path / NAME)) as base:
        base.execute("UPDATE images SET content = '{}'")
        base.commit()
    with pytest.raises(RunError, match="the line of image 'n1' is damaged"):
        state.observed()


def test_a_full_disk_loses_nothing(state, observed):
    state.add("stream", observed(1))
    pages = state._base.execute("PRAGMA page_count").fetchone()[0]
    state._base.execute(f"PRAGMA max_page_count = {pages}")
    from dataclasses import replace

    large = replace(observed(2), files=("x" * 100_000,))
    with pytest.raises(WorkError, match=r"full\); what it held before is there: make room"):
        state.add("stream", large)
    assert state.part_of(large.digest) is None
    state._base.execute("PRAGMA max_page_count = 100000")
    state.add("stream", large)
    assert state.seal() == (2, 2)


def test_groups_that_were_drawn_stay_drawn(state):
    state.pick("a", ["group 3", "group 1"])
    state.pick("b", ["group 2"])
    assert state.picks() == {"a": ("group 3", "group 1"), "b": ("group 2",)}
    with pytest.raises(WorkError):
        state.pick("a", ["group 9"])
