"""Open the scores of another tool with their references."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from rareseg.data.case_files import read_case_image, readers_at_once
from rareseg.data.checks.fingerprint import Fingerprint, inspect_dataset
from rareseg.data.checks.problems import other_than
from rareseg.data.identity import DIGESTS, content_hash
from rareseg.data.records import Case, Dataset, Role
from rareseg.data.references import LABELS_ALONE
from rareseg.data.score_files.image_score_files import NAME as PRESENCES
from rareseg.data.score_files.image_score_files import Presences, read_presences
from rareseg.data.score_files.mask_files import (
    hold_label_values,
    list_masks,
    read_label_scores,
    read_region_scores,
    what_files_hold,
)
from rareseg.data.score_files.probability_files import (
    ProbabilityFiles,
    list_probabilities,
    read_probabilities,
)
from rareseg.data.store.case_labels import read_labels as read_class_indices
from rareseg.errors import DataError, ProblemsError, ScoreError, nearest
from rareseg.evaluation.tables.component_table import GRID
from rareseg.evaluation.tables.score_table import ScoreTable, region_references
from rareseg.progress import Track, silent
from rareseg.report.report_content import find_leakage
from rareseg.run.scores.case_scoring import (
    COUNTERS,
    Points,
    Scored,
    ScoredCase,
    count_case,
    grid_of,
    merge_scored,
)
from rareseg.run.setup.known_cases import image_digests, read_known_cases
from rareseg.run.setup.run_folder import DataOptions, RunFolder
from rareseg.run.setup.split_files import read_split, read_split_images
from rareseg_runner.image_records import Classes, Image

_LOWEST_TOP = np.float32(1.0) / np.float32(255.0)
"""Where no score of any case is above it, 8-bit files hold the numbers of classes."""


@dataclass(frozen=True)
class ScoreFiles:
    """Scores that another tool wrote, and the references that they are compared with.

    ``probabilities`` is a folder as :mod:`rareseg.data.score_files.probability_files` describes it;
    where it holds an ``image_scores.csv`` (:mod:`rareseg.data.score_files.image_score_files`),
    gates read that too. ``split`` is a table with the columns id and role, as a run's split.csv;
    without one, a manifest's split column gives the roles. ``finished`` says that the folder holds
    finished masks (:mod:`rareseg.data.score_files.mask_files`), scores of 0 and 1.
    """

    probabilities: Path
    references: DataOptions
    split: Path | None = None
    finished: bool = False


@dataclass(frozen=True)
class OpenedScores:
    """Scores and references that were found to fit by name.

    ``roles`` is empty where none was declared. ``channels`` are the declared regions in the order
    of a file's channels. ``presences`` are what ``image_scores.csv`` says, None where it is not
    there. ``finished`` is that of :class:`ScoreFiles`.
    """

    dataset: Dataset
    fingerprint: Fingerprint
    files: ProbabilityFiles
    roles: Mapping[str, Role]
    classes: Classes
    channels: tuple[str, ...]
    presences: Presences | None = None
    finished: bool = False

    def cases(self, role: Role) -> tuple[Case, ...]:
        """Return the cases of a role; all of them play every role where none was declared."""
        return tuple(case for case in self.dataset.cases if self.roles.get(case.id, role) == role)

    def scored_regions(self, table: ScoreTable) -> tuple[str, ...]:
        """Return the regions that have scores in a table, in the order of the classes."""
        return tuple(name for name in self.classes.regions if name in table.regions)

    @property
    def has_images(self) -> bool:
        """Whether the references come with their images, and are not label maps alone."""
        return self.dataset.layout != LABELS_ALONE

    @property
    def digest(self) -> str:
        """A hash that changes where a file of scores or references, or a role, does."""
        digest = hashlib.sha256(content_hash(self.dataset).encode())
        for case, by_region in sorted(self.files.files.items()):
            for region, path in sorted(by_region.items()):
                digest.update(json.dumps([case, region, path.name, DIGESTS.of(path)]).encode())
        if self.presences is not None:
            digest.update(json.dumps(self.presences, sort_keys=True).encode())
        digest.update(json.dumps(sorted(self.roles.items())).encode())
        return digest.hexdigest()


def open_scores(
    wanted: ScoreFiles,
    *,
    roles: Sequence[Role],
    known: tuple[Classes, tuple[str, ...]] | None = None,
    masks_too: bool = False,
    track: Track = silent,
) -> OpenedScores:
    """List scores and references, see that they fit by name, and inspect the references.

    Every case of ``roles`` needs scores (all cases where no role is declared). ``known`` are the
    classes and channels of points that were chosen before, otherwise they are those of the data.
    With ``masks_too``, label maps in place of scores are opened as finished masks.

    Raises :class:`DataError` where files are missing or belong to no case, a folder is no region,
    roles are missing for some cases, a group was given several, or an ``image_scores.csv`` does not
    fit; :class:`ProblemsError` for references with problems. That no reference is positive, or
    none holds a class that is declared, is no problem.
    """
    dataset = wanted.references.open_references()
    declared = _roles(dataset, wanted.split)
    ids = [case.id for case in dataset.cases]
    needed = [i for i in ids if declared.get(i, roles[0]) in roles]
    folder = Path(wanted.probabilities)
    holds = "masks" if wanted.finished else what_files_hold(folder) if masks_too else "scores"
    files = list_probabilities(folder, ids, needed) if holds == "scores" else None
    fingerprint = _inspect(dataset, track)
    problems = other_than(fingerprint.problems, {"no positive case", "absent class"})
    if problems:
        raise ProblemsError(problems)
    leakage = find_leakage(fingerprint, declared)
    if leakage.shared_groups:
        raise DataError(
            f"{dataset.root} gives {leakage.shared_groups} groups several roles (such as "
            f"{leakage.example}), which leaks from one into the other; give all cases of a group "
            "one role."
        )
    classes, channels = known or (fingerprint.classes, tuple(dataset.regions or ()))
    if holds == "either":
        holds = "masks" if hold_label_values(folder, classes) else "scores"
    if holds == "masks":
        masks = list_masks(folder, ids, needed, classes.regions)
        return OpenedScores(dataset, fingerprint, masks, declared, classes, channels, finished=True)
    files = files or list_probabilities(folder, ids, needed)
    for region in files.regions:
        if region not in classes.regions:
            raise DataError(
                f"{files.folder / region} is named after no region"
                f"{nearest(region, classes.regions)}; allowed are {', '.join(classes.regions)}."
            )
    table, presences = files.folder / PRESENCES, None
    if table.is_file():
        presences = read_presences(table, known=ids, needed=needed, regions=classes.regions)
        _require_image_scores(files.folder, files.regions, presences[needed[0]] if needed else None)
    return OpenedScores(dataset, fingerprint, files, declared, classes, channels, presences)


def _inspect(dataset: Dataset, track: Track) -> Fingerprint:
    """Inspect the references; label maps that look alike say nothing of their images."""
    fingerprint = inspect_dataset(dataset, track=track)
    if dataset.layout != LABELS_ALONE:
        return fingerprint
    warnings = tuple(other_than(fingerprint.warnings, {"look-alikes"}))
    return replace(fingerprint, look_alikes=(), compared=(), warnings=warnings)


def read_scores(
    opened: OpenedScores,
    cases: Sequence[Case],
    *,
    role: Role | None,
    points: Sequence[Points] = (),
    track: Track = silent,
    doing: str = "reading scores",
) -> Scored:
    """Return everything that is counted in the cases, from their files.

    Components are counted at the thresholds of the first of ``points`` too.

    Raises :class:`ProblemsError` that names every file which cannot be used, and
    :class:`ScoreError` where the files hold no scores as a whole.
    """
    grid = grid_of(points[0]) if points else GRID

    def count(case: Case) -> Scored | str:
        try:
            parts = [
                count_case(scored, classes, role=role, points=points, detailed=True, grid=grid)
                for scored, classes in read_case(opened, case)
            ]
        except (DataError, ScoreError) as error:
            return str(error) if case.id in str(error) else f"case '{case.id}': {error}"
        if len(parts) > 1:
            parts = [replace(part, confusion=None) for part in parts]
        return merge_scored(parts, n_points=len(points))

    # A voxel takes a byte of an image or mask at least, and four a class of its scores.
    at_once = readers_at_once(cases, COUNTERS, times=1 + 4 * opened.classes.count)
    work = Parallel(at_once, prefer="threads", return_as="generator", pre_dispatch=at_once)
    found = list(track(work(delayed(count)(case) for case in cases), doing, len(cases)))
    problems = [problem for problem in found if isinstance(problem, str)]
    if problems:
        raise ProblemsError(problems, remedy="mend these files and call again")
    scored = merge_scored(
        [part for part in found if isinstance(part, Scored)], n_points=len(points)
    )
    _require_scores(opened, scored, len(cases))
    return scored


def read_case(opened: OpenedScores, case: Case) -> Iterator[tuple[ScoredCase, Classes]]:
    """Yield one case with all its classes, or where regions have scores of their own, each region.

    A region alone is scored as a class of its own against background. Raises
    :class:`ReadError` and :class:`DataError` as the readers do.
    """
    classes = opened.classes
    said = None if opened.presences is None else opened.presences[case.id]
    image = read_case_image(case)
    labels = read_class_indices(case, classes, image)
    own = {
        region: _read_scores(opened, region, path, image)
        for region, path in opened.files.files[case.id].items()
    }
    if "" in own:
        path, array = opened.files.files[case.id][""], own.pop("")
        meaning = () if opened.finished else _meaning(path, len(array), classes, opened.channels)
        if not meaning:
            _require_image_scores(opened.files.folder, classes.regions, said)
            yield ScoredCase(case, image, labels, array, said), classes
            return
        own = {region: array[k : k + 1] for k, region in enumerate(meaning)}
    references = region_references(labels, classes)
    for region in (name for name in classes.regions if name in own):
        score = own[region]
        if len(score) != 1:
            raise DataError(
                f"{opened.files.files[case.id][region]} holds {len(score)} channels; a region's "
                "file holds one, the score of that region."
            )
        alone = Classes(("background", region), (0, 1), {region: (1,)})
        both = np.concatenate([np.float32(1.0) - score, score])
        _require_image_scores(opened.files.folder, (region,), said)
        yield ScoredCase(case, image, references[region], both, said), alone


def _read_scores(
    opened: OpenedScores, region: str, path: Path, image: Image
) -> NDArray[np.float32]:
    """Return what a file holds, (channel, z, y, x): scores, or finished masks as such."""
    if not opened.finished:
        return read_probabilities(path, image)
    return (
        read_region_scores(path, image)
        if region
        else read_label_scores(path, image, opened.classes)
    )


def _require_image_scores(
    folder: Path, regions: Iterable[str], said: Mapping[str, float] | None
) -> None:
    """Raise DataError where there are scores of a region, but no presence, while others have it."""
    if said is None:
        return
    for region in regions:
        if region not in said:
            raise DataError(
                f"{folder / PRESENCES} names the regions {', '.join(said)}, but {folder} holds "
                f"scores of '{region}' too; add its lines, or take {PRESENCES} away."
            )


def _meaning(path: Path, n: int, classes: Classes, channels: tuple[str, ...]) -> tuple[str, ...]:
    """Return the regions that a file's channels stand for; none where they are the classes."""
    if n == classes.count and n == len(channels):
        raise DataError(
            f"{path} holds {n} channels, which can be the {n} classes or the {n} regions; write "
            f"one folder per region ({', '.join(channels)})."
        )
    if n == classes.count:
        return ()
    if n == len(channels):
        return channels
    if n == 1 and classes.count == 2:
        return tuple(classes.regions)[:1]
    regions = f", the {len(channels)} declared regions ({', '.join(channels)})" if channels else ""
    raise DataError(
        f"{path} holds {n} channels; allowed are the {classes.count} classes "
        f"({', '.join(classes.names)}){regions}, one of a single class, or a folder per region."
    )


