"""Store what a watch has observed in one SQLite file, which no kill and no full disk loses.

Images are added one by one, each in a transaction of its own, and are known by their digest, so
that each counts once. At the end of a call its new groups are sealed together: they get their
places in the order of the stream, and images that come later of a sealed group are kept and count
nowhere. What the test says is computed from the groups in their order and is not stored.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from rareseg.errors import OutputError, RunError, WorkError
from rareseg.monitoring.observed_features import Observation, ObservedFeature, group_key

NAME = "state.db"

Part = Literal["reference", "stream", "training"]
"""What an image is to a watch; of those of the training only what they show by themselves."""

_VERSION = 1
_WAIT_SECONDS = 20.0
_TABLES = """
CREATE TABLE IF NOT EXISTS about (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS calls (
    number INTEGER PRIMARY KEY,
    at TEXT NOT NULL,
    images INTEGER NOT NULL,
    groups INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS groups (
    place INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    call INTEGER NOT NULL REFERENCES calls (number)
);
CREATE TABLE IF NOT EXISTS images (
    digest TEXT PRIMARY KEY,
    part TEXT NOT NULL,
    id TEXT NOT NULL,
    grouping TEXT,
    files TEXT NOT NULL,
    content TEXT NOT NULL,
    state TEXT NOT NULL,
    place INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS picks (
    asked TEXT NOT NULL,
    place INTEGER NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (asked, place)
);
"""


@dataclass(frozen=True)
class WatchCall:
    """A call that brought new groups: when (UTC, ISO 8601), and how many images and groups."""

    number: int
    at: str
    n_images: int
    n_groups: int


@dataclass(frozen=True)
class WatchedImages:
    """What a watch has observed.

    ``stream`` are the images of sealed groups, group after group in the order of the stream, and
    ``late`` those that came when their group was sealed already, or is one of the reference.
    """

    reference: tuple[Observation, ...]
    stream: tuple[Observation, ...]
    late: tuple[Observation, ...]
    training: tuple[Observation, ...]


class WatchState:
    """The file of a watch; one process writes to it, which the lock of its folder sees to.

    ``features`` are those that are observed, the ones of the images themselves first. Raises
    :class:`RunError` where the file is no such database, :class:`WorkError` where it cannot be
    written: nothing of what was stored is lost by that.
    """

    def __init__(self, path: Path, features: Sequence[ObservedFeature] = ()) -> None:
        self.path = path
        self._features = tuple(features)
        try:
            self._base = sqlite3.connect(path, timeout=_WAIT_SECONDS, isolation_level=None)
            version = int(self._base.execute("PRAGMA user_version").fetchone()[0])
            if version not in (0, _VERSION):
                self._base.close()
                raise RunError(
                    f"{path} is of version {version}, this rareseg reads {_VERSION}; use the "
                    "version that wrote it."
                )
            self._base.execute("PRAGMA synchronous = FULL")
            with self._writing():
                for statement in filter(str.strip, _TABLES.split(";")):
                    self._base.execute(statement)
                self._base.execute(f"PRAGMA user_version = {_VERSION}")
        except (sqlite3.Error, OSError) as error:
            if hasattr(self, "_base"):
                self._base.close()
            raise RunError(
                f"{path} cannot be opened as the state of a watch ({error}); restore it from a "
                "copy, or choose another --out."
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._base.close()

    def __enter__(self) -> WatchState:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def claim(self, about: Mapping[str, Any]) -> None:
        """Note what is watched, or see that it is the same.

        Raises :class:`OutputError`, which names what differs, where the file was begun otherwise.
        """
        known = self.about("watched")
        if known is None:
            self.note("watched", about)
            return
        for name, value in json.loads(json.dumps(about)).items():
            if known.get(name) != value:
                raise OutputError(
                    f"{self.path.parent} watches with {_WORDS.get(name, name)}; choose another "
                    "--out, or call it as it was begun."
                )

    def about(self, key: str) -> Any:
        """Return what was noted under a key, None where nothing was."""
        with self._naming():
            row = self._base.execute("SELECT value FROM about WHERE key = ?", (key,)).fetchone()
        return None if row is None else json.loads(row[0])

    def note(self, key: str, value: Any) -> None:
        """Note anything under a key, in place of what was."""
        with self._naming(), self._writing():
            self._base.execute(
                "INSERT OR REPLACE INTO about VALUES (?, ?)", (key, json.dumps(value))
            )

    def part_of(self, digest: str) -> Part | None:
        """Return what an image is known as, None where it is new."""
        with self._naming():
            row = self._base.execute(
                "SELECT part FROM images WHERE digest = ?", (digest,)
            ).fetchone()
        return None if row is None else _part(row[0])

    def add(self, part: Part, one: Observation) -> None:
        """Store an image, once; where this returns it is on the disk.

        An image of the training that is of the reference too counts as the latter.
        """
        content = json.dumps(
            {"values": [one.values[f] for f in self._features if f in one.values],
             "doubt": dict(one.doubt)}
        )  # fmt: skip
        state = "open" if part == "stream" else "sealed"
        with self._naming(), self._writing():
            place = self._base.execute("SELECT COUNT(*) FROM images").fetchone()[0]
            self._base.execute(
                "INSERT OR IGNORE INTO images VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (one.digest, part, one.id, one.group, json.dumps(one.files), content, state, place),
            )

    def seal(self) -> tuple[int, int]:
        """Give the new groups their places in the stream; return how many (groups, images).

        The groups of a call are put in an order that nothing of what they show decides, that of
        their images' digests: names in a folder often tell what is in an image, and a stream that
        is sorted by that changes. A call without a new group leaves no line.
        """
        with self._naming(), self._writing():
            rows = self._base.execute(
                "SELECT digest, grouping FROM images WHERE state = 'open' ORDER BY digest"
            ).fetchall()
            taken = {name for (name,) in self._base.execute("SELECT name FROM groups")}
            taken |= {
                group_key(group, digest)
                for digest, group in self._base.execute(
                    "SELECT digest, grouping FROM images WHERE part = 'reference'"
                )
            }
            names = {digest: group_key(group, digest) for digest, group in rows}
            new = [name for name in dict.fromkeys(names.values()) if name not in taken]
            counted = [digest for digest, name in names.items() if name not in taken]
            if new:
                number = self._count("calls") + 1
                self._base.execute(
                    "INSERT INTO calls VALUES (?, ?, ?, ?)",
                    (number, _now(), len(counted), len(new)),
                )
                first = self._count("groups") + 1
                self._base.executemany(
                    "INSERT INTO groups VALUES (?, ?, ?)",
                    [(first + k, name, number) for k, name in enumerate(new)],
                )
            self._base.executemany(
                "UPDATE images SET state = ?, place = ? WHERE digest = ?",
                [
                    ("late" if name in taken else "sealed", k, digest)
                    for k, (digest, name) in enumerate(names.items())
                ],
            )
        return len(new), len(counted)

    def observed(self) -> WatchedImages:
        """Return everything that was observed; RunError where a line is damaged."""
        with self._naming():
            places = dict(self._base.execute("SELECT name, place FROM groups").fetchall())
            rows = self._base.execute(
                "SELECT part, state, place, digest, id, grouping, files, content FROM images "
                "ORDER BY id, digest"
            ).fetchall()
        found: dict[str, list[tuple[tuple[int, int], Observation]]] = {}
        for part, state, place, *own in rows:
            one = self._observation(*own)
            kind = "late" if state == "late" else "open" if state == "open" else part
            at = (places.get(group_key(one.group, one.digest), 0), place)
            found.setdefault(kind, []).append((at if kind == "stream" else (0, 0), one))
        of = {
            kind: tuple(one for _, one in sorted(own, key=lambda pair: pair[0]))
            for kind, own in found.items()
        }
        return WatchedImages(
            *(of.get(kind, ()) for kind in ("reference", "stream", "late", "training"))
        )

    def calls(self) -> tuple[WatchCall, ...]:
        """Return the calls that brought new groups, in order."""
        with self._naming():
            rows = self._base.execute("SELECT * FROM calls ORDER BY number").fetchall()
        return tuple(WatchCall(*row) for row in rows)

    def picks(self) -> dict[str, tuple[str, ...]]:
        """Return the groups that were drawn for labelling, by what they were asked for."""
        with self._naming():
            rows = self._base.execute("SELECT asked, name FROM picks ORDER BY asked, place")
            found: dict[str, list[str]] = {}
            for asked, name in rows:
                found.setdefault(asked, []).append(name)
        return {asked: tuple(names) for asked, names in found.items()}

    def pick(self, asked: str, names: Sequence[str]) -> None:
        """Store the groups that were drawn for what is asked for, all at once."""
        with self._naming(), self._writing():
            self._base.executemany(
                "INSERT INTO picks VALUES (?, ?, ?)",
                [(asked, place, name) for place, name in enumerate(names)],
            )

    def _count(self, table: str) -> int:
        return int(self._base.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0])  # noqa: S608 - our own names

    def _observation(
        self, digest: str, name: str, group: str | None, files: str, content: str
    ) -> Observation:
        try:
            record = json.loads(content)
            known = self._features[: len(record["values"])]
            values = dict(zip(known, map(float, record["values"]), strict=True))
            places = tuple(map(str, json.loads(files)))
            return Observation(digest, name, group, places, values, record["doubt"])
        except (ValueError, TypeError, KeyError) as error:
            raise RunError(
                f"{self.path}: the line of image '{name}' is damaged ({error}); restore the file "
                "from a copy, or choose another --out."
            ) from error

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Write all of a block or nothing of it."""
        self._base.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._base.execute("COMMIT")
        except BaseException:
            if self._base.in_transaction:
                self._base.execute("ROLLBACK")
            raise

    @contextmanager
    def _naming(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise WorkError(
                f"{self.path} could not be read or written ({error}); what it held before is "
                "there: make room, and call the same again."
            ) from error


def read_noted(path: Path, key: str) -> Any:
    """Return what was noted under a key of a state, which is not written to; None for nothing.

    Raises :class:`WorkError` where there is no such file, or it cannot be read.
    """
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as base:
            row = base.execute("SELECT value FROM about WHERE key = ?", (key,)).fetchone()
        return None if row is None else json.loads(row[0])
    except (sqlite3.Error, ValueError) as error:
        raise WorkError(f"{path} cannot be read as the state of a watch ({error}).") from error


_WORDS = {
    "weights": "another model",
    "points": "other operating points",
    "arithmetic": "another arithmetic (device, precision, tiles)",
    "reference": "other reference images",
    "features": "other features (another version of rareseg began it)",
}


def _part(word: str) -> Part:
    assert word in get_args(Part)
    return word  # type: ignore[return-value]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
