"""Search recipes for the best operating point, on any number of workers."""

from __future__ import annotations

import csv
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rareseg.data.folder_lock import one_writer, sole_writer
from rareseg.decision.operating_point import Goal, OperatingPoint
from rareseg.errors import RaresegError, RunError, UsageError
from rareseg.evaluation.statistics.undefined import is_defined
from rareseg.progress import Track, silent
from rareseg.recipe import Overrides, Recipe, merge, to_yaml
from rareseg.run.scores.network_source import NetworkSource
from rareseg.run.scores.score_source import asked_regions
from rareseg.run.setup.prepare import Say, SharedInputs, say_nothing
from rareseg.run.train import learn
from rareseg.run.tune import Rule, tune_source
from rareseg.study.comparison_rows import ComparisonRow
from rareseg.study.design import Design, Roles, make_design
from rareseg.study.job_queue import DEAD_AFTER, ClaimedJob, JobQueue, State
from rareseg.study.optuna_trials import Trial, draw, falls_behind
from rareseg.study.search_space import Space
from rareseg.study.shared_data import (
    Purpose,
    SharedData,
    StudyOptions,
    begin_study,
    find_data,
    helpers,
)
from rareseg.study.study_database import reached
from rareseg.training.plan import plan_recipe
from rareseg_runner.atomic_files import atomic_write

PURPOSE = Purpose("search.json", "a search")
POLL = 5.0
"""Seconds between two looks at the queue while others work."""


@dataclass(frozen=True)
class SearchGoal:
    """What is searched for: a goal on the validation cases, in one region or the mean over all."""

    options: StudyOptions
    space: Space
    goal: Goal
    trials: int
    region: str | None = None


@dataclass(frozen=True)
class SearchResult:
    """The best recipe and all trials, and where they were written."""

    value: float
    values: Mapping[str, Any]
    recipe: Path
    trials_csv: Path
    n_recorded: int
    n_given_up: int
    n_failed: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**vars(self), "recipe": str(self.recipe), "trials_csv": str(self.trials_csv)}


class _GivenUpError(Exception):
    """A training that falls behind the others is not worth its remaining steps."""


class _TakenOverError(Exception):
    """Another worker has the trial, since this one was silent for too long."""


def search(
    wanted: SearchGoal, out: Path | str, *, track: Track = silent, say: Say = say_nothing
) -> SearchResult:
    """Train ``wanted.trials`` recipes and write ``best.yaml`` and ``trials.csv`` into ``out``.

    A recipe is worth the value of the operating point that its model reaches on the validation
    cases, which also chose it: the test cases are not looked at, and are left for `rareseg train
    --recipe best.yaml`. The first trial has the planned values, the others are drawn by Optuna's
    tree-structured Parzen estimator (Bergstra et al. 2011); trainings whose validations stay below
    the median are given up. Called again, or on other machines with the same storage, it goes on.
    Raises :class:`UsageError`, :class:`~rareseg.errors.RecipeError` and :class:`RunError` as
    :func:`rareseg.study.compare.compare` does.
    """
    out = Path(out)
    if wanted.trials < 1:
        raise UsageError(f"--trials is {wanted.trials}; give 1 or more.")
    with reached(wanted.options.place(out)[0]):
        work = _prepare(wanted, out, track)
        with helpers(wanted.options, _help, wanted, out):
            _work(work, track, say)
        return _conclude(work)


@dataclass(frozen=True)
class _SearchWork:
    """A search that is ready to be worked on; ``settings`` hold for every training."""

    wanted: SearchGoal
    queue: JobQueue
    data: SharedData
    settings: Overrides
    base: Recipe
    roles: Roles

    def trials(self) -> list[Trial]:
        """Return all trials as they are known now."""
        return [Trial.of(record) for record in self.queue.records()]


def _prepare(wanted: SearchGoal, out: Path, track: Track) -> _SearchWork:
    """Find what all trainings stand on."""
    data = find_data(wanted.options, out, PURPOSE, track)
    asked_regions(data.fingerprint.classes.regions, wanted.region)

    def make(settings: Overrides) -> Design:
        rows, declared = [ComparisonRow("base", {})], data.declared()
        return make_design(data.fingerprint, rows, settings, seeds=1, folds=1, declared=declared)

    def identify(design: Design) -> dict[str, Any]:
        return {
            "code": design.code,
            "data": design.data,
            "base": design.recipes["base"].model_dump(mode="json"),
            "space": wanted.space.to_dict(),
            "goal": str(wanted.goal),
            "region": wanted.region or "all",
        }

    begun = begin_study(wanted.options, data, PURPOSE, make, identify)
    base = begun.design.recipes["base"]
    data.build(base, track)
    queue = JobQueue(begun.database)
    return _SearchWork(wanted, queue, data, begun.settings, base, begun.design.roles[0])


def _help(wanted: SearchGoal, out: Path) -> None:
    """Work on a search in a process of its own, without a word."""
    with reached(wanted.options.place(out)[0]):
        _work(_prepare(wanted, out, silent), silent, say_nothing)


def _work(work: _SearchWork, track: Track, say: Say) -> None:
    """Draw and train until there are as many trials as wanted, and wait for those elsewhere."""
    while True:
        job = work.queue.claim()
        if job is not None:
            _do(work, job, track, say)
            continue
        states = work.queue.states()
        if len(states) < work.wanted.trials:
            # Of several workers that come here at once, one adds it; a failed trial stays failed.
            work.queue.enqueue({f"{len(states):04d}": {}}, retry_failed=False)
        elif {State.WAITING, State.RUNNING} & set(states.values()):
            time.sleep(POLL)
        else:
            return


