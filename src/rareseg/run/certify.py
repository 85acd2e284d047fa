"""Promise something of a run's model, on cases that nothing else has seen where there are any."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rareseg.data.fingerprint import CaseFacts, Fingerprint, content_hash, inspect_dataset
from rareseg.data.formats import read_mask
from rareseg.data.preprocess import class_indices
from rareseg.data.problems import other_than
from rareseg.data.records import IGNORE, Case, Classes, Dataset
from rareseg.decision.group_losses import Table, needs_components
from rareseg.decision.guarantees import Promise
from rareseg.decision.operating_point import Infeasible, OperatingPoint
from rareseg.decision.promises import (
    Kept,
    Witnesses,
    keep_promise,
    refuse_count,
)
from rareseg.errors import DataError, ProblemsError
from rareseg.evaluation.component_table import ComponentTable
from rareseg.evaluation.intervals import count_groups
from rareseg.evaluation.scores import ScoreTable
from rareseg.evaluation.storage import save_table
from rareseg.prediction.bundle import Bundle, load_bundle, save_statements, weights_digest
from rareseg.prediction.predictor import Predictor
from rareseg.progress import Track, silent
from rareseg.run.folder import (
    DataOptions,
    RunFolder,
    open_run,
    read_about,
    read_evaluated,
    read_split,
)
from rareseg.run.model_card import write_model_card
from rareseg.run.prepare import Say, nobody
from rareseg.run.scoring import score_all
from rareseg.run.statements import arithmetic_of, describe_promise, ended
from rareseg.run.tune import Rule, asked_regions, cases_of, select_tables

Promised = Mapping[str, Kept | Infeasible]
"""What came of a promise in each region."""

_SEEN_BEFORE = "these cases were asked for another promise before, and can certify only once"
_EVALUATED = "an evaluation has shown before how the model does on these cases"
_OUT_OF_FOLD = (
    "each was scored by one fold's network, not by the mean of all that is used, and chose the "
    "point (keep some for split.certify, or name unseen ones with --certify-on)"
)
_SELECTED = (
    "the select cases chose checkpoint and point (keep some for split.certify, or name unseen ones "
    "with --certify-on)"
)


@dataclass(frozen=True)
class Source:
    """The cases that are to stand for a promise, before they are scored."""

    cases: tuple[Case, ...]
    role: str
    digest: str
    independent: bool
    why_estimate: str


def certify(
    run: Path | str,
    promise: Promise,
    *,
    region: str | None = None,
    certify_on: DataOptions | Path | str | None = None,
    rule: Rule | None = None,
    device: str | torch.device = "cpu",
    track: Track = silent,
    say: Say = nobody,
) -> Promised:
    """Move the points of every region, or of one, to where a promise holds, and store both.

    Cases come from ``certify_on``, else from the run's certify role, and make a certificate; else
    from the select cases, and make an estimate. The way starts at the point that ``rule`` chooses
    on the select cases; where None, at the best for the recipe's objective. All regions of one call
    share the confidence. Cases certify once: of what is asked of them later, of whichever region,
    there is an estimate. An earlier certificate that a moved point ends is said. Where they are too
    few whatever their scores, they are not scored and stay unused. A region for which the promise
    is infeasible keeps its point.

    Raises :class:`UsageError` for an unknown region, :class:`RunError` for a folder that is no
    finished run, and :class:`DataError` where cases to certify on were seen by the model.
    """
    folder = open_run(Path(run))
    bundle = load_bundle(folder.bundle)
    wanted = asked_regions(bundle.classes.regions, region)
    source = _source(folder, bundle, certify_on, track, say)
    select = select_tables(folder, bundle, device=device, track=track)
    decision = bundle.recipe.decision
    rule = rule or Rule.of(decision.maximize, decision.sizes)
    asked = {name: rule.choose(select, name).found for name in wanted}
    promise = declared(promise, asked)
    starts, found = enough_groups(promise, asked, source.cases, bundle.classes)
    if starts:
        arithmetic = arithmetic_of(bundle, weights_digest(folder.bundle), device)
        tables = _tables(folder, bundle, source, select, device, track)
        found |= keep_each(promise, starts, tables, source, arithmetic, bundle.spent)
        kept = {name: result for name, result in found.items() if isinstance(result, Kept)}
        for line in ended(kept, bundle.points, bundle.certificates):
            say(line)
        save_statements(
            folder.bundle,
            {name: result.point for name, result in kept.items()},
            {name: result.statement for name, result in kept.items()},
            spending(promise, starts, source),
        )
        write_model_card(folder)
    ordered = {name: found[name] for name in wanted}
    for result in ordered.values():
        say(describe_promise(result))
    return ordered


def declared(promise: Promise, asked: Mapping[str, OperatingPoint | Infeasible]) -> Promise:
    """Return the promise as one of those that are made of all regions on the same cases.

    A confidence is shared among them; promises in expectation each hold by themselves.
    """
    together = sum(isinstance(found, OperatingPoint) for found in asked.values())
    return promise if promise.confidence is None else replace(promise, together=max(1, together))


def enough_groups(
    promise: Promise,
    asked: Mapping[str, OperatingPoint | Infeasible],
    cases: Sequence[Case],
    classes: Classes,
) -> tuple[dict[str, OperatingPoint], dict[str, Kept | Infeasible]]:
    """Return the points from which a promise may be kept, and what refuses it in other regions.

    From the masks of the cases that are to stand for it alone, so that no score is used up.
    """
    starts: dict[str, OperatingPoint] = {}
    refused: dict[str, Kept | Infeasible] = {}
    for name, start in asked.items():
        if isinstance(start, Infeasible):
            refused[name] = start
            continue
        few = refuse_count(promise, name, _count_groups(cases, classes, name, promise))
        if few is None:
            starts[name] = start
        else:
            refused[name] = few
    return starts, refused


def keep_each(
    promise: Promise,
    starts: Mapping[str, OperatingPoint],
    tables: Mapping[bool, tuple[Table, Table]],
    source: Source,
    arithmetic: Mapping[str, Any],
    spent: Mapping[str, Mapping[str, str]],
) -> dict[str, Kept | Infeasible]:
    """Return what comes of a promise in each region, from where its way starts.

    ``tables`` are (select, witnesses) as score tables (False) and as component tables (True);
    ``spent`` says which cases were asked to stand for what before.
    """
    found: dict[str, Kept | Infeasible] = {}
    # Whatever was asked of these cases first, of all regions in one call, is all they stand for.
    first = {region: used[source.digest] for region, used in spent.items() if source.digest in used}
    for name, start in starts.items():
        asked = _asked(promise, start)
        unseen = source.independent and (not first or first.get(name) == asked)
        why = source.why_estimate if not source.independent else _SEEN_BEFORE
        select, own = tables[needs_components(promise, start)]
        witnesses = Witnesses(own, source.role, source.digest, arithmetic, unseen, why)
        found[name] = keep_promise(promise, start, select=select, witnesses=witnesses)
    return found


def spending(
    promise: Promise, starts: Mapping[str, OperatingPoint], source: Source
) -> dict[str, tuple[str, str]]:
    """Return which cases were used up for what in each region: (digest, what was asked)."""
    if not source.independent:
        return {}
    return {name: (source.digest, _asked(promise, start)) for name, start in starts.items()}


def _source(
    folder: RunFolder,
    bundle: Bundle,
    certify_on: DataOptions | Path | str | None,
    track: Track,
    say: Say,
) -> Source:
    """Return the cases that are to stand for a promise; new ones are grouped as in the run."""
    if certify_on is not None:
        if not isinstance(certify_on, DataOptions):
            certify_on = DataOptions(str(certify_on))
        certify_on = certify_on.like(read_about(folder))
        dataset = certify_on.open()
        say(f"{dataset.root}: {certify_on.grouping(dataset)}")
        _refuse_seen(folder, bundle, certify_on, dataset, track)
        digest = content_hash(dataset)
        if digest in read_evaluated(folder):
            return Source(dataset.cases, "certify", digest, False, _EVALUATED)
        return Source(dataset.cases, "certify", digest, True, "")
    digest = str(bundle.trained["data"])
    own = tuple(cases_of(folder, "certify"))
    if own:
        return Source(own, "certify", digest, True, "")
    if folder.folds.is_file():
        learnt = tuple(cases_of(folder, "train"))
        return Source(learnt, "out-of-fold", digest, False, _OUT_OF_FOLD)
    return Source(tuple(cases_of(folder, "select")), "select", digest, False, _SELECTED)


def _refuse_seen(
    folder: RunFolder, bundle: Bundle, options: DataOptions, dataset: Dataset, track: Track
) -> None:
    """Raise where the model was made from any of the cases, or where they cannot be read."""
    same_path = str(Path(options.path).resolve()) == read_about(folder)["path"]
    if same_path or content_hash(dataset) == bundle.trained["data"]:
        raise DataError(
            f"{options.path} is what the model was trained on; name cases that it has not seen, "
            "or train with --set split.certify=0.2 and leave --certify-on out."
        )
    fingerprint = inspect_dataset(dataset, track=track)
    # Images known to be empty serve for the false-alarm promise.
    problems = other_than(fingerprint.problems, {"no positive case"})
    if problems:
        raise ProblemsError(problems)
    roles = read_split(folder.split)
    for mine, theirs in shared_cases(Fingerprint.from_json(folder.fingerprint), fingerprint):
        role = roles.get(mine.id)
        if role in ("train", "select"):
            together = mine.group is not None and mine.group == theirs.group
            what = f"of the same group ('{mine.group}') as" if together else "the same image as"
            raise DataError(
                f"Case '{theirs.id}' of {options.path} is {what} the run's "
                f"{role} case '{mine.id}'; cases that certify must be new to the model, so leave "
                "it out."
            )


def shared_cases(mine: Fingerprint, theirs: Fingerprint) -> Iterator[tuple[CaseFacts, CaseFacts]]:
    """Yield pairs of cases that are of one group, or hold the same image."""

    def marks(case: CaseFacts) -> list[object]:
        image = ("image", case.thumbnail_hash, case.shape, case.intensities)
        return [image] if case.group is None else [image, ("group", case.group)]

    known: dict[object, list[CaseFacts]] = {}
    for case in mine.cases:
        for mark in marks(case):
            known.setdefault(mark, []).append(case)
    for case in theirs.cases:
        for mark in marks(case):
            for other in known.get(mark, ()):
                yield other, case


def _count_groups(cases: Sequence[Case], classes: Classes, region: str, promise: Promise) -> int:
    """Return how many groups have a case that the promise is about, from the masks alone."""
    members = list(classes.regions[region])
    groups = []
    for case in cases:
        positive, counts = False, True
        if case.mask is not None:
            labels = class_indices(read_mask(case.mask).array, classes.values, classes.ignore_value)
            positive = bool(np.isin(labels, members).any())
            counts = bool((labels != IGNORE).any())
        if counts and promise.is_about(positive=positive):
            groups.append(case.group)
    return count_groups(groups)


def _tables(
    folder: RunFolder,
    bundle: Bundle,
    source: Source,
    select: tuple[ScoreTable, ComponentTable],
    device: str | torch.device,
    track: Track,
) -> Mapping[bool, tuple[Table, Table]]:
    """Return (select, certify) as score tables (False) and as component tables (True).

    The bundle as it stands scores the cases.
    """
    scores, components = select
    if source.role in ("select", "out-of-fold"):
        return {False: (scores, scores), True: (components, components)}
    own = score_all(
        Predictor(bundle, device=device),
        source.cases,
        role="certify",
        closely=True,
        track=track,
        doing="scoring certify cases",
    )
    save_table(own.table, folder.scores("certify"))
    return {False: (scores, own.table), True: (components, own.components)}


def _asked(promise: Promise, start: OperatingPoint) -> str:
    """Return what cases are asked to stand for: the promise, and where the way to it starts."""
    cut = (start.threshold, start.gate, start.smallest_component.plain)
    return json.dumps([asdict(promise), cut])
