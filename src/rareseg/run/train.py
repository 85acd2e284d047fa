"""Train a model: plan, store, training, operating points, scorecard and report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from lightning_fabric import Fabric

from rareseg.data.folder_lock import sole_writer
from rareseg.prediction.bundle import save_model
from rareseg.prediction.model import Model, join_members
from rareseg.prediction.scorer import ModelScorer
from rareseg.progress import Track, silent
from rareseg.recipe import make_recipe, merge
from rareseg.run.evaluate import Evaluation, evaluate_run
from rareseg.run.jobs.cascade_training import learn_cascade
from rareseg.run.jobs.presence_fit import keep_scaled, scale_on_validation
from rareseg.run.jobs.training_job import TrainingJob
from rareseg.run.scores.case_scoring import Scored, merge_scored, score_all
from rareseg.run.scores.network_source import TRAIN_SAMPLE, NetworkSource
from rareseg.run.setup.bundle_images import write_bundle_images
from rareseg.run.setup.out_of_memory import full_memory_named, give_back_memory
from rareseg.run.setup.precision import with_precision
from rareseg.run.setup.prepare import (
    Machine,
    PreparedRun,
    Say,
    SharedInputs,
    TrainingOptions,
    prepare_run,
    say_nothing,
    write_recipe,
)
from rareseg.run.setup.run_folder import DataOptions, RunFolder
from rareseg.run.setup.split_files import read_split
from rareseg.run.tune import tune_source
from rareseg.sampling.sampler import MOST_ROUNDS
from rareseg.training.budget import parse_duration, plan_steps
from rareseg.training.loop import OnValidation, measure_step
from rareseg.training.plan import Plan
from rareseg_runner.bundle_archive import DESCRIPTION


def train(
    data: DataOptions | Path | str,
    out: Path | str,
    *,
    training_options: TrainingOptions | None = None,
    machine: Machine | None = None,
    track: Track = silent,
    say: Say = say_nothing,
) -> Evaluation | None:
    """Train on ``data`` into the run folder ``out`` and return the evaluation of its test cases.

    Of several processes the first evaluates; the others return ``None``, and so does the first
    where there are no test cases.

    Called again on the same ``out`` it goes on where it stopped, and ends with the same weights as
    an uninterrupted run on the same machine. Raises what
    :func:`rareseg.run.setup.prepare.prepare_run` raises.
    """
    machine = machine or Machine()
    fabric = machine.fabric("32")
    fabric.launch()
    if not fabric.is_global_zero:
        learn(data, out, fabric, training_options=training_options, machine=machine)
        return None
    with sole_writer(Path(out)):
        folder = learn(
            data,
            out,
            fabric,
            training_options=training_options,
            machine=machine,
            track=track,
            say=say,
        )
        tune_source(NetworkSource.open(folder.root, device=fabric.device), track=track)
        give_back_memory()
        roles = set(read_split(folder.split).values())
        if "validation" not in roles and not folder.folds.is_file():
            say(
                f"No case chose an operating point; `rareseg tune {folder.root} --threshold 0.5` "
                "sets one to predict with."
            )
        if "test" not in roles:
            say(
                f"No case of {folder.root} is a test case, so that nothing was measured; "
                f"`rareseg evaluate {folder.root} DATA --out DIR` does it on other data."
            )
            return None
        return evaluate_run(folder.root, device=fabric.device, track=track)


@full_memory_named()
def learn(
    data: DataOptions | Path | str,
    out: Path | str,
    fabric: Fabric,
    *,
    training_options: TrainingOptions | None = None,
    shared: SharedInputs | None = None,
    machine: Machine | None = None,
    on_validation: OnValidation = lambda step, score: None,
    track: Track = silent,
    say: Say = say_nothing,
) -> RunFolder:
    """Bring the run at ``out`` to a trained bundle and return its folder: the first half of train.

    Neither a point is chosen nor a test case looked at. ``fabric`` is launched, for 32 bits; what
    ``shared`` holds is not found anew; ``on_validation`` is called after each validation. Raises as
    :func:`train`.
    """
    started = time.monotonic()
    options = data if isinstance(data, DataOptions) else DataOptions(str(data))
    training_options, machine = training_options or TrainingOptions(), machine or Machine()
    budget = None if training_options.budget is None else parse_duration(training_options.budget)
    with fabric.rank_zero_first():
        run = prepare_run(options, Path(out), training_options, shared=shared, track=track, say=say)
    torch.set_num_threads(run.recipe.training.threads)
    run = with_precision(run, fabric)
    if not (run.folder.bundle / DESCRIPTION).is_file():
        jobs = _jobs(run, machine, fabric)
        if not run.folder.recipe.is_file():
            if budget is not None:
                run = _fit_into(budget, started, jobs[0], say)
                jobs = _jobs(run, machine, fabric)
            if fabric.is_global_zero:
                write_recipe(run.folder, run.plan)
        fabric.barrier()
        if run.recipe.training.cascade is not None:
            model = learn_cascade(
                run, machine, fabric, on_validation=on_validation, track=track, say=say
            )
            if fabric.is_global_zero:
                model = scale_on_validation(run, model, device=fabric.device, track=track, say=say)
                save_model(run.folder.bundle, model)
                write_bundle_images(run.folder)
            fabric.barrier()
            return run.folder
        models = []
        for number, job in enumerate(jobs, start=1):
            if len(jobs) > 1:
                say(f"fold {number} of {len(jobs)}")
            models.append(job.model(job.learn(track, say, on_validation)))
            give_back_memory()
        if fabric.is_global_zero:
            model = _average(models)
            if run.folds:
                scored = _score_unseen(run, model, fabric.device, track)
                model = keep_scaled(run, model, scored, role="out-of-fold", say=say)
            else:
                model = scale_on_validation(run, model, device=fabric.device, track=track, say=say)
            save_model(run.folder.bundle, model)
    if fabric.is_global_zero:
        write_bundle_images(run.folder)
    fabric.barrier()
    return run.folder


def _jobs(run: PreparedRun, machine: Machine, fabric: Fabric) -> list[TrainingJob]:
    """Return one learner, or one for each fold."""
    return [TrainingJob(run, inputs, machine, fabric) for inputs in run.job_inputs()]


def _average(models: Sequence[Model]) -> Model:
    """Return the model that averages all; of one, itself."""
    weights = join_members([model.weights for model in models])
    return replace(models[0], weights=weights, members=len(models))


def _score_unseen(run: PreparedRun, model: Model, device: torch.device, track: Track) -> Scored:
    """Return every case that was learnt from, scored by the mean of those that never saw it.

    ``model`` averages all of a run's networks: what it does with all of them is done with some.
    """
    parts = [
        score_all(
            ModelScorer(model.mean_of(run.folds.blind_to(fold)), device=device),
            [case for case in run.dataset.cases if run.folds.fold_of.get(case.id) == fold],
            role="out-of-fold",
            detailed=True,
            track=track,
            doing=f"scoring fold {fold + 1}",
        )
        for fold in range(run.folds.count)
    ]
    return merge_scored(parts, n_points=0)


def _fit_into(seconds: float, started: float, job: TrainingJob, say: Say) -> PreparedRun:
    """Measure this machine once and write into the plan how many steps fit into the budget."""
    run, recipe = job.run, job.recipe
    step_seconds = measure_step(job.network(), job.loss, job.sampler, recipe, fabric=job.fabric)
    validations = recipe.training.validations * job.seconds_per_validation()
    case_seconds = job.seconds_per_case()
    mining = job.seconds_per_mining()
    give_back_memory()
    if recipe.mining.every is None:
        validations += mining * MOST_ROUNDS
    else:
        step_seconds += mining / recipe.mining.every
    validations *= max(1, recipe.split.folds)
    gone = time.monotonic() - started + validations
    # Several processes follow the clock of the first.
    step_seconds, case_seconds, gone = job.fabric.broadcast((step_seconds, case_seconds, gone))
    budget = plan_steps(
        seconds,
        # Folds learn one after the other.
        step_seconds=max(1, run.recipe.split.folds) * step_seconds,
        case_seconds=case_seconds,
        cases_to_score=scorings(run),
        gone=gone,
    )
    say(f"{budget.steps} steps fit into the budget ({step_seconds:.3f} s a step)")
    reasons = {**run.plan.reasons, "training.steps": budget.reason}
    longer = make_recipe(merge(recipe.model_dump(), {"training": {"steps": budget.steps}}))
    return replace(run, plan=Plan(longer, reasons))


def scorings(run: PreparedRun) -> int:
    """Return how many times a network scores a whole case between learning and the report.

    Each network of a run in folds scores whatever all score together, and a case that is learnt
    from is scored by those that left it out.
    """
    networks = max(1, run.recipe.split.folds)
    validation = len(run.cases("validation"))
    out_of_fold = run.folds.held_out * len(run.folds.fold_of)
    total = out_of_fold or validation
    total += networks * (len(run.cases("test")) + 2 * TRAIN_SAMPLE)
    cascade = run.recipe.training.cascade
    if cascade is not None:
        # Both stages score those cases, and the first one twice what the second learns from.
        total += cascade.folds * (total + validation) + 2 * len(run.cases("train"))
    return total