def _require_scores(opened: OpenedScores, scored: Scored, n_cases: int) -> None:
    """Raise ScoreError where cases differ in their regions, or the files look like masks."""
    folder = opened.files.folder
    for region in scored.table.regions:
        n = len(scored.table.select(region=region))
        if n != n_cases:
            raise ScoreError(
                f"{folder} has scores of region '{region}' for {n} of {n_cases} cases; write the "
                "same channels for every case."
            )
    top = max((row.top for row in scored.table), default=0.0)
    if 0.0 < top <= _LOWEST_TOP and any(row.n_inside for row in scored.table):
        raise ScoreError(
            f"{folder} holds no score above {top:.4f}, as label maps read as 8-bit scores do; name "
            "the folder of the probabilities, scaled by 255 or 65535."
        )


def _roles(dataset: Dataset, split: Path | None) -> dict[str, Role]:
    """Return the role of every case, or nothing where none is declared."""
    roles = {case.id: case.role for case in dataset.cases if case.role is not None}
    source = str(dataset.root)
    if split is not None:
        read = read_split(split)
        _require_split_of(dataset, split)
        roles = {case.id: read[case.id] for case in dataset.cases if case.id in read}
        source = str(split)
    without = [case.id for case in dataset.cases if case.id not in roles]
    if without and (roles or split is not None):
        raise DataError(
            f"{source} gives no role to {len(without)} of {len(dataset.cases)} cases (the first is "
            f"'{without[0]}'); give every case one, or none to any."
        )
    return roles


def _require_split_of(dataset: Dataset, split: Path) -> None:
    """Raise where a split was made of other images, or was edited in the run that it lies in."""
    if split.name == RunFolder(split.parent).split.name:
        read_known_cases(RunFolder(split.parent))
    made_of, images = read_split_images(split), image_digests(dataset.cases)
    other = [name for name, image in images.items() if image and made_of.get(name, image) != image]
    if other:
        raise DataError(
            f"{split} was made of other images than those of {dataset.root}: {len(other)} of "
            f"{len(images)} differ (the first is '{other[0]}'); name the data that it belongs to, "
            "or take its column image away."
        )
