"""Store reviewers' answers in SQLite, append-only.

The table is a log that only grows. A changed mind is a new line, and an undone decision is one as
well; what stands is read from the log. Lines of other processes are taken in, and none is lost.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Literal, get_args

from rareseg.data.records import object_named
from rareseg.errors import RunError, UsageError, WorkError
from rareseg.quality.suspects import Suspect

Verdict = Literal["accept label", "accept prediction", "exclude case", "ignore region", "unsure"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

LONGEST_NAME = 80
LONGEST_NOTE = 2000
_VERSION = 1
_WAIT_SECONDS = 20.0
_TABLE = """
CREATE TABLE IF NOT EXISTS decisions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    item TEXT NOT NULL,
    reviewer TEXT NOT NULL,
    verdict TEXT,
    note TEXT NOT NULL,
    seen TEXT NOT NULL,
    about TEXT NOT NULL,
    at TEXT NOT NULL,
    undoes INTEGER UNIQUE REFERENCES decisions (id),
    CHECK ((verdict IS NULL) = (undoes IS NOT NULL))
)
"""
_LAST_VALID = """
SELECT id, item, about FROM decisions
WHERE reviewer = ? AND undoes IS NULL
  AND id NOT IN (SELECT undoes FROM decisions WHERE undoes IS NOT NULL)
