"""The board on which the cells of a comparison hang, for any number of workers and machines.

Each cell is a trial of a shared study: it waits, runs and is recorded. Cells are hung up once, and
again where a worker was killed.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from rareseg.study.storage import PIECE, SharedStudy, joined, set_pieces

CONTENT = "content"
"""The attribute that says what is to be done in a cell."""

MOST_TRIES = 5
"""Times that a cell is tried whose workers are killed."""


@dataclass(frozen=True)
class Counts:
    """How many cells wait, run, are recorded, and have failed for good."""

    waiting: int
    running: int
    recorded: int
    failed: int


@dataclass(frozen=True)
class Taken:
    """A cell that this worker took from the board, with what was hung up of it."""

    key: str
    content: Mapping[str, Any]
    trial: optuna.Trial


class Board:
    """The cells of one comparison in a database that all workers reach.

    ``cells`` lead from the key of each cell that is asked for, in the order in which they are to be
    tried, to plain values that say what is to be done. Others may have hung up more: those are
    taken as well, and count nowhere here. Cells that failed with an error are hung up anew.
    """

    def __init__(self, shared: SharedStudy, cells: Mapping[str, Mapping[str, Any]]) -> None:
        self.cells = dict(cells)
        self._shared = shared
        with self._shared.lock():
            self._hang_up(again=True)

    def take(self) -> Taken | None:
        """Return a cell that waits, now this worker's, or ``None`` where none does."""
        with self._shared.lock():
            self._hang_up()
            if not self._shared.trials(TrialState.WAITING):
                return None
            trial = self._shared.ask()
            content = joined(trial.user_attrs, CONTENT)
            assert content is not None, "cells are hung up with their content"
            return Taken(trial.user_attrs["cell"], json.loads(content), trial)

    def alive(self, taken: Taken) -> AbstractContextManager[None]:
        """Tell the board that the worker lives, until the block is left."""
        return self._shared.alive(taken.trial)

    def record(self, taken: Taken, result: Mapping[str, Any], value: float) -> bool:
        """Keep the result of a cell; False where the cell was meanwhile given to another."""
        with self._shared.lock():
            if self._shared.is_over(taken.trial) or taken.key in self.recorded():
                return False
            packed = base64.b85encode(zlib.compress(json.dumps(result).encode(), 6)).decode()
            set_pieces(taken.trial.set_user_attr, "result", packed)
            self._shared.study.tell(taken.trial, value)
            return True

    def fail(self, taken: Taken, reason: str) -> None:
        """Take a cell off the board for this call: its work ended with an error."""
        with self._shared.lock():
            if not self._shared.is_over(taken.trial):
                taken.trial.set_user_attr("error", reason[:PIECE])
                self._shared.study.tell(taken.trial, state=TrialState.FAIL)

    def release(self, taken: Taken) -> None:
        """Hang a cell up again at once: its worker was asked to stop."""
        with self._shared.lock():
            if not self._shared.is_over(taken.trial):
                self._shared.study.tell(taken.trial, state=TrialState.FAIL)
                self._hang_up()

    def counts(self) -> Counts:
        """Return how far the cells are that are asked for."""
        by_cell = self._by_cell()
        states = [{trial.state for trial in by_cell[key]} for key in self.cells]
        recorded = sum(TrialState.COMPLETE in own for own in states)
        running = sum(
            TrialState.RUNNING in own and TrialState.COMPLETE not in own for own in states
        )
        waiting = sum(
            TrialState.WAITING in own and not own & {TrialState.RUNNING, TrialState.COMPLETE}
            for own in states
        )
        return Counts(waiting, running, recorded, len(self.cells) - recorded - running - waiting)

    def errors(self) -> dict[str, str]:
        """Return by cell why those that failed did."""
        found, by_cell = {}, self._by_cell()
        for key in self.cells:
            trials = by_cell[key]
            if trials and all(trial.state == TrialState.FAIL for trial in trials):
                found[key] = trials[-1].user_attrs.get(
                    "error", f"its workers were killed {len(trials)} times"
                )
        return found

    def recorded(self) -> set[str]:
        """Return the keys of the recorded cells."""
        done = self._shared.trials(TrialState.COMPLETE)
        return {trial.user_attrs["cell"] for trial in done}

    def results(self) -> dict[str, dict[str, Any]]:
        """Return the results of the recorded cells that are asked for, by key."""
        found: dict[str, dict[str, Any]] = {}
        for trial in self._shared.trials(TrialState.COMPLETE):
            if trial.user_attrs["cell"] not in self.cells:
                continue
            packed = joined(trial.user_attrs, "result")
            assert packed is not None, "a cell is told after its result was kept"
            found[trial.user_attrs["cell"]] = json.loads(_unpacked(packed))
        return found

    def _hang_up(self, *, again: bool = False) -> None:
        """Hang up every cell that neither waits, runs nor is recorded; call it under the lock.

        Those that failed with an error only ``again`` and where this call asks for them, those
        whose workers were killed at most :data:`MOST_TRIES` times.
        """
        self._shared.fail_silent()
        for key, trials in self._by_cell().items():
            if any(trial.state != TrialState.FAIL for trial in trials):
                continue
            failed = any("error" in trial.user_attrs for trial in trials)
            asked_again = again and key in self.cells
            if not trials or asked_again or (not failed and len(trials) < MOST_TRIES):
                self._shared.study.enqueue_trial({}, user_attrs=self._attributes(key, trials))

    def _attributes(self, key: str, trials: Sequence[FrozenTrial]) -> dict[str, Any]:
        """Return what is hung up of a cell: its content, or that of an earlier try."""
        attributes: dict[str, Any] = {"cell": key}
        content = json.dumps(self.cells[key]) if key in self.cells else None
        content = content or joined(trials[-1].user_attrs, CONTENT)
        assert content is not None, "cells are hung up with their content"
        set_pieces(attributes.__setitem__, CONTENT, content)
        return attributes

    def _by_cell(self) -> dict[str, list[FrozenTrial]]:
        found: dict[str, list[FrozenTrial]] = {key: [] for key in self.cells}
        for trial in self._shared.trials():
            found.setdefault(trial.user_attrs["cell"], []).append(trial)
        return found


def _unpacked(packed: str) -> bytes:
    return zlib.decompress(base64.b85decode(packed))
