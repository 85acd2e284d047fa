"""Search a recipe for what a user wants of the operating point, on any number of workers."""

from __future__ import annotations

import csv
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from rareseg.data.files import atomic_write
from rareseg.decision.operating_point import Goal, OperatingPoint
from rareseg.errors import RaresegError, RunError, UsageError
from rareseg.evaluation.values import is_defined
from rareseg.progress import Track, silent
from rareseg.recipe import Overrides, Recipe, merge, to_yaml
from rareseg.run.network_source import NetworkSource
from rareseg.run.prepare import Given, Say, nobody
from rareseg.run.sources import asked_regions
from rareseg.run.train import learn
from rareseg.run.tune import Rule, tune_source
from rareseg.study.design import Roles, code_hash, data_hash, make_design
from rareseg.study.ground import Ground, Job, find_ground, helpers, settle
from rareseg.study.rows import Row
from rareseg.study.space import Space
from rareseg.study.storage import SharedStudy, reached
from rareseg.training.plan import plan_recipe

NOTE = "search.json"
POLL = 5.0
"""Seconds between two looks at the study while others work."""

STARTUP = 5
"""Trials that run to their end before any is given up early."""


@dataclass(frozen=True)
class Wanted:
    """What is searched for: a goal on the select cases, in one region or the mean over all."""

    job: Job
    space: Space
    goal: Goal
    trials: int
    region: str | None = None


@dataclass(frozen=True)
class Found:
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


_STATES = {
    TrialState.COMPLETE: "recorded",
    TrialState.PRUNED: "given up",
    TrialState.FAIL: "failed",
}


class _GivenUpError(Exception):
    """A training that falls behind the others is not worth its remaining steps."""


def search(wanted: Wanted, out: Path | str, *, track: Track = silent, say: Say = nobody) -> Found:
    """Train ``wanted.trials`` recipes and write ``best.yaml`` and ``trials.csv`` into ``out``.

    A recipe is worth the value of the operating point that its model reaches on the select cases,
    which also chose it: the test cases are not looked at, and are left for `rareseg train --recipe
    best.yaml`. The first trial has the planned values, the others are drawn by Optuna's
    tree-structured Parzen estimator (Bergstra et al. 2011); trainings whose validations stay below
    the median are given up. Called again, or on other machines with the same storage, it goes on.
    Raises :class:`UsageError`, :class:`~rareseg.errors.RecipeError` and :class:`RunError` as
    :func:`rareseg.study.compare.compare` does.
    """
    out = Path(out)
    if wanted.trials < 1:
        raise UsageError(f"--trials is {wanted.trials}; give 1 or more.")
    work = _prepare(wanted, out, track)
    with reached(wanted.job.place(out)[0]):
        with helpers(wanted.job, _help, wanted, out):
            _work(work, track, say)
        return _conclude(work)


@dataclass(frozen=True)
class _Work:
    """A search that is ready to be worked on; ``settings`` hold for every training."""

    wanted: Wanted
    shared: SharedStudy
    ground: Ground
    settings: Overrides
    base: Recipe
    roles: Roles
    out: Path


def _prepare(wanted: Wanted, out: Path, track: Track) -> _Work:
    """Find what all trainings stand on, and open the study."""
    overrides = wanted.job.wishes.overrides()
    ground = find_ground(wanted.job, out, track, note=NOTE, what="a search")
    asked_regions(ground.fingerprint.classes.regions, wanted.region)
    url, name = wanted.job.place(out)
    shared = SharedStudy(url, name, pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP))
    settled = merge(
        overrides, shared.agree("settled", settle(wanted.job, overrides, ground.fingerprint))
    )
    design = make_design(
        ground.fingerprint,
        [Row("base", {})],
        settled,
        seeds=1,
        folds=1,
        declared=ground.declared(),
    )
    shared.require(
        {
            "code": code_hash(),
            "data": data_hash(ground.fingerprint),
            "base": design.recipes["base"].model_dump(mode="json"),
            "space": wanted.space.to_dict(),
            "goal": str(wanted.goal),
            "region": wanted.region or "all",
        }
    )
    ground.build(design.recipes["base"], track)
    work = _Work(wanted, shared, ground, settled, design.recipes["base"], design.roles[0], out)
    with shared.lock():
        if not shared.trials():
            shared.study.enqueue_trial(wanted.space.within(work.base))
    return work


def _help(wanted: Wanted, out: Path) -> None:
    """Work on a search in a process of its own, without a word."""
    _work(_prepare(wanted, out, silent), silent, nobody)


def _work(work: _Work, track: Track, say: Say) -> None:
    """Draw and train until there are as many trials as wanted, and wait for those elsewhere."""
    while True:
        trial = _take(work)
        if trial is not None:
            _do(work, trial, track, say)
        elif work.shared.trials(TrialState.RUNNING):
            time.sleep(POLL)
        else:
            return


def _take(work: _Work) -> optuna.Trial | None:
    """Return a trial of this worker's, or ``None`` where enough are done or under way."""
    with work.shared.lock():
        work.shared.fail_silent()
        _repeat_killed(work)
        waiting = work.shared.trials(TrialState.WAITING)
        lasting = [t for t in work.shared.trials() if not _was_killed(t)]
        if not waiting and len(lasting) >= work.wanted.trials:
            return None
        # A seed of its own for every trial: two workers must not draw the same.
        seed = work.base.training.seed + len(work.shared.trials())
        work.shared.study.sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
        return work.shared.ask(work.wanted.space.distributions)


