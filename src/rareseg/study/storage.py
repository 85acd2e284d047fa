"""An Optuna study that any number of workers and machines share, in a file or a database.

Changes are made under a lock; a worker that was killed is noticed by its heartbeat.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Any

import optuna
from filelock import FileLock
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from rareseg.errors import RunError, UsageError, WorkError

HEARTBEAT = 15
"""Seconds between two signs of life of a worker."""

GRACE = 4 * HEARTBEAT
"""Seconds of silence after which a worker counts as killed."""

PIECE = 30_000
"""Characters of a long text in one attribute, which some databases keep short."""

Lock = Callable[[], AbstractContextManager[object]]


class SharedStudy:
    """A study by name in a database, and what its workers need of it.

    Raises :class:`UsageError` for a storage that is none or out of reach.
    """

    def __init__(
        self,
        url: str,
        name: str,
        *,
        pruner: optuna.pruners.BasePruner | None = None,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.name = name
        self.lock = _lock(url, name)
        try:
            with self.lock():
                with quiet():
                    self._storage = RDBStorage(
                        url, heartbeat_interval=HEARTBEAT, grace_period=GRACE
                    )
                self.study = optuna.create_study(
                    study_name=name,
                    storage=self._storage,
                    direction="maximize",
                    pruner=pruner,
                    load_if_exists=True,
                )
        except (
            SQLAlchemyError,
            StorageInternalError,
            NoSuchModuleError,
            ArgumentError,
            ImportError,
        ) as error:
            reason = str(error).splitlines()[0]
            raise UsageError(
                f"The storage {_without_password(url)} cannot be used ({reason}); give one that "
                "can be reached, such as postgresql+psycopg://user@host/database, or leave "
                "--storage out for a file beside the results."
            ) from error

    def agree(self, what: str, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the plain ``values`` that the first worker gave for ``what``; they stay."""
        with self.lock():
            known = joined(self.study.user_attrs, what)
            if known is None:
                known = json.dumps(values)
                set_pieces(self.study.set_user_attr, what, known)
        agreed: dict[str, Any] = json.loads(known)
        return agreed

    def require(self, identity: Mapping[str, Any]) -> None:
        """Raise :class:`RunError` where the study was begun otherwise, naming the difference."""
        begun, asked = self.agree("identity", identity), json.loads(json.dumps(identity))
        if begun != asked:
            raise RunError(_refusal(self.name, begun, asked))

    def extend(self, what: str, values: Mapping[str, Any]) -> None:
        """Add plain ``values`` to those known as ``what``.

        Raises :class:`RunError` where one of them is known as another, naming the difference.
        """
        asked = json.loads(json.dumps(values))
        with self.lock():
            known = json.loads(joined(self.study.user_attrs, what) or "{}")
            begun = {name: value for name, value in known.items() if name in asked}
            common = {name: value for name, value in asked.items() if name in known}
            if begun != common:
                raise RunError(_refusal(self.name, {what: begun}, {what: common}))
            if len(begun) < len(asked):
                set_pieces(self.study.set_user_attr, what, json.dumps({**known, **asked}))

    def ask(self, distributions: Mapping[str, Any] | None = None) -> optuna.Trial:
        """Return a trial that waits, else a new one, now this worker's; call it under the lock."""
        with quiet():
            trial = self.study.ask(dict(distributions or {}))
        self._storage.record_heartbeat(trial._trial_id)
        trial.set_user_attr("alive", True)
        return trial

    @contextmanager
    def alive(self, trial: optuna.Trial) -> Iterator[None]:
        """Tell the others that this worker lives, until the block is left."""
        over = Event()

        def beat() -> None:
            while not over.wait(HEARTBEAT):
                try:
                    self._storage.record_heartbeat(trial._trial_id)
                except (SQLAlchemyError, StorageInternalError):
                    continue  # it may come back; if not, the work itself says so

        thread = Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def is_over(self, trial: optuna.Trial) -> bool:
        """Whether a trial has ended, as that of a worker which was taken for killed."""
        return self._storage.get_trial(trial._trial_id).state.is_finished()

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """Return the trials in these states, or all."""
        return self.study.get_trials(deepcopy=False, states=states or None)

    def fail_silent(self) -> None:
        """Fail the trials of workers that were killed; call it under the lock."""
        with quiet():
            optuna.storages.fail_stale_trials(self.study)
        # Those that were killed before their first sign of life have no heartbeat to miss.
        latest = datetime.now() - timedelta(seconds=GRACE)
        for trial in self.trials(TrialState.RUNNING):
            started = trial.datetime_start
            if "alive" not in trial.user_attrs and started is not None and started < latest:
                self.study.tell(trial.number, state=TrialState.FAIL)


@contextmanager
def reached(url: str) -> Iterator[None]:
    """Turn a storage that is lost in the middle of the work into a :class:`WorkError`."""
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        raise WorkError(
            f"The storage {_without_password(url)} cannot be reached any more "
            f"({str(error).splitlines()[0]}); what was recorded stays, so call the same command "
            "again when it can."
        ) from error


def set_pieces(set_attribute: Callable[[str, Any], None], name: str, content: str) -> None:
    """Store a long text in attributes that any database holds, their number last."""
    pieces = [content[start : start + PIECE] for start in range(0, len(content), PIECE)]
    for number, piece in enumerate(pieces):
        set_attribute(f"{name}.{number}", piece)
    set_attribute(name, len(pieces))


def joined(attributes: Mapping[str, Any], name: str) -> str | None:
    """Return the text that :func:`set_pieces` stored, or ``None``."""
    if name not in attributes:
        return None
    return "".join(attributes[f"{name}.{number}"] for number in range(attributes[name]))


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Optuna's remarks on asking outside of its own loop, and on its newer functions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


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
    one, two = _flat(begun), _flat(asked)
    # Of another network or loss the name says more than the settings that went with it.
    keys = sorted({*one, *two}, key=lambda key: (not key.endswith(".name"), key))
    key = next(key for key in keys if one.get(key) != two.get(key))
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


def _without_password(url: str) -> str:
    return make_url(url).render_as_string(hide_password=True)
