"""Prepare a run: inspect data, plan the recipe, split, build the store.

Every stage leaves its result in the run's folder and takes it from there the next time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lightning_fabric import Fabric

from rareseg.data.checks.fingerprint import Fingerprint, inspect_dataset
from rareseg.data.identity import is_content
from rareseg.data.records import Case, Dataset, Role
from rareseg.data.splits import make_folds, make_split
from rareseg.data.store.build import build_store
from rareseg.data.store.store import Store
from rareseg.errors import ProblemsError, RecipeError, RunError, UsageError
from rareseg.prediction.networks import require_fitting_windows
from rareseg.progress import Track, silent
from rareseg.recipe import (
    Overrides,
    Recipe,
    differences,
    make_recipe,
    merge,
    parse_settings,
    read_overrides,
    read_recipe,
    to_yaml,
)
from rareseg.run.setup.initial_weights import note_cases
from rareseg.run.setup.known_cases import image_digests
from rareseg.run.setup.network_folds import Folds
from rareseg.run.setup.run_folder import DataOptions, RunFolder, begin_run, note_path
from rareseg.run.setup.seen_images import remember_looks
from rareseg.run.setup.split_files import read_folds, read_split, write_folds, write_split
from rareseg.training.plan import Plan, check_overrides, make_preprocessing, plan_recipe
from rareseg.training.plan.plan_split import few_groups_sentence
from rareseg_runner.atomic_files import atomic_write
from rareseg_runner.decision.component_size import unit_of

Say = Callable[[str], None]
"""Takes one line of news."""


def say_nothing(line: str) -> None:
    """Take a line of news and tell nobody."""


@dataclass(frozen=True)
class TrainingOptions:
    """What the user asks of a run beside the data.

    ``recipe`` is a recipe file, complete or partial; ``settings`` are ``section.key=value`` and win
    over it; ``budget`` is a duration such as ``"20min"`` for the whole call.
    """

    recipe: Path | None = None
    settings: Sequence[str] = ()
    budget: str | None = None

    def overrides(self) -> dict[str, dict[str, object]]:
        """Return what is set, as nested values; a budget leaves the steps of a file aside.

        Raises :class:`UsageError` where steps are set beside a budget.
        """
        from_file = {} if self.recipe is None else read_overrides(self.recipe)
        set_here = parse_settings(self.settings)
        if self.budget is not None:
            if "steps" in set_here.get("training", {}):
                raise UsageError(
                    f"--budget {self.budget} and --set training.steps both say how long to train; "
                    "leave one of them out."
                )
            from_file.get("training", {}).pop("steps", None)
        return merge(from_file, set_here)

    @property
    def source(self) -> str:
        """Where the values come from, for sentences about them."""
        places = [str(self.recipe)] if self.recipe else []
        return " and ".join([*places, *(["--set"] if self.settings else [])]) or "recipe"


@dataclass(frozen=True)
class Machine:
    """Where to compute: ``accelerator`` as Lightning Fabric names it, devices and nodes."""

    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1

    def fabric(self, precision: str) -> Fabric:
        """Return the Fabric for ``precision`` (``"32"`` or ``"bf16"``), not launched yet."""
        return Fabric(
            accelerator=self.accelerator,
            devices=self.devices,
            num_nodes=self.nodes,
            strategy="ddp" if self.devices * self.nodes > 1 else "auto",
            precision="bf16-mixed" if precision == "bf16" else "32-true",
        )


@dataclass(frozen=True)
class SharedInputs:
    """What several runs have in common or were given by others, in place of finding it anew.

    ``store`` is the folder of a store that all share; it is written where it does not stand.
    """

    fingerprint: Fingerprint
    recipe: Recipe
    roles: Mapping[str, Role]
    store: Path


@dataclass(frozen=True)
class JobInputs:
    """What one network learns from and is validated on, and where its state and log lie.

    ``unseen`` are the cases of the folds that it leaves out; none without folds.
    ``recipe`` is another than the run's.
    """

    train: Store
    validate: Store
    folder: Path
    unseen: tuple[Case, ...]
    recipe: Recipe | None = None


@dataclass(frozen=True)
class PreparedRun:
    """A run that is ready to learn."""

    folder: RunFolder
    dataset: Dataset
    fingerprint: Fingerprint
    plan: Plan
    roles: dict[str, Role]
    folds: Folds
    store: Store

    @property
    def recipe(self) -> Recipe:
        """The complete recipe."""
        return self.plan.recipe

    def cases(self, role: Role) -> list[Case]:
        """Return the cases that play ``role``."""
        return [case for case in self.dataset.cases if self.roles[case.id] == role]

    def part(self, role: Role) -> Store:
        """Return the store of the cases that play ``role``."""
        return self.store.subset(case.id for case in self.cases(role))

    def job_inputs(self) -> tuple[JobInputs, ...]:
        """Return the inputs of the run's network, or of one for each fold."""
        if not self.folds:
            return (
                JobInputs(self.part("train"), self.part("validation"), self.folder.training, ()),
            )
        return tuple(
            JobInputs(
                self.store.subset(self.folds.seen_by(network)),
                self.store.subset(self.folds.unseen_by(network)),
                self.folder.training / f"fold_{network}",
                tuple(c for c in self.dataset.cases if self.folds.leaves_out(network, c.id)),
            )
            for network in range(self.folds.count)
        )


