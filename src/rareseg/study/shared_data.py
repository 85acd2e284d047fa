"""Prepare the data once for all runs of a study, and share it between machines."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import torch

from rareseg.data.checks.fingerprint import Fingerprint, inspect_dataset
from rareseg.data.identity import is_content
from rareseg.data.records import Dataset, Role
from rareseg.data.store.build import build_store
from rareseg.errors import UsageError
from rareseg.progress import Track
from rareseg.recipe import Overrides, Recipe, merge
from rareseg.run.setup.out_of_memory import full_memory_named
from rareseg.run.setup.prepare import Machine, TrainingOptions, require_answers
from rareseg.run.setup.run_folder import DataOptions, claim, require_free
from rareseg.study.design import Design
from rareseg.study.study_database import StudyDatabase
from rareseg.training.arithmetic import choose_precisions
from rareseg.training.plan import make_preprocessing, plan_recipe

FINGERPRINT = "fingerprint.json"


@dataclass(frozen=True)
class StudyOptions:
    """Options of every study, on a second machine as on the first.

    ``training_options`` hold for all trainings. ``storage`` is a database URL, ``None`` for a file
    beside the results; ``name`` distinguishes studies in one database, "" is the folder's;
    ``parallel`` processes work on this machine.
    """

    data: DataOptions
    training_options: TrainingOptions = field(default_factory=TrainingOptions)
    storage: str | None = None
    name: str = ""
    parallel: int = 1
    machine: Machine = field(default_factory=Machine)

    def __post_init__(self) -> None:
        if self.parallel < 1:
            raise UsageError(f"--parallel is {self.parallel}; give 1 or more.")

    def place(self, out: Path) -> tuple[str, str]:
        """Return the database's URL and the study's name for results in ``out``."""
        url = self.storage or f"sqlite:///{(out / 'study.db').resolve()}"
        return url, self.name or out.resolve().name


@dataclass(frozen=True)
class SharedData:
    """The data, inspected once, the folder of the results, and where to compute."""

    options: DataOptions
    dataset: Dataset
    fingerprint: Fingerprint
    out: Path
    machine: Machine

    @property
    def store(self) -> Path:
        """The folder of the store that all trainings read."""
        return self.out / "store"

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


@dataclass(frozen=True)
class Purpose:
    """What a folder of results is for: the ``note`` in it that says so, and a name for it."""

    note: str
    what: str

    def claim(self, data: DataOptions, out: Path) -> None:
        """Write the note into ``out``, or see that it is there for the same data.

        Raises :class:`~rareseg.errors.OutputError` where ``out`` holds anything else.
        """
        about = {"data": str(Path(data.path).resolve())}
        claim(out, self.note, about, f"{self.what} of other data")


@dataclass(frozen=True)
class StartedStudy:
    """A study that was begun here or elsewhere; ``settings`` hold for every training."""

    database: StudyDatabase
    settings: Overrides
    design: Design


def find_data(options: StudyOptions, out: Path, purpose: Purpose, track: Track) -> SharedData:
    """Inspect the data, or take what an earlier call found; nothing is written.

    Raises :class:`~rareseg.errors.OutputError` where ``out`` holds anything else, and
    :class:`~rareseg.errors.ProblemsError` for data with problems or open questions.
    """
    dataset = options.data.open()
    if (out / purpose.note).is_file():
        purpose.claim(options.data, out)
    else:
        require_free(out)
    path = out / FINGERPRINT
    known = Fingerprint.from_json(path) if path.is_file() else None
    if known is None or not is_content(dataset, known.content_hash):
        known = inspect_dataset(dataset, track=track)
        require_answers(known)
    return SharedData(options.data, dataset, known, out, options.machine)


def begin_study(
    options: StudyOptions,
    data: SharedData,
    purpose: Purpose,
    make: Callable[[Overrides], Design],
    identify: Callable[[Design], Mapping[str, Any]],
) -> StartedStudy:
    """Begin a study in ``data.out``, or join the one that was begun with the same storage and name.

    ``make`` designs it from the settings of all trainings, ``identify`` says what must be equal for
    all who work on it. Nothing is written before the design is known to be possible, nor, where
    the storage lies elsewhere, before the study there is known to be the same one. Raises what
    ``make`` raises, and as :class:`StudyDatabase` and :meth:`StudyDatabase.require`.
    """
    overrides = options.training_options.overrides()
    settled = _measure_automatic_settings(options, overrides, data.fingerprint)
    design = make(merge(overrides, settled))
    if options.storage is None:
        purpose.claim(options.data, data.out)  # the database is a file in it
    database = StudyDatabase(*options.place(data.out))
    agreed = database.agree({"settled": settled})["settled"]
    if agreed != settled:
        design = make(merge(overrides, agreed))
    database.require(identify(design))
    purpose.claim(options.data, data.out)
    data.fingerprint.to_json(data.out / FINGERPRINT)
    return StartedStudy(database, merge(overrides, agreed), design)


@full_memory_named()
def _measure_automatic_settings(
    options: StudyOptions, overrides: Overrides, fingerprint: Fingerprint
) -> dict[str, dict[str, Any]]:
    """Return what a run would leave to the machine, so that every training computes alike.

    The precisions are tried with the recipe that is planned from ``overrides`` alone. Raises
    :class:`~rareseg.errors.RecipeError` where there can be none.
    """
    threads = overrides.get("training", {}).get("threads")
    settled: dict[str, dict[str, Any]] = {"training": {}, "prediction": {}}
    if not threads:
        threads = max(1, (os.cpu_count() or 1) // options.parallel)
        settled["training"]["threads"] = threads
    torch.set_num_threads(threads)  # as every training will
    recipe = plan_recipe(fingerprint, overrides).recipe
    channels, device = fingerprint.cases[0].channels, options.machine.fabric("32").device
    for name, choice in choose_precisions(recipe, fingerprint.classes, channels, device).items():
        section, key = name.split(".")
        settled[section][key] = choice.precision
    return settled


@contextmanager
def helpers(options: StudyOptions, work: Callable[..., None], *arguments: object) -> Iterator[None]:
    """Run ``work`` in all processes but this one; they end with the block, or at once if it fails.

    ``work`` is a function of a module, called with ``arguments``. None outlives this process, even
    where it is killed: nobody would see what they do.
    """
    context = multiprocessing.get_context("spawn")
    # No daemons: those may have no workers of their own, as training.workers asks for.
    others = [
        context.Process(target=_with_parent, args=(work, arguments))
        for _ in range(options.parallel - 1)
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
