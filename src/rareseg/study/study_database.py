"""Open the database of a study, and keep what all of its workers agree on.

A study is one comparison or one search. Its database is an SQLite file beside the results, or a
PostgreSQL server that several machines reach.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.exc import (
    ArgumentError,
    IntegrityError,
    NoSuchModuleError,
    ProgrammingError,
    SQLAlchemyError,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.schema import CreateTable

from rareseg.errors import RunError, UsageError, WorkError

BUSY_SECONDS = 60
"""How long a worker waits while others write to the same SQLite file."""


class Table(DeclarativeBase):
    """What every table of a study is derived from."""


class SharedValue(Table):
    """A plain value that holds for all workers of a study; the first that gives one sets it."""

    __tablename__ = "rareseg_agreed"

    study: Mapped[str] = mapped_column(sa.String(255), primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(255), primary_key=True)
    value: Mapped[Any] = mapped_column(sa.JSON)


class StudyDatabase:
    """The study ``name`` in the database at ``url``, begun there if it was not yet.

    Raises :class:`UsageError` for a URL that is none or out of reach, and :class:`RunError` for a
    study of an earlier release, which stored it otherwise.
    """

    def __init__(self, url: str, name: str) -> None:
        self.name = name
        self.engine = _make_engine(url)
        try:
            _create_tables(self.engine)
            earlier = _is_of_earlier_release(self.engine, name)
        except (SQLAlchemyError, OSError) as error:
            raise _unusable(url, error) from error
        if earlier:
            raise RunError(
                f"{name!r} was begun by an earlier release of rareseg, which alone can go on with "
                "it; leave it as it is and choose another --out, or another --name in a shared "
                "--storage."
            )

    def agree(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return for each name the value of the first worker that gave one."""
        asked = _plain(values)
        while True:
            known = self._known()
            new = [{"study": self.name, "name": n, "value": asked[n]} for n in asked.keys() - known]
            if not new:
                return {name: known[name] for name in asked}
            try:
                with self.engine.begin() as connection:
                    connection.execute(sa.insert(SharedValue), new)
            except IntegrityError:
                continue  # another worker gave one in the same moment

    def require(self, values: Mapping[str, Any]) -> None:
        """Set the values that are new, or raise :class:`RunError` where one is known as another.

        The error names the first difference, in the order of ``values``; nothing is set then.
        """
        asked = _plain(values)
        self._compare(self._known(), asked)
        self._compare(self.agree(asked), asked)

    def _known(self) -> dict[str, Any]:
        chosen = sa.select(SharedValue.name, SharedValue.value).where(
            SharedValue.study == self.name
        )
        with self.engine.connect() as connection:
            return dict(connection.execute(chosen).all())

    def _compare(self, known: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
        name = next((name for name in asked if known.get(name, asked[name]) != asked[name]), None)
        if name is None:
            return
        one, two = _flat({name: known[name]}), _flat({name: asked[name]})
        # Of another network or loss the name says more than the settings that went with it.
        keys = sorted({*one, *two}, key=lambda key: (not key.endswith(".name"), key))
        key = next((key for key in keys if one.get(key) != two.get(key)), name)
        remedy = "choose another --out, or call it as it was begun"
        if key in ("code", "torch", "data"):
            remedy = f"use the same {'data' if key == 'data' else 'version'} on every machine"
        was, now = (str(values.get(key, "nothing"))[:60] for values in (one, two))
        raise RunError(f"{self.name!r} was begun with {key} {was}, not {now}; {remedy}.")


@contextmanager
def reached(url: str) -> Iterator[None]:
    """Turn a database that is lost in the middle of the work into a :class:`WorkError`."""
    try:
        yield
    except SQLAlchemyError as error:
        raise WorkError(
            f"The storage {_without_password(url)} cannot be reached any more ({_reason(error)}); "
            "what was recorded stays, so call the same command again when it can."
        ) from error


def _make_engine(url: str) -> sa.Engine:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise UsageError(
            f"--storage {url!r} is no database URL; allowed are sqlite:///FILE and "
            "postgresql+psycopg://user@host/database."
        ) from error
    kind = parsed.get_backend_name()
    if kind not in ("sqlite", "postgresql"):
        raise UsageError(f"--storage is of the kind {kind!r}; allowed are sqlite and postgresql.")
    if kind == "sqlite" and (not parsed.database or parsed.database == ":memory:"):
        raise UsageError("--storage names no file; give sqlite:///FILE.")
    try:
        return sa.create_engine(
            parsed,
            # A connection that lasts is lost over night; a new one costs milliseconds.
            poolclass=sa.NullPool,
            connect_args={"timeout": BUSY_SECONDS} if kind == "sqlite" else {},
            # PostgreSQL takes no NaN in JSON: refused everywhere, it is noticed everywhere.
            json_serializer=lambda value: json.dumps(value, allow_nan=False),
        )
    except (NoSuchModuleError, ArgumentError, ImportError) as error:
        raise _unusable(url, error) from error


def _create_tables(engine: sa.Engine) -> None:
    if engine.url.get_backend_name() == "sqlite" and engine.url.database is not None:
        Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)
    create = [CreateTable(table, if_not_exists=True) for table in Table.metadata.sorted_tables]
    for last in (False, True):
        try:
            with engine.begin() as connection:
                for statement in create:
                    connection.execute(statement)
            return
        except (IntegrityError, ProgrammingError):
            # PostgreSQL: another worker created them in the same moment, and has committed by now.
            if last:
                raise


def _is_of_earlier_release(engine: sa.Engine, name: str) -> bool:
    """Tell whether the study was stored as one of Optuna's, with attributes of ours."""
    if not sa.inspect(engine).has_table("study_user_attributes"):
        return False
    studies = sa.table("studies", sa.column("study_id"), sa.column("study_name"))
    attributes = sa.table("study_user_attributes", sa.column("study_id"), sa.column("key"))
    found = (
        sa.select(sa.literal(1))
        .select_from(studies.join(attributes, studies.c.study_id == attributes.c.study_id))
        .where(studies.c.study_name == name, attributes.c.key == "identity")
    )
    with engine.connect() as connection:
        return connection.execute(found).first() is not None


def _unusable(url: str, error: Exception) -> UsageError:
    return UsageError(
        f"The storage {_without_password(url)} cannot be used ({_reason(error)}); give one that "
        "can be reached, such as postgresql+psycopg://user@host/database, or leave --storage out "
        "for a file beside the results."
    )


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0]


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as they come back from the database: lists for tuples, texts for keys."""
    plain: dict[str, Any] = json.loads(json.dumps(values))
    return plain


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
