"""Job queue of a study, shared by workers on any number of machines.

A job waits, runs, and is done or has failed. A worker claims one by an UPDATE whose condition holds
for the first that comes alone, and shows by a heartbeat that it lives; the job of a worker that was
killed is claimed by another. All times are those of the database, so that clocks need not agree.
"""

from __future__ import annotations

import os
import platform
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from threading import Event, Thread
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Mapped, mapped_column

from rareseg.study.study_database import StudyDatabase, Table

HEARTBEAT = 15
"""Seconds between two heartbeats of a worker."""

DEAD_AFTER = 4 * HEARTBEAT
"""Seconds without a heartbeat after which a worker counts as killed."""

MAX_ATTEMPTS = 5
"""Times that a job is claimed whose workers are killed."""


class State(StrEnum):
    """How far a job is."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class JobRow(Table):
    """A job as it stands in the database.

    ``key`` is its name within its study, ``id`` the order in which jobs are claimed. ``worker`` and
    ``heartbeat`` (seconds since 1970 by the database's clock) belong to the one that claimed it
    last, ``attempts`` counts the claims since it was asked for. ``task`` says what is to be done,
    ``result`` what came of it, ``error`` why nothing did.
    """

    __tablename__ = "rareseg_jobs"
    __table_args__ = (sa.UniqueConstraint("study", "key"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    study: Mapped[str] = mapped_column(sa.String(255))
    key: Mapped[str] = mapped_column(sa.String(255))
    state: Mapped[State] = mapped_column(
        sa.Enum(
            State,
            native_enum=False,
            length=16,
            values_callable=lambda states: [s.value for s in states],
        )
    )
    worker: Mapped[str | None] = mapped_column(sa.String(255))
    heartbeat: Mapped[float | None]
    attempts: Mapped[int]
    task: Mapped[Any] = mapped_column(sa.JSON)
    result: Mapped[Any] = mapped_column(sa.JSON(none_as_null=True), nullable=True)
    error: Mapped[str | None] = mapped_column(sa.Text)


@dataclass(frozen=True)
class ClaimedJob:
    """A job that this worker claimed. ``worker`` is new with every claim."""

    id: int
    key: str
    task: Mapping[str, Any]
    worker: str


@dataclass(frozen=True)
class Record:
    """A job as it was when it was read: what was to be done, and what came of it."""

    key: str
    state: State
    task: Mapping[str, Any]
    result: Mapping[str, Any] | None
    error: str | None


class JobQueue:
    """The jobs of one study. Results and tasks are plain JSON values without NaN."""

    def __init__(self, database: StudyDatabase) -> None:
        self._engine = database.engine
        self._study = database.name

    def enqueue(self, tasks: Mapping[str, Mapping[str, Any]], *, retry_failed: bool) -> None:
        """Add the jobs that are not known yet, by key and in this order, and leave the others.

        Those among them that have failed wait again if ``retry_failed``.
        """
        while True:
            known = self.states()
            new = [
                {
                    "study": self._study,
                    "key": key,
                    "state": State.WAITING,
                    "attempts": 0,
                    "task": task,
                }
                for key, task in tasks.items()
                if key not in known
            ]
            try:
                if new:
                    with self._engine.begin() as connection:
                        connection.execute(sa.insert(JobRow), new)
                break
            except IntegrityError:
                continue  # another worker added some in the same moment
        if retry_failed and State.FAILED in (known.get(key) for key in tasks):
            asked = (JobRow.key.in_(tasks), JobRow.state == State.FAILED)
            self._update(*asked, state=State.WAITING, attempts=0, error=None)

    def claim(self) -> ClaimedJob | None:
        """Return a job that waits, or whose worker was killed; ``None`` where there is none.

        A job whose workers were killed :data:`MAX_ATTEMPTS` times fails instead.
        """
        self._update(
            _is_abandoned(),
            JobRow.attempts >= MAX_ATTEMPTS,
            state=State.FAILED,
            error=f"its workers were killed {MAX_ATTEMPTS} times",
        )
        free = sa.or_(JobRow.state == State.WAITING, _is_abandoned())
        first = sa.select(sa.func.min(JobRow.id)).where(JobRow.study == self._study, free)
        while True:
            with self._engine.connect() as connection:
                number = connection.execute(first).scalar_one()
            if number is None:
                return None
            worker = f"{platform.node()[:200]}:{os.getpid()}:{uuid.uuid4().hex[:12]}"
            # Of several workers that saw the same job, one finds it still free.
            if self._update(
                JobRow.id == number,
                free,
                state=State.RUNNING,
                worker=worker,
                heartbeat=_now(),
                attempts=JobRow.attempts + 1,
            ):
                with self._engine.connect() as connection:
                    key, task = connection.execute(
                        sa.select(JobRow.key, JobRow.task).where(JobRow.id == number)
                    ).one()
                return ClaimedJob(number, key, task, worker)

    @contextmanager
    def alive(self, job: ClaimedJob) -> Iterator[None]:
        """Send heartbeats for a job until the block is left."""
        over = Event()

        def beat() -> None:
            while not over.wait(HEARTBEAT):
                try:
                    self._update(*_held(job), heartbeat=_now())
                except SQLAlchemyError:
                    continue  # it may come back; if not, the work itself says so

        thread = Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    # Each of these returns False, and changes nothing, where another worker has the job by now.

    def refine(self, job: ClaimedJob, task: Mapping[str, Any]) -> bool:
        """Say more exactly what is to be done, for whoever claims the job if this worker dies."""
        return self._update(*_held(job), task=task)

    def complete(self, job: ClaimedJob, result: Mapping[str, Any]) -> bool:
        """Record the result of a job."""
        return self._update(*_held(job), state=State.DONE, result=result)

    def fail(self, job: ClaimedJob, error: str) -> bool:
        """Record that a job ended with an error."""
        return self._update(*_held(job), state=State.FAILED, error=error)

    def release(self, job: ClaimedJob) -> bool:
        """Let a job wait again at once: its worker was asked to stop."""
        return self._update(*_held(job), state=State.WAITING, attempts=JobRow.attempts - 1)

    def states(self) -> dict[str, State]:
        """Return the state of every job, by key."""
        chosen = sa.select(JobRow.key, JobRow.state).where(JobRow.study == self._study)
        with self._engine.connect() as connection:
            return dict(connection.execute(chosen.order_by(JobRow.id)).all())

    def records(self) -> tuple[Record, ...]:
        """Return every job with its result, in their order."""
        chosen = sa.select(JobRow.key, JobRow.state, JobRow.task, JobRow.result, JobRow.error)
        with self._engine.connect() as connection:
            lines = connection.execute(
                chosen.where(JobRow.study == self._study).order_by(JobRow.id)
            )
            return tuple(Record(*line) for line in lines)

    def _update(self, *conditions: sa.ColumnElement[bool], **values: Any) -> bool:
        """Change the jobs for which the conditions hold; tell whether there was any."""
        change = sa.update(JobRow).where(JobRow.study == self._study, *conditions).values(**values)
        with self._engine.begin() as connection:
            return connection.execute(change).rowcount > 0


def _held(job: ClaimedJob) -> tuple[sa.ColumnElement[bool], ...]:
    return JobRow.id == job.id, JobRow.worker == job.worker, JobRow.state == State.RUNNING


def _is_abandoned() -> sa.ColumnElement[bool]:
    return sa.and_(JobRow.state == State.RUNNING, JobRow.heartbeat < _now() - DEAD_AFTER)


def _now() -> sa.ColumnElement[Any]:
    """The database's clock, in seconds since 1970; SQLite's in whole seconds."""
    return sa.extract("epoch", sa.func.now())
