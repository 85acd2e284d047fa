"""The board on which the cells of a comparison hang, for any number of workers and machines.

It is an Optuna study: each cell is a trial that waits, runs and is recorded. Cells are hung up
once, under a lock; a worker that was killed is noticed by its heartbeat, and its cell hung up
again.
"""

from __future__ import annotations

import base64
import hashlib
import json
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Any

import optuna
from filelock import FileLock
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from rareseg.errors import RunError, UsageError

HEARTBEAT = 15
"""Seconds between two signs of life of a worker."""

GRACE = 4 * HEARTBEAT
"""Seconds of silence after which a worker counts as killed."""

MOST_TRIES = 5
"""Times that a cell is tried whose workers are killed."""

PIECE = 30_000
"""Characters of a result in one attribute; MySQL's hold 65,535 bytes."""

Lock = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True)
class Counts:
    """How many cells wait, run, are recorded, and have failed for good."""

    waiting: int
    running: int
    recorded: int
    failed: int


@dataclass(frozen=True)
class Taken:
    """A cell that this worker took from the board."""

    key: str
    trial: optuna.Trial


class Board:
    """The cells of one comparison in a database that all workers reach.

    ``keys`` are those of the cells, in the order in which they are to be tried.
    """

    def __init__(self, storage: RDBStorage, name: str, keys: Sequence[str], lock: Lock) -> None:
        self.keys = tuple(keys)
        self._storage = storage
        self._lock = lock
        self._study = optuna.load_study(study_name=name, storage=storage)

    @classmethod
    def open(cls, url: str, name: str, identity: Mapping[str, Any], keys: Sequence[str]) -> Board:
        """Return the board of a comparison, which is made where there is none of that name.

        Cells that failed with an error are hung up anew. Raises :class:`UsageError` for a storage
        that is none or out of reach, :class:`RunError` where the comparison was begun with other
        settings, code or data, naming the first difference.
        """
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        lock = _lock(url, name)
        try:
            with lock():
                with _quiet():
                    storage = RDBStorage(url, heartbeat_interval=HEARTBEAT, grace_period=GRACE)
                study = optuna.create_study(study_name=name, storage=storage, load_if_exists=True)
                begun = _joined(study.user_attrs, "identity")
                if begun is None:
                    _set_pieces(study.set_user_attr, "identity", json.dumps(identity))
                elif json.loads(begun) != json.loads(json.dumps(identity)):
                    raise RunError(_refusal(name, json.loads(begun), identity))
                board = cls(storage, name, keys, lock)
                board._hang_up(again=True)
                return board
        except (SQLAlchemyError, NoSuchModuleError, ArgumentError, ImportError) as error:
            reason = str(error).splitlines()[0]
            raise UsageError(
                f"The storage {_without_password(url)} cannot be used ({reason}); give one that "
                "can be reached, such as postgresql+psycopg://user@host/database, or leave "
                "--storage out for a file beside the results."
            ) from error

    def take(self) -> Taken | None:
        """Return a cell that waits, now this worker's, or ``None`` where none does."""
        with self._lock():
            self._hang_up()
            if not self._trials(TrialState.WAITING):
                return None
            with _quiet():
                trial = self._study.ask()
            self._storage.record_heartbeat(trial._trial_id)
            trial.set_user_attr("alive", True)
            return Taken(trial.user_attrs["cell"], trial)

    @contextmanager
    def alive(self, taken: Taken) -> Iterator[None]:
        """Tell the board that the worker lives, until the block is left."""
        over = Event()

        def beat() -> None:
            while not over.wait(HEARTBEAT):
                self._storage.record_heartbeat(taken.trial._trial_id)

        thread = Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def record(self, taken: Taken, result: Mapping[str, Any], value: float) -> bool:
        """Keep the result of a cell; False where the cell was meanwhile given to another."""
        with self._lock():
            if self._now(taken).state.is_finished() or taken.key in self.results(keys_only=True):
                return False
            packed = base64.b85encode(zlib.compress(json.dumps(result).encode(), 6)).decode()
            _set_pieces(taken.trial.set_user_attr, "result", packed)
            self._study.tell(taken.trial, value)
            return True

    def fail(self, taken: Taken, reason: str) -> None:
        """Take a cell off the board for this call: its work ended with an error."""
        with self._lock():
            if not self._now(taken).state.is_finished():
                taken.trial.set_user_attr("error", reason[:PIECE])
                self._study.tell(taken.trial, state=TrialState.FAIL)

    def release(self, taken: Taken) -> None:
        """Hang a cell up again at once: its worker was asked to stop."""
        with self._lock():
            if not self._now(taken).state.is_finished():
                self._study.tell(taken.trial, state=TrialState.FAIL)
                self._hang_up()

    def counts(self) -> Counts:
        """Return how far the comparison is."""
        by_cell = self._by_cell()
        states = [{trial.state for trial in trials} for trials in by_cell.values()]
        recorded = sum(TrialState.COMPLETE in own for own in states)
        running = sum(
            TrialState.RUNNING in own and TrialState.COMPLETE not in own for own in states
        )
        waiting = sum(
            TrialState.WAITING in own and not own & {TrialState.RUNNING, TrialState.COMPLETE}
            for own in states
        )
        return Counts(waiting, running, recorded, len(self.keys) - recorded - running - waiting)

    def errors(self) -> dict[str, str]:
        """Return by cell why those that failed did."""
        found = {}
        for key, trials in self._by_cell().items():
            if trials and all(trial.state == TrialState.FAIL for trial in trials):
                found[key] = trials[-1].user_attrs.get(
                    "error", f"its workers were killed {len(trials)} times"
                )
        return found

    def results(self, *, keys_only: bool = False) -> dict[str, dict[str, Any]]:
        """Return the results of all recorded cells, by key; with ``keys_only``, empty ones."""
        found: dict[str, dict[str, Any]] = {}
        for key, trials in self._by_cell().items():
            for trial in trials:
                if trial.state == TrialState.COMPLETE:
                    packed = _joined(trial.user_attrs, "result")
                    assert packed is not None, "a cell is told after its result was kept"
                    found[key] = {} if keys_only else json.loads(_unpacked(packed))
        return found

    def _hang_up(self, *, again: bool = False) -> None:
        """Hang up every cell that neither waits, runs nor is recorded; call it under the lock.

        Those that failed with an error only ``again``, those whose workers were killed at most
        :data:`MOST_TRIES` times.
        """
        with _quiet():
            optuna.storages.fail_stale_trials(self._study)
        self._fail_unheard()
        for key, trials in self._by_cell().items():
            if any(trial.state != TrialState.FAIL for trial in trials):
                continue
            failed = any("error" in trial.user_attrs for trial in trials)
            if not trials or again or (not failed and len(trials) < MOST_TRIES):
                self._study.enqueue_trial({}, user_attrs={"cell": key})

    def _fail_unheard(self) -> None:
        """Fail the cells of workers that were killed before their first sign of life."""
        latest = datetime.now() - timedelta(seconds=GRACE)
        for trial in self._trials(TrialState.RUNNING):
            started = trial.datetime_start
            if "alive" not in trial.user_attrs and started is not None and started < latest:
                self._study.tell(trial.number, state=TrialState.FAIL)

    def _now(self, taken: Taken) -> FrozenTrial:
        return self._storage.get_trial(taken.trial._trial_id)

    def _trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=states or None)

    def _by_cell(self) -> dict[str, list[FrozenTrial]]:
        found: dict[str, list[FrozenTrial]] = {key: [] for key in self.keys}
        for trial in self._trials():
            found.setdefault(trial.user_attrs["cell"], []).append(trial)
        return found


