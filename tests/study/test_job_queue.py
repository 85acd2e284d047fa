"""The queue: every job once, whoever comes and whoever is killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from rareseg.study import job_queue
from rareseg.study.job_queue import JobQueue, JobRow, State
from rareseg.study.study_database import StudyDatabase

KEYS = ("c", "a", "b")


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'study.db'}"


def open_queue(url, keys=(), *, retry_failed=False, study="table"):
    queue = JobQueue(StudyDatabase(url, study))
    queue.enqueue({key: {"key": key} for key in keys}, retry_failed=retry_failed)
    return queue


def rows(url):
    with sa.create_engine(url).connect() as connection:
        return connection.execute(sa.select(JobRow.__table__).order_by(JobRow.id)).all()


def results(queue):
    return {r.key: r.result for r in queue.records() if r.state == State.DONE}


def errors(queue):
    return {r.key: r.error for r in queue.records() if r.error is not None}


def until_claimed(queue):
    """Claim again until the silence of the last worker is noticed; the clock has whole seconds."""
    for _ in range(60):
        job = queue.claim()
        if job is not None:
            return job
        time.sleep(0.1)
    raise AssertionError("the job was not claimed again")


def test_jobs_are_queued_once_however_many_workers_come(url):
    with ThreadPoolExecutor(4) as workers:
        queues = list(workers.map(lambda _: open_queue(url, KEYS), range(4)))
    assert [row.key for row in rows(url)] == list(KEYS)
    assert all(queue.states() == dict.fromkeys(KEYS, State.WAITING) for queue in queues)


def test_every_job_is_claimed_by_one_worker_in_order_and_completed(url):
    one, two = open_queue(url, KEYS), open_queue(url, KEYS)
    jobs = [one.claim(), two.claim(), one.claim()]
    assert [job.key for job in jobs] == list(KEYS)
    assert [job.task for job in jobs] == [{"key": key} for key in KEYS]
    assert two.claim() is None
    assert set(one.states().values()) == {State.RUNNING}
    for job in jobs:
        assert one.complete(job, {"job": job.key})
    assert results(two) == {key: {"job": key} for key in KEYS}
    assert len(rows(url)) == 3


def test_processes_that_begin_at_once_claim_every_job_once(race, url):
    assert race(url) == Counter(str(number) for number in range(60))
    assert results(open_queue(url, study="race"))["7"] == {"square": 49}
    assert all(row.attempts == 1 for row in rows(url))


def test_of_two_workers_that_saw_the_same_job_one_gets_it(url, monkeypatch):
    """The other finds its UPDATE without effect, and looks again."""
    one, two = open_queue(url, ("a", "b")), open_queue(url)
    update, stolen = one._update, []

    def late(*conditions, **values):
        if values.get("state") == State.RUNNING and not stolen:
            stolen.append(two.claim())
        return update(*conditions, **values)

    monkeypatch.setattr(one, "_update", late)
    assert one.claim().key == "b"
    assert stolen[0].key == "a"


def test_a_result_of_any_size_comes_back_as_it_was(url):
    queue = open_queue(url, ("a",))
    result = {"values": [((i * 7919) % 10007) / 7 for i in range(30_000)], "text": "ß→"}
    assert queue.complete(queue.claim(), result)
    assert results(queue) == {"a": result}


def test_a_result_with_nan_is_refused_as_postgresql_would(url):
    queue = open_queue(url, ("a",))
    job = queue.claim()
    with pytest.raises(sa.exc.StatementError, match="not JSON compliant"):
        queue.complete(job, {"value": float("nan")})
    assert queue.states() == {"a": State.RUNNING}


CLAIM_AND_SLEEP = """
import sys, time
from rareseg.study import job_queue
from rareseg.study.study_database import StudyDatabase
job_queue.HEARTBEAT = 0.2
queue = job_queue.JobQueue(StudyDatabase(sys.argv[1], "table"))
job = queue.claim()
with queue.alive(job):
    print(job.worker, flush=True)
    time.sleep(600)