def _was_killed(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.FAIL and "error" not in trial.user_attrs


def _repeat_killed(work: _Work) -> None:
    """Hang up what a killed worker had drawn, once for each time; call it under the lock."""
    again = {trial.user_attrs.get("repeats") for trial in work.shared.trials()}
    for trial in work.shared.trials(TrialState.FAIL):
        if _was_killed(trial) and trial.number not in again and trial.params:
            work.shared.study.enqueue_trial(trial.params, user_attrs={"repeats": trial.number})


def _do(work: _Work, trial: optuna.Trial, track: Track, say: Say) -> None:
    """Train one recipe and tell what its operating point reaches."""
    shared, started = work.shared, time.monotonic()
    drawn = ", ".join(f"{key.split('.')[1]} {_short(v)}" for key, v in trial.params.items())
    say(f"trial {trial.number + 1}: {drawn}")
    try:
        with shared.alive(trial):
            value = _train(work, trial, track)
    except _GivenUpError:
        _tell(work, trial, TrialState.PRUNED)
        say(f"trial {trial.number + 1} was given up: it fell behind the others")
    except UpdateFinishedTrialError:
        # This worker was silent for so long that it counted as killed.
        say(f"trial {trial.number + 1} was taken over by another worker")
    except RaresegError as error:
        _tell(work, trial, TrialState.FAIL, error=str(error))
        say(f"trial {trial.number + 1} failed: {error}")
    except BaseException:
        _tell(work, trial, TrialState.FAIL)
        raise
    else:
        seconds = time.monotonic() - started
        _tell(work, trial, TrialState.COMPLETE, value=value, seconds=seconds)
        say(f"trial {trial.number + 1}: {value:.3f} on the select cases")


def _tell(
    work: _Work,
    trial: optuna.Trial,
    state: TrialState,
    *,
    value: float | None = None,
    **attributes: object,
) -> None:
    with work.shared.lock():
        if not work.shared.is_over(trial):
            for name, content in attributes.items():
                trial.set_user_attr(name, content)
            work.shared.study.tell(trial, value, state=state)


def _train(work: _Work, trial: optuna.Trial, track: Track) -> float:
    """Return what the operating points of a trial's model reach on the select cases."""
    recipe = recipe_of(work, trial.params)
    fabric = work.ground.machine.fabric("32")
    fabric.launch()

    def heard(step: int, score: float) -> None:
        trial.report(score, step)
        if step < recipe.training.steps and trial.should_prune():
            raise _GivenUpError

    run = learn(
        work.ground.options,
        work.out / "trials" / f"{trial.number:04d}",
        fabric,
        given=Given(work.ground.fingerprint, recipe, work.roles, work.ground.store),
        machine=work.ground.machine,
        heard=heard,
        track=track,
    )
    rule = Rule(work.wanted.goal)
    source = NetworkSource.open(run.root, device=fabric.device)
    choices = tune_source(source, rule, region=work.wanted.region, track=track)
    values = []
    for choice in choices.values():
        point = choice.found
        if not isinstance(point, OperatingPoint) or not is_defined(point.value):
            raise _GivenUpError  # nothing within the limits
        values.append(point.value)
    return sum(values) / len(values)


def recipe_of(work: _Work, drawn: Mapping[str, Any]) -> Recipe:
    """Return the complete recipe for what a trial drew, planned anew around it."""
    values = merge(work.settings, work.wanted.space.overrides(drawn))
    return plan_recipe(work.ground.fingerprint, values).recipe


def _conclude(work: _Work) -> Found:
    """Write the best recipe and the table of all trials."""
    trials = work.shared.trials()
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    errors = [str(trial.user_attrs["error"]) for trial in trials if "error" in trial.user_attrs]
    if not done:
        reason = errors[-1] if errors else "all were given up"
        raise RunError(
            f"No trial of {work.out} came to an end: {reason}; change the space or the goal."
        )
    best = max(done, key=lambda trial: (_value(trial), -trial.number))
    found = Found(
        value=_value(best),
        values=dict(best.params),
        recipe=work.out / "best.yaml",
        trials_csv=work.out / "trials.csv",
        n_recorded=len(done),
        n_given_up=sum(trial.state == TrialState.PRUNED for trial in trials),
        n_failed=len(errors),
    )
    reason = f"trial {best.number + 1} of a search, {found.value:.3f} on the select cases"
    reasons = dict.fromkeys(best.params, reason)
    with atomic_write(found.recipe) as temporary:
        temporary.write_text(to_yaml(recipe_of(work, best.params), reasons), encoding="utf-8")
    _write_trials(found.trials_csv, trials, list(work.wanted.space.distributions))
    return found


def _value(trial: FrozenTrial) -> float:
    assert trial.value is not None, "a finished trial has a value"
    return trial.value


def _write_trials(path: Path, trials: Sequence[FrozenTrial], keys: Sequence[str]) -> None:
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("trial", "state", "value", *keys, "seconds", "error"))
        for trial in trials:
            attributes = trial.user_attrs
            writer.writerow(
                (
                    trial.number + 1,
                    _STATES.get(trial.state, trial.state.name.lower()),
                    # Of what was given up Optuna keeps the last validation, which is another thing.
                    trial.value if trial.state == TrialState.COMPLETE else "",
                    *(trial.params.get(key, "") for key in keys),
                    attributes.get("seconds", ""),
                    attributes.get("error", ""),
                )
            )


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
