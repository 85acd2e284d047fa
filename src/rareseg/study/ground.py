"""What all trainings of a study stand on: the data, found once, a store that they share, a storage.

Also who works on it: processes on this machine, and other machines with the same storage.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import torch

from rareseg.data.build import build_store
from rareseg.data.fingerprint import Fingerprint, content_hash, inspect_dataset
from rareseg.data.records import Dataset, Role
from rareseg.errors import ProblemsError, UsageError
from rareseg.progress import Track
from rareseg.recipe import Overrides, Recipe
from rareseg.run.folder import DataOptions, claim
from rareseg.run.memory import full_memory_named
from rareseg.run.prepare import Machine, Wishes
from rareseg.training.arithmetic import settle_precision
from rareseg.training.plan import make_preprocessing, plan_recipe


@dataclass(frozen=True)
class Job:
    """What every study is told, as a second machine would be told it too.

    ``wishes`` hold for all trainings. ``storage`` is a database URL, ``None`` for a file beside the
    results; ``name`` tells studies in one database apart, "" is the folder's; ``parallel``
    processes work on this machine.
    """

    data: DataOptions
    wishes: Wishes = field(default_factory=Wishes)
    storage: str | None = None
    name: str = ""
    parallel: int = 1
    machine: Machine = field(default_factory=Machine)

    def place(self, out: Path) -> tuple[str, str]:
        """Return the storage's URL and the study's name for results in ``out``."""
        url = self.storage or f"sqlite:///{(out / 'study.db').resolve()}"
        return url, self.name or out.resolve().name


@dataclass(frozen=True)
class Ground:
    """The data, inspected once, the folder of the store that all share, and where to compute."""

    options: DataOptions
    dataset: Dataset
    fingerprint: Fingerprint
    store: Path
    machine: Machine

    def declared(self) -> dict[str, Role]:
        """Return the roles that the data set states."""
        return {case.id: case.role for case in self.dataset.cases if case.role is not None}

    def build(self, recipe: Recipe, track: Track) -> None:
        """Write the store as a recipe asks for it, or find it there."""
        build_store(
            self.dataset,
            self.store,
            preprocessing=make_preprocessing(recipe, self.fingerprint),
            fingerprint=self.fingerprint,
            track=track,
        )


def find_ground(job: Job, out: Path, track: Track, *, note: str, what: str) -> Ground:
    """Claim ``out`` for ``what`` and inspect the data, or take what an earlier call found.

    Raises :class:`~rareseg.errors.OutputError` where ``out`` holds anything else, and
    :class:`ProblemsError` for data with problems.
    """
    if job.parallel < 1:
        raise UsageError(f"--parallel is {job.parallel}; give 1 or more.")
    about = {"data": str(Path(job.data.path).resolve())}
    dataset = job.data.open()
    claim(out, note, about, f"{what} of other data")
    path = out / "fingerprint.json"
    fingerprint = Fingerprint.from_json(path) if path.is_file() else None
    if fingerprint is None or fingerprint.content_hash != content_hash(dataset):
        fingerprint = inspect_dataset(dataset, track=track)
        if fingerprint.problems:
            raise ProblemsError(fingerprint.problems)
        fingerprint.to_json(path)
    return Ground(job.data, dataset, fingerprint, out / "store", job.machine)


@full_memory_named()
def settle(job: Job, overrides: Overrides, fingerprint: Fingerprint) -> dict[str, dict[str, Any]]:
    """Return what a run would leave to the machine, so that every training computes alike.

    The precisions are tried with the recipe that is planned from ``overrides`` alone. Raises
    :class:`~rareseg.errors.RecipeError` where there can be none.
    """
    threads = overrides.get("training", {}).get("threads")
    settled: dict[str, dict[str, Any]] = {"training": {}, "prediction": {}}
    if not threads:
        threads = max(1, (os.cpu_count() or 1) // job.parallel)
        settled["training"]["threads"] = threads
    torch.set_num_threads(threads)  # as every training will
    recipe = plan_recipe(fingerprint, overrides).recipe
    channels, device = fingerprint.cases[0].channels, job.machine.fabric("32").device
    for name, choice in settle_precision(recipe, fingerprint.classes, channels, device).items():
        section, key = name.split(".")
        settled[section][key] = choice.precision
    return settled


@contextmanager
def helpers(job: Job, work: Callable[..., None], *arguments: object) -> Iterator[None]:
    """Run ``work`` in all processes but this one; they end with the block, or at once if it fails.

    ``work`` is a function of a module, called with ``arguments``. None outlives this process, even
    where it is killed: nobody would see what they do.
    """
    context = multiprocessing.get_context("spawn")
    # No daemons: those may have no workers of their own, as training.workers asks for.
    others = [
        context.Process(target=_with_parent, args=(work, arguments))
        for _ in range(job.parallel - 1)
    ]
    for other in others:
        other.start()
    try:
        yield
    except BaseException:
        for other in others:
            other.terminate()
        raise
    for other in others:
        other.join()


def _with_parent(work: Callable[..., None], arguments: tuple[object, ...]) -> None:
    """Do the work, and die with the process that asked for it."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "called in a process of its own"

    def watch() -> None:
        wait([parent.sentinel])
        signal.raise_signal(signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
    work(*arguments)