def prepare_run(
    data: DataOptions,
    out: Path,
    training_options: TrainingOptions,
    *,
    shared: SharedInputs | None = None,
    track: Track = silent,
    say: Say = say_nothing,
) -> PreparedRun:
    """Bring a run to the point where it can learn, or take up the one that stands at ``out``.

    What is ``shared`` is not found anew; ``training_options`` beside it are not read.

    Raises :class:`ProblemsError` for data with problems, :class:`RecipeError` for impossible
    settings, :class:`OutputError` and :class:`RunError` where ``out`` holds something else, a run
    begun with other settings, or a run of data that changed since.
    """
    overrides = training_options.overrides() if shared is None else shared.recipe.model_dump()
    check_overrides(overrides, source=training_options.source)
    dataset = data.open()
    folder = begin_run(out, data)
    if shared is not None and not folder.fingerprint.is_file():
        shared.fingerprint.to_json(folder.fingerprint)
    fingerprint = _inspect(dataset, folder, track)
    note_path(folder, data)
    plan = _plan(fingerprint, folder, overrides)
    roles = _split(dataset, fingerprint, plan.recipe, folder, shared)
    folds = _folds(fingerprint, roles, plan.recipe, folder)
    note_cases(folder, dataset.cases, plan.recipe, roles, say=say)
    store = build_store(
        dataset,
        folder.store if shared is None else shared.store,
        preprocessing=make_preprocessing(plan.recipe, fingerprint),
        fingerprint=fingerprint,
        track=track,
    )
    counts = {role: sum(1 for r in roles.values() if r == role) for role in set(roles.values())}
    say(
        ", ".join(
            f"{counts[role]} cases {role}"
            for role in ("train", "validation", "certify", "test")
            if role in counts
        )
    )
    if folds:
        say(folds.sentence)
    few = few_groups_sentence(fingerprint)
    if few and set(roles.values()) == {"train"} and not folds:
        say(f"{few}.")
    return PreparedRun(folder, dataset, fingerprint, plan, roles, folds, store)


def write_recipe(folder: RunFolder, plan: Plan) -> None:
    """Write the recipe with its reasons."""
    with atomic_write(folder.recipe) as temporary:
        temporary.write_text(to_yaml(plan.recipe, plan.reasons), encoding="utf-8")


def require_answers(fingerprint: Fingerprint) -> None:
    """Raise :class:`ProblemsError` for data with problems, or with a question left open.

    A question is a warning that names the option by which it is answered.
    """
    found = (*fingerprint.problems, *fingerprint.questions)
    if found:
        raise ProblemsError(found)


def _without_automatic(overrides: Overrides) -> Overrides:
    """Leave out what was left to the machine, which settled it when the run began."""
    left: dict[str, dict[str, object]] = {
        "training": {"threads": 0, "precision": "auto"},
        "prediction": {"precision": "auto"},
    }
    return {
        section: {k: v for k, v in values.items() if v != left.get(section, {}).get(k)}
        for section, values in overrides.items()
    }


def _inspect(dataset: Dataset, folder: RunFolder, track: Track) -> Fingerprint:
    if folder.fingerprint.is_file():
        fingerprint = Fingerprint.from_json(folder.fingerprint)
        if is_content(dataset, fingerprint.content_hash):
            return fingerprint
        if folder.recipe.is_file():
            raise RunError(
                f"the files of {dataset.root} have changed since {folder.root} was begun; "
                "choose another --out for the new data."
            )
    fingerprint = inspect_dataset(dataset, track=track)
    require_answers(fingerprint)
    # The fingerprint last: where it stands, a run that was killed inspects nothing again.
    remember_looks(folder.look_alikes, dataset.cases, fingerprint.compared)
    fingerprint.to_json(folder.fingerprint)
    return replace(fingerprint, compared=())