def _lock(url: str, name: str) -> Lock:
    """Return what lets one worker at a time change the board; a killed one lets go."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise UsageError(
            f"--storage {url!r} is no database URL; allowed are sqlite:///FILE and "
            "postgresql+psycopg://user@host/database."
        ) from error
    kind = parsed.get_backend_name()
    if kind == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise UsageError("--storage names no file; give sqlite:///FILE.")
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        return lambda: FileLock(f"{parsed.database}.lock")
    if kind == "postgresql":
        number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
        engine = create_engine(url, poolclass=NullPool)

        @contextmanager
        def advisory() -> Iterator[None]:
            with engine.connect() as connection:
                connection.execute(text("SELECT pg_advisory_lock(:n)"), {"n": number})
                yield  # closing the connection lets go of the lock

        return advisory
    raise UsageError(f"--storage is of the kind {kind!r}; allowed are sqlite and postgresql.")


def _refusal(name: str, begun: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    one, two = _flat(begun), _flat(json.loads(json.dumps(asked)))
    key = next(key for key in sorted({*one, *two}) if one.get(key) != two.get(key))
    remedy = "choose another --out, or call it as it was begun"
    if key in ("code", "torch", "data"):
        remedy = f"use the same {'data' if key == 'data' else 'version'} on every machine"
    was, now = (str(values.get(key, "nothing"))[:60] for values in (one, two))
    return f"The comparison {name!r} was begun with {key} {was}, not {now}; {remedy}."


def _flat(values: Mapping[str, Any], within: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{within}{key}.")
        else:
            found[within + key] = value
    return found


def _set_pieces(set_attribute: Callable[[str, Any], None], name: str, content: str) -> None:
    """Store a long text in attributes that any database holds, their number last."""
    pieces = [content[start : start + PIECE] for start in range(0, len(content), PIECE)]
    for number, piece in enumerate(pieces):
        set_attribute(f"{name}.{number}", piece)
    set_attribute(name, len(pieces))


def _joined(attributes: Mapping[str, Any], name: str) -> str | None:
    if name not in attributes:
        return None
    return "".join(attributes[f"{name}.{number}"] for number in range(attributes[name]))


def _unpacked(packed: str) -> bytes:
    return zlib.decompress(base64.b85decode(packed))


def _without_password(url: str) -> str:
    return make_url(url).render_as_string(hide_password=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna's remarks on asking outside of its own loop, and on its newer functions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