ORDER BY id DESC LIMIT 1
"""


@dataclass(frozen=True)
class Answer:
    """What one reviewer said of one item.

    ``number`` counts up over all decisions. ``seen`` names the prediction that was looked at.
    ``at`` is the time in UTC, ISO 8601.
    """

    number: int
    item: Suspect
    reviewer: str
    verdict: Verdict
    note: str
    seen: str
    at: str


LatestAnswers = Mapping[str, Mapping[str, Answer]]
"""By item, by reviewer: the decision that counts, which is the last that was not undone."""


class Answers:
    """The decisions of one run; safe to use from several threads and processes.

    Raises :class:`RunError` where the file is no such database, :class:`WorkError` where a
    decision cannot be written; it is then not stored.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock()
        self._read = 0  # the last line of the log that is taken in
        self._stacks: dict[tuple[str, str], list[Answer]] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(
                path, timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False
            )
            version = int(self._base.execute("PRAGMA user_version").fetchone()[0])
            if version not in (0, _VERSION):
                raise RunError(
                    f"{path} is of version {version}, this rareseg reads {_VERSION}; use the "
                    "version that wrote it."
                )
            self._base.execute("PRAGMA journal_mode = WAL")
            # With FULL a commit has reached the disk when it returns, also in WAL mode.
            self._base.execute("PRAGMA synchronous = FULL")
            self._base.execute(_TABLE)
            self._base.execute(f"PRAGMA user_version = {_VERSION}")
        except (sqlite3.Error, OSError) as error:
            if "locked" in str(error):
                raise RunError(
                    f"{path} is held by another process ({error}); end it, or wait until it has "
                    "let go."
                ) from error
            raise RunError(
                f"{path} cannot be opened as a database of decisions ({error}); move it away to "
                "begin anew."
            ) from error

    def __enter__(self) -> Answers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file once nobody writes to it; what was decided is in it already."""
        with self._lock:
            self._base.close()

    def record(
        self, item: Suspect, *, reviewer: str, verdict: str, note: str = "", seen: str = ""
    ) -> Answer:
        """Store a decision; where this returns it is on the disk.

        Raises :class:`UsageError` for a name that is empty or too long, an unknown verdict or a
        note that is too long.
        """
        reviewer = checked_name(reviewer)
        if verdict not in VERDICTS:
            raise UsageError(f"'{verdict}' is no verdict; allowed are {', '.join(VERDICTS)}.")
        if len(note) > LONGEST_NOTE:
            raise UsageError(
                f"A note has {len(note)} characters; at most {LONGEST_NOTE} are kept, so shorten "
                "it."
            )
        if any("\ud800" <= character <= "\udfff" for character in note):
            raise UsageError("A note holds half a character, which no file can; type it again.")
        at = _now()
        about = json.dumps(asdict(item))
        with self._lock:
            number = self._append(item.id, reviewer, verdict, note, seen, about, at, None)
        return Answer(number, item, reviewer, verdict, note, seen, at)

    def undo(self, reviewer: str) -> str | None:
        """Take the reviewer's last valid decision back; return its item's id, None if none."""
        reviewer = checked_name(reviewer)
        with self._lock:
            found = self._run(lambda: self._base.execute(_LAST_VALID, (reviewer,)).fetchone())
            if found is None:
                return None
            number, item, about = found
            self._append(item, reviewer, None, "", "", about, _now(), number)
            return str(item)

    def latest(self) -> dict[str, dict[str, Answer]]:
        """Return the decisions that count, by item and reviewer."""
        found: dict[str, dict[str, Answer]] = {}
        with self._lock:
            self._take_in()
            for (item, reviewer), stack in self._stacks.items():
                if stack:
                    found.setdefault(item, {})[reviewer] = stack[-1]
        return found

    def log(self) -> list[dict[str, Any]]:
        """Return every line that was ever written, in order, as plain values."""
        with self._lock:
            rows = self._run(
                lambda: self._base.execute(
                    "SELECT id, item, reviewer, verdict, note, seen, at, undoes "
                    "FROM decisions ORDER BY id"
                ).fetchall()
            )
        names = ("number", "item", "reviewer", "verdict", "note", "seen", "at", "undoes")
        return [dict(zip(names, row, strict=True)) for row in rows]

    def _append(self, *values: object) -> int:
        def write() -> int:
            self._base.execute("BEGIN IMMEDIATE")
            try:
                cursor = self._base.execute(
                    "INSERT INTO decisions (item, reviewer, verdict, note, seen, about, at, undoes)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    values,
                )
                self._base.execute("COMMIT")
            except BaseException:
                # Whatever it was: a transaction left open would refuse all decisions to come.
                if self._base.in_transaction:
                    self._base.execute("ROLLBACK")
                raise
            return int(cursor.lastrowid or 0)

        return int(self._run(write))

    def _run(self, work: Any) -> Any:
        try:
            return work()
        except sqlite3.Error as error:
            raise WorkError(
                f"{self.path} could not be read or written ({error}), so nothing was decided; "
                "make room, or wait for whoever else writes to it."
            ) from error

    def _take_in(self) -> None:
        """Read what the log has grown by, from this process or another."""
        rows = self._run(
            lambda: self._base.execute(
                "SELECT id, item, reviewer, verdict, note, seen, about, at, undoes "
                "FROM decisions WHERE id > ? ORDER BY id",
                (self._read,),
            ).fetchall()
        )
        for number, item, reviewer, verdict, note, seen, about, at, undoes in rows:
            stack = self._stacks.setdefault((item, reviewer), [])
            if undoes is None:
                suspect = self._suspect(number, about)
                stack.append(Answer(number, suspect, reviewer, verdict, note, seen, at))
            else:
                stack[:] = [answer for answer in stack if answer.number != undoes]
            self._read = number

    def _suspect(self, number: int, about: str) -> Suspect:
        """Return the item of a line; raises :class:`RunError` where it is damaged."""
        try:
            return _suspect(json.loads(about))
        except (ValueError, TypeError, KeyError) as error:
            raise RunError(
                f"{self.path}: decision {number} is damaged ({error}); restore the file from a "
                "copy."
            ) from error


def checked_name(reviewer: str) -> str:
    """Return a reviewer's name without spaces around it; raises :class:`UsageError` for none."""
    name = " ".join(reviewer.split())
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise UsageError(
            f"A reviewer's name has 1 to {LONGEST_NAME} printable characters, not {len(name)}; "
            "give another."
        )
    return name


def _suspect(record: dict[str, Any]) -> Suspect:
    (z0, z1), (y0, y1), (x0, x1) = record["box"]
    kind = object_named(record["kind"])
    return Suspect(**{**record, "kind": kind, "box": ((z0, z1), (y0, y1), (x0, x1))})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