def _plan(fingerprint: Fingerprint, folder: RunFolder, overrides: Overrides) -> Plan:
    """Take the recipe that the run was begun with, or plan one and fix what the machine decides.

    The precisions alone are left to :func:`rareseg.run.setup.precision.with_precision`.
    """
    if folder.recipe.is_file():
        begun = _with_precision_of_prediction(read_recipe(folder.recipe))
        asked = merge(begun.model_dump(), _without_automatic(overrides))
        changed = differences(begun, make_recipe(asked))
        if changed:
            raise RunError(
                f"{folder.root} was begun with another recipe ({'; '.join(changed[:3])}); "
                "choose another --out, or call it without these settings to go on."
            )
        return Plan(begun, read_reasons(folder.recipe))
    plan = plan_recipe(fingerprint, overrides)
    require_fitting_windows(plan.recipe)
    flat = all(case.dimension == 2 for case in fingerprint.cases)
    # Refused here, and not after hours of training.
    unit = unit_of((case.spacing for case in fingerprint.cases), flat=flat)
    plan.recipe.decision.smallest_component.fitting(unit)
    training = plan.recipe.training
    reasons = dict(plan.reasons)
    settled: dict[str, object] = {}
    if plan.recipe.split.folds:
        if overrides.get("training", {}).get("validations", 1) != 1:
            raise RecipeError(
                "training.validations must be 1 with split.folds: a checkpoint that is chosen on "
                "the fold held out has seen it. Leave it out."
            )
        settled["validations"] = 1
        reasons["training.validations"] = (
            "each fold keeps its last weights, so that nothing was chosen on the cases held out"
        )
    if training.threads == 0:
        settled["threads"] = os.cpu_count() or 1
        reasons["training.threads"] = "the cores of the machine on which the run began"
    recipe = make_recipe(merge(plan.recipe.model_dump(), {"training": settled}))
    return Plan(recipe, reasons)


def _with_precision_of_prediction(begun: Recipe) -> Recipe:
    """Return the recipe of a run begun when prediction had no precision of its own."""
    if begun.prediction.precision != "auto":
        return begun
    settled = {"prediction": {"precision": begun.training.precision}}
    return make_recipe(merge(begun.model_dump(), settled))


def read_reasons(path: Path) -> dict[str, str]:
    """Read the comment above each value of a recipe file."""
    reasons: dict[str, str] = {}
    section, note = "", ""
    # What is no text is told by who reads the values; here only comments are wanted.
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        text = line.strip()
        if text.startswith("#"):
            note = text.lstrip("# ")
        elif text.endswith(":") and not line.startswith(" "):
            section = text[:-1]
        elif ":" in text:
            if note:
                reasons[f"{section}.{text.split(':')[0]}"] = note
            note = ""
    return reasons


def _split(
    dataset: Dataset,
    fingerprint: Fingerprint,
    recipe: Recipe,
    folder: RunFolder,
    shared: SharedInputs | None,
) -> dict[str, Role]:
    if folder.split.is_file() and folder.recipe.is_file():
        return read_split(folder.split)
    groups = {case.id: case.group for case in dataset.cases}
    if shared is not None:
        write_split(folder.split, shared.roles, groups, image_digests(dataset.cases))
        return dict(shared.roles)
    settings = recipe.split
    shares: dict[Role, float] = {
        "train": settings.train,
        "validation": settings.validation,
        "certify": settings.certify,
        "test": settings.test,
    }
    if settings.folds:
        # Every case that is not kept for a verdict is learnt from, and scored out of its fold.
        shares["train"], shares["validation"] = settings.train + settings.validation, 0.0
    declared = {case.id: case.role for case in dataset.cases if case.role is not None}
    if settings.folds:
        declared = {
            case: "train" if role == "validation" else role for case, role in declared.items()
        }
    roles = make_split(fingerprint, shares=shares, seed=settings.seed, declared=declared)
    write_split(folder.split, roles, groups, image_digests(dataset.cases))
    return roles


def _folds(
    fingerprint: Fingerprint, roles: dict[str, Role], recipe: Recipe, folder: RunFolder
) -> Folds:
    if not recipe.split.folds:
        return Folds({})
    held_out = recipe.split.held_out
    if folder.folds.is_file() and folder.recipe.is_file():
        return Folds(read_folds(folder.folds), held_out)
    learnt = {case for case, role in roles.items() if role == "train"}
    folds = make_folds(fingerprint, count=recipe.split.folds, seed=recipe.split.seed, ids=learnt)
    write_folds(folder.folds, folds)
    return Folds(folds, held_out)
