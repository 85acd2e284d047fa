"""The board: hung up once, taken once, recorded once, and nothing is lost with a worker."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy.exc import OperationalError

import rareseg.study.board as boards
import rareseg.study.storage as storages
from rareseg.errors import RunError, UsageError, WorkError
from rareseg.study.board import Board, Counts
from rareseg.study.storage import SharedStudy, reached

IDENTITY = {"code": "c", "data": "d", "shared": {"training": {"steps": 5}}}
KEYS = ("a", "b", "c")


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'study.db'}"


def open_board(url, keys, *, name="table", identity=IDENTITY):
    shared = SharedStudy(url, name)
    shared.require(identity)
    return Board(shared, {key: {"key": key} for key in keys})


def trials(url):
    return optuna.load_study(study_name="table", storage=url).get_trials(deepcopy=False)


def test_cells_are_hung_up_once_however_many_workers_come(url):
    with ThreadPoolExecutor(4) as workers:
        opened = list(workers.map(lambda _: open_board(url, KEYS), range(4)))
    assert [trial.user_attrs["cell"] for trial in trials(url)] == list(KEYS)
    assert all(board.counts() == Counts(3, 0, 0, 0) for board in opened)


def test_every_cell_is_taken_by_one_worker_and_recorded(url):
    one, two = (open_board(url, KEYS) for _ in range(2))
    taken = [one.take(), two.take(), one.take()]
    assert [cell.key for cell in taken] == list(KEYS)
    assert two.take() is None
    assert one.counts() == Counts(0, 3, 0, 0)
    for cell in taken:
        with one.alive(cell):
            assert one.record(cell, {"cell": cell.key}, 0.5)
    assert two.results() == {key: {"cell": key} for key in KEYS}
    assert two.counts() == Counts(0, 0, 3, 0)
    assert len(trials(url)) == 3


def test_a_result_of_any_size_comes_back_as_it_was(url):
    board = open_board(url, ("a",))
    result = {"values": [((i * 7919) % 10007) / 7 for i in range(30_000)]}
    board.record(board.take(), result, 0.1)
    assert trials(url)[0].user_attrs["result"] > 3
    assert board.results() == {"a": result}


def test_the_cell_of_a_worker_that_was_killed_is_hung_up_again(url, monkeypatch):
    monkeypatch.setattr(storages, "GRACE", 1)
    board = open_board(url, ("a",))
    lost = board.take()
    found = _until_taken(board)
    assert found.key == "a"
    # The lost worker comes back: its result is refused, that of the other one kept.
    assert not board.record(lost, {"by": "lost"}, 0.0)
    assert board.record(found, {"by": "found"}, 1.0)
    assert board.results() == {"a": {"by": "found"}}
    states = [trial.state for trial in trials(url)]
    assert states.count(TrialState.COMPLETE) == 1


def _until_taken(board):
    """Take again until the silence of the last worker is noticed; the clock has whole seconds."""
    for _ in range(40):
        found = board.take()
        if found is not None:
            return found
        time.sleep(0.1)
    raise AssertionError("the cell was not hung up again")


def test_a_cell_that_kills_its_workers_is_given_up(url, monkeypatch):
    monkeypatch.setattr(boards, "MOST_TRIES", 2)
    board = open_board(url, ("a",))
    for _ in range(2):
        cell = board.take()
        board._shared.study.tell(
            cell.trial, state=TrialState.FAIL
        )  # as a heartbeat that stopped does
    assert board.take() is None
    assert board.counts() == Counts(0, 0, 0, 1)
    assert "killed 2 times" in board.errors()["a"]


def test_a_cell_that_failed_waits_for_the_next_call(url):
    board = open_board(url, ("a",))
    board.fail(board.take(), "the disk is full")
    assert board.take() is None
    assert board.errors() == {"a": "the disk is full"}
    again = open_board(url, ("a",))
    assert again.counts() == Counts(1, 0, 0, 0)
    assert again.record(again.take(), {}, 1.0)
    assert again.errors() == {}


def test_a_cell_that_failed_does_not_wait_for_calls_that_do_not_ask_for_it(url):
    more = open_board(url, ("a", "b"))
    for _ in range(2):
        taken = more.take()
        if taken.key == "b":
            more.fail(taken, "the memory is full")
        else:
            more.record(taken, {}, 1.0)
    assert open_board(url, ("a",)).take() is None
    assert open_board(url, ("a", "b")).take().key == "b"


def test_more_cells_can_be_asked_for_and_are_taken_by_whoever_comes(url):
    few, more = open_board(url, ("a",)), open_board(url, KEYS)
    assert few.counts() == Counts(1, 0, 0, 0)
    for _ in KEYS:
        taken = few.take()
        assert taken.content == {"key": taken.key}
        assert few.record(taken, {"cell": taken.key}, 0.5)
    assert few.results() == {"a": {"cell": "a"}}
    assert more.counts() == Counts(0, 0, 3, 0)
    assert set(more.results()) == set(KEYS)


def test_a_cell_that_others_asked_for_is_hung_up_again_with_its_content(url):
    open_board(url, KEYS)
    few = open_board(url, ("a",))
    lost = [few.take() for _ in KEYS]
    few._shared.study.tell(lost[2].trial, state=TrialState.FAIL)  # as a silent heartbeat does
    again = few.take()
    assert (again.key, again.content) == ("c", {"key": "c"})


def test_what_is_known_by_name_can_be_added_to_and_not_changed(url):
    shared = SharedStudy(url, "table")
    shared.extend("rows", {"random": {"steps": 5}})
    shared.extend("rows", {"random": {"steps": 5}, "hard": {"steps": 5}})
    with pytest.raises(RunError, match=r"rows.hard.steps 5, not 6"):
        SharedStudy(url, "table").extend("rows", {"hard": {"steps": 6}})
    shared.extend("rows", {"balanced": {"steps": 7}})


def test_a_worker_that_was_asked_to_stop_gives_its_cell_back_at_once(url):
    board = open_board(url, ("a",))
    board.release(board.take())
    assert board.take().key == "a"


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"code": "e"}, "code c, not e; use the same version"),
        ({"data": "e"}, "data d, not e; use the same data"),
        ({"shared": {"training": {"steps": 6}}}, "shared.training.steps 5, not 6"),
        ({"shared": {}}, "shared.training.steps 5, not nothing"),
    ],
)
def test_a_comparison_of_something_else_is_refused_by_name(url, changed, named):
    open_board(url, KEYS)
    with pytest.raises(RunError, match=named):
        open_board(url, KEYS, identity={**IDENTITY, **changed})
    assert (
        open_board(url, KEYS, name="other", identity={**IDENTITY, **changed}).counts().waiting == 3
    )


@pytest.mark.parametrize(
    ("storage", "word"),
    [
        ("nothing at all", "no database URL"),
        ("mysql://root@localhost/db", "allowed are sqlite and postgresql"),
        ("sqlite://", "names no file"),
        ("postgresql+psycopg://me:secret@127.0.0.1:1/db", "cannot be used"),
    ],
)
def test_a_storage_that_cannot_be_used_is_refused_in_a_sentence(storage, word):
    with pytest.raises(UsageError, match=word) as caught:
        SharedStudy(storage, "table")
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_heart_goes_on_beating_when_the_storage_comes_back(url, monkeypatch):
    monkeypatch.setattr(storages, "HEARTBEAT", 0.05)
    board = open_board(url, ("a",))
    storage, beats = board._shared._storage, []

    def record(trial_id):
        beats.append(trial_id)
        if len(beats) == 1:
            raise OperationalError("UPDATE", {}, Exception("server closed the connection"))

    taken = board.take()
    monkeypatch.setattr(storage, "record_heartbeat", record)
    with board.alive(taken):
        for _ in range(100):
            if len(beats) > 2:
                break
            time.sleep(0.05)
    assert len(beats) > 2


def test_a_storage_that_is_lost_in_mid_work_is_a_sentence():
    with (
        pytest.raises(
            WorkError, match=r"cannot be reached any more .* again when it can"
        ) as caught,
        reached("postgresql+psycopg://me:secret@127.0.0.1/db"),
    ):
        raise OperationalError("SELECT 1", {}, Exception("server closed the connection"))
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