"""


def test_the_job_of_a_killed_process_is_claimed_by_another_and_not_before(url, monkeypatch):
    monkeypatch.setattr(job_queue, "DEAD_AFTER", 2)
    queue = open_queue(url, ("a",))
    worker = subprocess.Popen(
        [sys.executable, "-c", CLAIM_AND_SLEEP, url], stdout=subprocess.PIPE, encoding="utf-8"
    )
    try:
        name = worker.stdout.readline().strip()
        assert rows(url)[0].worker == name
        # As long as it lives, its heartbeats keep the job.
        end = time.monotonic() + 5
        while time.monotonic() < end:
            assert queue.claim() is None
            time.sleep(0.2)
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    job = until_claimed(queue)
    assert (job.key, job.task) == ("a", {"key": "a"})
    assert rows(url)[0].attempts == 2


def test_a_worker_that_was_taken_for_killed_changes_nothing_any_more(url, monkeypatch):
    monkeypatch.setattr(job_queue, "DEAD_AFTER", 1)
    queue = open_queue(url, ("a",))
    lost = queue.claim()
    found = until_claimed(queue)
    assert not queue.refine(lost, {"by": "lost"})
    assert not queue.complete(lost, {"by": "lost"})
    assert not queue.fail(lost, "lost")
    assert not queue.release(lost)
    assert queue.complete(found, {"by": "found"})
    assert results(queue) == {"a": {"by": "found"}}
    assert errors(queue) == {}


def test_what_a_worker_found_out_is_told_to_the_next(url):
    queue = open_queue(url, ("a",))
    job = queue.claim()
    assert queue.refine(job, {"key": "a", "begun": True})
    assert queue.release(job)
    assert queue.claim().task == {"key": "a", "begun": True}


def test_a_job_that_kills_its_workers_fails(url, monkeypatch):
    monkeypatch.setattr(job_queue, "DEAD_AFTER", -2)  # every worker counts as killed at once
    monkeypatch.setattr(job_queue, "MAX_ATTEMPTS", 2)
    queue = open_queue(url, ("a",))
    assert [queue.claim().key for _ in range(2)] == ["a", "a"]
    assert queue.claim() is None
    assert queue.states() == {"a": State.FAILED}
    assert errors(queue) == {"a": "its workers were killed 2 times"}


def test_a_job_that_failed_waits_again_only_where_it_is_asked_for(url):
    queue = open_queue(url, KEYS)
    assert queue.complete(queue.claim(), {})
    for _ in range(2):
        assert queue.fail(queue.claim(), "the disk is full")
    assert errors(queue) == {"a": "the disk is full", "b": "the disk is full"}
    assert open_queue(url, KEYS).claim() is None
    again = open_queue(url, ("c", "a"), retry_failed=True)
    assert again.states() == {"c": State.DONE, "a": State.WAITING, "b": State.FAILED}
    assert again.complete(again.claim(), {})
    assert errors(again) == {"b": "the disk is full"}


def test_jobs_that_others_asked_for_are_claimed_too_but_not_those_of_other_studies(url):
    few, other = open_queue(url, ("a",)), open_queue(url, ("a",), study="other")
    open_queue(url, KEYS)
    assert [few.claim().key for _ in KEYS] == ["a", "c", "b"]
    assert few.claim() is None
    assert other.states() == {"a": State.WAITING}


def test_a_worker_that_was_asked_to_stop_gives_its_job_back_at_once(url, monkeypatch):
    """Which is no attempt that failed: as many are left as before."""
    monkeypatch.setattr(job_queue, "MAX_ATTEMPTS", 2)
    queue = open_queue(url, ("a",))
    for _ in range(3):
        assert queue.release(queue.claim())
    monkeypatch.setattr(job_queue, "DEAD_AFTER", -2)  # every worker counts as killed at once
    assert [queue.claim().key for _ in range(2)] == ["a", "a"]
    assert queue.claim() is None


def test_heartbeats_go_on_when_the_database_comes_back(url, monkeypatch):
    monkeypatch.setattr(job_queue, "HEARTBEAT", 0.05)
    queue = open_queue(url, ("a",))
    job, update, beats = queue.claim(), queue._update, []

    def lost_once(*conditions, **values):
        beats.append(values)
        if len(beats) == 1:
            raise OperationalError("UPDATE", {}, Exception("server closed the connection"))
        return update(*conditions, **values)

    monkeypatch.setattr(queue, "_update", lost_once)
    with queue.alive(job):
        for _ in range(100):
            if len(beats) > 2:
                break
            time.sleep(0.05)
    assert len(beats) > 2
    assert all(set(values) == {"heartbeat"} for values in beats)
