"""Draw the recipes of a search with Optuna, and prune trials that fall behind.

Optuna stores nothing: it is told anew what the job queue knows of all trials.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from rareseg.study.job_queue import ClaimedJob, Record, State
from rareseg.study.search_space import Space

STARTUP = 5
"""Trials that run to their end before any is given up early."""


@dataclass(frozen=True)
class Trial:
    """One recipe of a search, and how far its training is.

    ``number`` counts from 0. ``drawn`` leads from keys of the space to values and is empty before
    anybody has begun, ``scores`` lead from steps to what the validation there reached. ``value`` is
    that of the operating point, None where the trial failed, is under way or was given up.
    """

    number: int
    drawn: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[int, float] = field(default_factory=dict)
    state: State = State.RUNNING
    value: float | None = None
    seconds: float | None = None
    error: str | None = None

    @classmethod
    def of(cls, job: ClaimedJob | Record) -> Trial:
        """Return the trial that a job stands for."""
        scores = {int(step): score for step, score in job.task.get("scores", {}).items()}
        trial = cls(int(job.key), job.task.get("drawn", {}), scores)
        if isinstance(job, ClaimedJob):
            return trial
        return replace(trial, state=job.state, error=job.error, **(job.result or {}))

    @property
    def outcome(self) -> str:
        """What came of it, in a word or two."""
        if self.state == State.DONE:
            return "given up" if self.value is None else "recorded"
        return str(self.state)

    def task(self) -> dict[str, Any]:
        """Return what a worker needs that goes on with the trial, as plain JSON values."""
        return {"drawn": dict(self.drawn), "scores": {str(s): v for s, v in self.scores.items()}}


def draw(
    space: Space, number: int, others: Iterable[Trial], *, first: Mapping[str, Any], seed: int
) -> dict[str, Any]:
    """Return values for the trial ``number``, given what is known of the others.

    Trial 0 has those of ``first`` that it holds. The rest is drawn by the tree-structured Parzen
    estimator of Bergstra et al. (2011), which takes trials under way for poor ones, so that
    workers that draw at the same time draw apart. ``seed`` and ``number`` decide the draw.
    """
    study = _study(space, others)
    if number == 0:
        study.enqueue_trial(dict(first))
    with warnings.catch_warnings():
        # Optuna remarks on asking outside of its own loop, and on its newer options.
        warnings.simplefilter("ignore")
        study.sampler = optuna.samplers.TPESampler(seed=seed + number, constant_liar=True)
        return study.ask(dict(space.distributions)).params


def falls_behind(space: Space, trial: Trial, others: Iterable[Trial]) -> bool:
    """Tell whether the best validation so far is below the median of the finished ones here."""
    pruner = optuna.pruners.MedianPruner(n_startup_trials=STARTUP)
    return pruner.prune(_study(space, others), _frozen(space, trial))


def _study(space: Space, trials: Iterable[Trial]) -> optuna.Study:
    """Return a study in memory that knows the trials which have begun and did not fail."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize")
    known = (trial for trial in trials if trial.drawn and trial.state != State.FAILED)
    study.add_trials([_frozen(space, trial) for trial in known])
    return study


def _frozen(space: Space, trial: Trial) -> FrozenTrial:
    state = TrialState.RUNNING
    if trial.state == State.DONE:
        state = TrialState.PRUNED if trial.value is None else TrialState.COMPLETE
    return create_trial(
        state=state,
        value=trial.value,
        params=dict(trial.drawn),
        distributions=dict(space.distributions),
        intermediate_values=dict(trial.scores),
    )