def _do(work: _SearchWork, job: ClaimedJob, track: Track, say: Say) -> None:
    """Train one recipe and record what its operating point reaches."""
    started, title = time.monotonic(), f"trial {int(job.key) + 1}"
    try:
        with work.queue.alive(job):
            trial = _drawn(work, job)
            drawn = (f"{key.split('.')[1]} {_short(v)}" for key, v in trial.drawn.items())
            say(f"{title}: {', '.join(drawn)}")
            value = _train(work, job, trial, track)
        news = f"{title}: {value:.3f} on the validation cases"
    except _GivenUpError:
        value, news = None, f"{title} was given up: it fell behind the others"
    except _TakenOverError:
        say(f"{title} was taken over by another worker")
        return
    except RaresegError as error:
        work.queue.fail(job, str(error))
        say(f"{title} failed: {error}")
        return
    except BaseException:
        work.queue.release(job)
        raise
    done = work.queue.complete(job, {"value": value, "seconds": time.monotonic() - started})
    say(news if done else f"{title} was taken over by another worker")


def _drawn(work: _SearchWork, job: ClaimedJob) -> Trial:
    """Return a trial with its draw: that of a worker which had begun with it, or a new one."""
    trial = Trial.of(job)
    if trial.drawn:
        return trial
    first = work.wanted.space.within(work.base)
    seed = work.base.training.seed
    found = draw(work.wanted.space, trial.number, work.trials(), first=first, seed=seed)
    trial = replace(trial, drawn=found)
    _keep(work, job, trial)
    return trial


def _keep(work: _SearchWork, job: ClaimedJob, trial: Trial) -> None:
    """Store how far a trial is, for whoever goes on with it."""
    if not work.queue.refine(job, trial.task()):
        raise _TakenOverError


def _train(work: _SearchWork, job: ClaimedJob, trial: Trial, track: Track) -> float:
    """Return what the operating points of a trial's model reach on the validation cases."""
    recipe = recipe_of(work, trial.drawn)
    fabric = work.data.machine.fabric("32")
    fabric.launch()
    scores = dict(trial.scores)

    def on_validation(step: int, score: float) -> None:
        scores[step] = score
        now = replace(trial, scores=scores)
        _keep(work, job, now)
        if step < recipe.training.steps and falls_behind(work.wanted.space, now, work.trials()):
            raise _GivenUpError

    folder = work.data.out / "trials" / job.key
    with sole_writer(folder, wait_s=DEAD_AFTER):
        run = learn(
            work.data.options,
            folder,
            fabric,
            shared=SharedInputs(work.data.fingerprint, recipe, work.roles, work.data.store),
            machine=work.data.machine,
            on_validation=on_validation,
            track=track,
        )
        rule = Rule.of(work.wanted.goal, recipe.decision.sizes)
        source = NetworkSource.open(run.root, device=fabric.device)
        choices = tune_source(source, rule, region=work.wanted.region, track=track)
    values = []
    for choice in choices.values():
        point = choice.found
        if not isinstance(point, OperatingPoint) or not is_defined(point.value):
            raise _GivenUpError  # nothing within the limits
        values.append(point.value)
    return sum(values) / len(values)


def recipe_of(work: _SearchWork, drawn: Mapping[str, Any]) -> Recipe:
    """Return the complete recipe for what a trial drew, planned anew around it."""
    values = merge(work.settings, work.wanted.space.overrides(drawn))
    return plan_recipe(work.data.fingerprint, values).recipe


@one_writer("work.data.out", wait_s=DEAD_AFTER)
def _conclude(work: _SearchWork) -> SearchResult:
    """Write the best recipe and the table of all trials."""
    trials, out = work.trials(), work.data.out
    done = [(trial.value, trial) for trial in trials if trial.value is not None]
    errors = [trial.error for trial in trials if trial.error is not None]
    if not done:
        reason = errors[-1] if errors else "all were given up"
        raise RunError(f"No trial of {out} came to an end: {reason}; change the space or the goal.")
    value, best = max(done, key=lambda pair: (pair[0], -pair[1].number))
    found = SearchResult(
        value=value,
        values=dict(best.drawn),
        recipe=out / "best.yaml",
        trials_csv=out / "trials.csv",
        n_recorded=len(done),
        n_given_up=sum(t.state == State.DONE and t.value is None for t in trials),
        n_failed=len(errors),
    )
    reason = f"trial {best.number + 1} of a search, {value:.3f} on the validation cases"
    reasons = dict.fromkeys(best.drawn, reason)
    with atomic_write(found.recipe) as temporary:
        temporary.write_text(to_yaml(recipe_of(work, best.drawn), reasons), encoding="utf-8")
    _write_trials(found.trials_csv, trials, list(work.wanted.space.distributions))
    return found


def _write_trials(path: Path, trials: Sequence[Trial], keys: Sequence[str]) -> None:
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("trial", "state", "value", *keys, "seconds", "error"))
        for trial in trials:
            drawn = (trial.drawn.get(key) for key in keys)
            # None is an empty field.
            line = (
                trial.number + 1,
                trial.outcome,
                trial.value,
                *drawn,
                trial.seconds,
                trial.error,
            )
            writer.writerow(line)


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
