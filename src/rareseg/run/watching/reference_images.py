"""The images that a stream is held against: by default a run's own that nothing was learned from.

They are observed once, at the first call of a watch, by the model that watches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rareseg.data.case_files import read_case_image
from rareseg.data.dataset import open_dataset
from rareseg.data.identity import identify
from rareseg.data.input_images import open_images, open_inputs
from rareseg.data.records import Case, Role
from rareseg.errors import DataError, OutputError, ProblemsError, UsageError
from rareseg.monitoring.observed_features import observe_image
from rareseg.monitoring.watch_state import WatchState
from rareseg.progress import Track
from rareseg.run.setup.own_data import cases_of
from rareseg.run.setup.prepare import Say
from rareseg.run.setup.run_folder import read_about
from rareseg.run.watching.watched_model import WatchedModel, observation
from rareseg_runner.preprocessing.photo_channels import with_channels

HELD_OUT: tuple[Role, ...] = ("validation", "certify", "test")
"""Roles of cases that the networks learned nothing from; in folds validation is learned from."""

MOST_TRAINING = 2000
"""Images of the training that are kept to find the nearest among, evenly over all."""

_DONE = "reference is whole"
_OWN = "the run's own"


@dataclass(frozen=True)
class StreamImages:
    """The images of a call in their order, with their digests by id, and what was passed over."""

    cases: tuple[Case, ...]
    digests: dict[str, str]
    remarks: tuple[str, ...] = ()


def open_stream(
    images: Path, model: WatchedModel, out: Path, group_from: str | None, say: Say
) -> StreamImages:
    """List the images of a call and their groups.

    Groups are those that the data declare, else what ``group_from`` finds in the ids; where it is
    None, what the run was told with --group-from, as far as the ids match. Raises DataError where
    there is no image.
    """
    inputs = open_inputs(images, channels=model.detector.model.training.files_per_case, out=out)
    cases = _grouped(inputs.cases, model, group_from, say)
    return StreamImages(
        cases, {name: own.image for name, own in identify(cases).items()}, inputs.remarks
    )


def reference_name(reference: Path | None) -> str:
    """Return how a watch notes which reference it has."""
    return _OWN if reference is None else str(reference.resolve())


def observe_reference(
    state: WatchState,
    model: WatchedModel,
    reference: Path | None,
    group_from: str | None,
    *,
    track: Track,
    say: Say,
) -> None:
    """Observe the reference images, where that is not done, and those of the training.

    ``reference`` None is the one that the watch was begun with, else the run's own. Raises
    :class:`OutputError` where it was begun with another, and :class:`DataError` where there are no
    images, naming the remedy, or where one cannot be read.
    """
    known = state.about("reference")
    if known is not None and reference is not None and known != reference_name(reference):
        raise OutputError(
            f"{state.path.parent} holds the stream against {known}, not {reference}; choose "
            "another --out, or leave --reference out."
        )
    if state.about(_DONE):
        return
    if known not in (None, _OWN):
        reference = Path(known)
    cases = (
        _own_cases(model)
        if reference is None
        else _grouped(
            open_images(reference, channels=model.detector.model.training.files_per_case),
            model,
            group_from,
            say,
        )
    )
    state.note("reference", reference_name(reference))  # once it is known that there is one
    digests = {name: own.image for name, own in identify(cases).items()}
    for case in track(cases, "observing the reference", len(cases)):
        if state.part_of(digests[case.id]) is None:
            try:
                state.add("reference", model.observe(case, digests[case.id]))
            except DataError as error:
                raise _named(case, error) from error
    _observe_training(state, model, track, say)
    state.note(_DONE, value=True)


def _own_cases(model: WatchedModel) -> tuple[Case, ...]:
    """Return the run's own cases that the networks learned nothing from."""
    how = "name images of the stream's first weeks with --reference DIR"
    if model.folder is None:
        raise UsageError(f"{model.name} is a bundle alone, which holds no images; {how}.")
    in_folds = model.folder.folds.is_file()
    roles = [role for role in HELD_OUT if not (in_folds and role == "validation")]
    try:
        found = tuple(case for role in roles for case in cases_of(model.folder, role))
    except DataError as error:
        raise DataError(f"{str(error).rstrip('.')}; or {how}.") from error
    if not found:
        raise DataError(
            f"{model.folder.root} has no case that its networks learned nothing from; {how}."
        )
    return found


def _observe_training(state: WatchState, model: WatchedModel, track: Track, say: Say) -> None:
    """Observe what the images of the training show by themselves, where they are still there."""
    if model.folder is None:
        return
    try:
        cases = cases_of(model.folder, "train")
    except DataError as error:
        say(
            f"The nearest images are those of the reference, since those of the training cannot "
            f"be read: {error}"
        )
        return
    cases = cases[:: -(-len(cases) // MOST_TRAINING) or 1]
    digests = {name: own.image for name, own in identify(cases).items()}
    for case in track(cases, "observing the images of the training", len(cases)):
        if state.part_of(digests[case.id]) is None:
            image, _ = with_channels(read_case_image(case), model.detector.model.channels)
            state.add("training", observation(case, digests[case.id], observe_image(image), {}))


def _grouped(
    cases: Sequence[Case], model: WatchedModel, group_from: str | None, say: Say
) -> tuple[Case, ...]:
    """Return the cases with the groups that are told, or that the run was told of."""
    usual = None if model.folder is None else read_about(model.folder)["group_from"]
    pattern = usual if group_from is None else group_from
    if not pattern or (group_from is None and any(case.group for case in cases)):
        return tuple(cases)
    try:
        dataset = open_dataset(
            [replace(case, mask=None) for case in cases],
            group_from=pattern,
            missing_mask="negative",
        )
        if dataset.problems:
            raise ProblemsError(dataset.problems)
    except (UsageError, DataError) as error:
        if group_from is not None:
            raise
        say(f"The groups of the run are not those of these images: {error}")
        return tuple(cases)
    return dataset.cases


def _named(case: Case, error: DataError) -> DataError:
    text = str(error)
    return error if str(case.images[0]) in text else DataError(f"{case.images[0]}: {text}")
