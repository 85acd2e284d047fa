"""Tune, promise and evaluate for the scores of any other tool: no run of ours is needed.

The folder that :func:`tune_outside` and :func:`certify_outside` write has the places of a run's
folder: ``operating_points.json``, ``decision.json``, ``fingerprint.json``, ``split.csv`` and
``scores/``. It belongs to the very files that it was made from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rareseg.data.fingerprint import Fingerprint
from rareseg.data.records import Role
from rareseg.decision.group_losses import Table
from rareseg.decision.guarantees import Promise
from rareseg.decision.operating_point import (
    Choice,
    Goal,
    Infeasible,
    OperatingPoint,
    choose_operating_point,
    default_point,
)
from rareseg.decision.promises import Kept, check_arithmetic
from rareseg.errors import DataError
from rareseg.evaluation.component_storage import load_components, save_components
from rareseg.evaluation.component_table import ComponentTable
from rareseg.evaluation.scorecard import make_scorecard
from rareseg.evaluation.scores import ScoreTable
from rareseg.evaluation.storage import load_table, save_table
from rareseg.prediction.bundle import add_statements
from rareseg.progress import Track, silent
from rareseg.report.content import (
    CasePicture,
    ReportContent,
    Sentence,
    data_facts,
    find_leakage,
    role_counts,
)
from rareseg.report.pictures import choose_shots
from rareseg.run.certify import (
    Promised,
    Source,
    describe_promise,
    enough_groups,
    keep_each,
    shared_cases,
    speaks_of,
    spending,
)
from rareseg.run.evaluate import CHOSEN, HALF, Evaluation, promise_sentences, write_evaluation
from rareseg.run.folder import RunFolder, claim, read_split, require_free, write_split
from rareseg.run.outside_points import (
    NAME,
    OutsidePoints,
    load_outside_points,
    save_outside_points,
)
from rareseg.run.outside_scores import (
    OpenedOutside,
    Outside,
    open_outside,
    read_case,
    score_outside,
)
from rareseg.run.pictures import take_shot
from rareseg.run.prepare import Say, nobody
from rareseg.run.scoring import Points, Scored
from rareseg.run.tune import Rule, asked_regions, describe_choice, write_choices

ARITHMETIC: Mapping[str, Any] = {"scores": "read from files"}
"""All that is known of what scored the cases."""

PROVENANCE = Sentence(
    "note",
    "The scores were read from files. Points and promises hold for what wrote them: the same "
    "model, at the same settings.",
    "rareseg cannot see which model wrote a file, nor which cases that model was trained on.",
)

_SELECTED = (
    "the select cases chose the point (give some cases the role certify, in a manifest's split "
    "column or a split.csv)"
)


def tune_outside(
    outside: Outside,
    out: Path | str,
    *,
    maximize: str | Goal = "dice",
    region: str | None = None,
    smallest: Sequence[int] | str | None = None,
    track: Track = silent,
    say: Say = nobody,
) -> Mapping[str, Choice]:
    """Choose the operating point of every region, or of one, from files; write both to ``out``.

    As :func:`rareseg.run.tune.choose_points`, on the select cases, which are all of them where no
    role is declared. The tables are kept, so that a repeated call reads no scores again. Writes
    ``operating_points.json``, ``decision.json`` and ``scores/``.

    Raises :class:`OutputError` where ``out`` holds anything else, or points of other files, and as
    :func:`~rareseg.run.outside_scores.open_outside` and ``score_outside`` do.
    """
    rule = Rule.of(maximize, smallest)
    folder, opened, tables = _begin(outside, Path(out), ("select",), region, track)
    regions = asked_regions(_scored_regions(opened, tables[0]), region)
    choices = {name: rule.choose(tables, name) for name in regions}
    found = {name: choice.found for name, choice in choices.items()}
    points = {name: point for name, point in found.items() if isinstance(point, OperatingPoint)}
    decided = _decided(folder, opened)
    save_outside_points(folder.root, replace(decided, points={**decided.points, **points}))
    write_choices(folder.root / "decision.json", choices)
    for choice in choices.values():
        for line in describe_choice(choice):
            say(line)
    return choices


def certify_outside(
    outside: Outside,
    promise: Promise,
    out: Path | str,
    *,
    maximize: str = "dice",
    region: str | None = None,
    track: Track = silent,
    say: Say = nobody,
) -> Promised:
    """Move the points of every region, or of one, to where a promise holds; write both to ``out``.

    As :func:`rareseg.run.certify.certify`. Cases of the role certify make a certificate, once for a
    region, on the caller's word that the tool has not seen them; where there are none, the select
    cases make an estimate. Where they are too few whatever their scores, these are not read.
    Raises as :func:`tune_outside`.
    """
    roles: tuple[Role, ...] = ("select", "certify")
    folder, opened, tables = _begin(outside, Path(out), roles, region, track)
    regions = asked_regions(_scored_regions(opened, tables[0]), region)
    asked = {
        name: choose_operating_point(tables[0], region=name, maximize=maximize) for name in regions
    }
    source = _source(opened)
    starts, found = enough_groups(promise, asked, source.cases, opened.classes)
    if starts:
        decided = _decided(folder, opened)
        own = tables
        if source.independent:
            own = _tables(folder, opened, "certify", track)
        sight: dict[bool, tuple[Table, Table]] = {
            False: (tables[0], own[0]),
            True: (tables[1], own[1]),
        }
        found |= keep_each(promise, starts, sight, source, ARITHMETIC, decided.spent)
        kept = {name: result for name, result in found.items() if isinstance(result, Kept)}
        certificates, spent = add_statements(
            decided.certificates,
            decided.spent,
            {name: result.statement for name, result in kept.items()},
            spending(promise, starts, source),
        )
        points = {**decided.points, **{name: result.point for name, result in kept.items()}}
        save_outside_points(
            folder.root,
            replace(decided, points=points, certificates=certificates, spent=spent),
        )
    ordered = {name: found[name] for name in regions}
    for result in ordered.values():
        say(describe_promise(result))
    return ordered


def evaluate_outside(
    outside: Outside,
    out: Path | str,
    *,
    points: Path | str | None = None,
    track: Track = silent,
) -> Evaluation:
    """Evaluate files at the points of the folder ``points``, or at 0.5; write the result to ``out``.

    Scored are the test cases where roles are declared, else all. Writes what
    :func:`rareseg.run.evaluate.evaluate` writes; the page leaves out what is of a training. Where
    all cases, by their image or group, had a say in the choice of the points, they are scored as
    select cases, and the page says that this flatters.

    Raises :class:`OutputError` where ``out`` holds anything, :class:`RunError` where ``points`` is
    no such folder, :class:`DataError` where some of the cases had a say and others not, or where no
    case is of role test, and as :func:`tune_outside` does.
    """
    out = Path(out)
    require_free(out)
    decided = None if points is None else load_outside_points(Path(points))
    known = None if decided is None else (decided.classes, decided.channels)
    opened = open_outside(outside, roles=("test",), known=known, track=track)
    cases = opened.cases("test")
    if not cases:
        raise DataError(
            f"{opened.dataset.root} has no case of role test; give some that role, or no role to "
            "any case, so that all are scored."
        )
    role = _role(opened, [case.id for case in cases], None if points is None else Path(points))
    half = {region: default_point(region) for region in opened.classes.regions}
    chosen: Points = half if decided is None else {**half, **decided.points}
    scored = score_outside(
        opened, cases, role=role, points=(chosen, half), track=track, doing="reading scores"
    )
    content = _content(outside, opened, decided, scored, points)
    shots = choose_shots(content.results)
    names = {shot.case_id for shot in shots}
    pictures: dict[tuple[str, str], CasePicture] = {}
    shown = [case for case in cases if case.id in names]
    for case in track(shown, "drawing pictures", len(shown)):
        for part, classes in read_case(opened, case):
            for shot in shots:
                if shot.case_id == case.id and shot.region in classes.regions:
                    pictures[shot.case_id, shot.region] = take_shot(shot, part, classes, chosen)
    drawn = tuple(pictures[shot.case_id, shot.region] for shot in shots)
    sentences = (*promise_sentences(_statement_lines(decided)), PROVENANCE)
    return write_evaluation(out, replace(content, pictures=drawn), sentences)


def _begin(
    outside: Outside, out: Path, roles: tuple[Role, ...], region: str | None, track: Track
) -> tuple[RunFolder, OpenedOutside, tuple[ScoreTable, ComponentTable]]:
    """Open everything, claim ``out`` for these files, and return the tables of select cases."""
    opened = open_outside(outside, roles=roles, track=track)
    asked_regions(opened.classes.regions, region)
    if not opened.cases("select"):
        raise DataError(
            f"{opened.dataset.root} has no case of role select, and points are chosen on no other; "
            "give some cases that role, or no role to any."
        )
    about = {
        "probabilities": str(Path(outside.probabilities).resolve()),
        "references": {**asdict(outside.references), "path": str(opened.dataset.root.resolve())},
        "digest": opened.digest,
    }
    claim(out, "outside.json", about, "the points of other scores or references")
    folder = RunFolder(out)
    opened.fingerprint.to_json(folder.fingerprint)
    groups = {case.id: case.group for case in opened.dataset.cases}
    write_split(folder.split, {i: opened.roles.get(i, "select") for i in groups}, groups)
    return folder, opened, _tables(folder, opened, "select", track)


def _tables(
    folder: RunFolder, opened: OpenedOutside, role: Role, track: Track
) -> tuple[ScoreTable, ComponentTable]:
    """Return the scores and the components of a role's cases, which are read once."""
    scores, components = folder.scores(role), folder.components(role)
    if scores.is_file() and components.is_file():
        return load_table(scores), load_components(components)
    scored = score_outside(
        opened, opened.cases(role), role=role, track=track, doing=f"reading scores of {role} cases"
    )
    save_components(scored.components, components)
    save_table(scored.table, scores)
    return scored.table, scored.components


def _scored_regions(opened: OpenedOutside, table: ScoreTable) -> tuple[str, ...]:
    """Return the regions that have scores, in the order of the classes."""
    return tuple(name for name in opened.classes.regions if name in table.regions)


def _decided(folder: RunFolder, opened: OpenedOutside) -> OutsidePoints:
    """Return what was decided for these files before."""
    if (folder.root / NAME).is_file():
        return load_outside_points(folder.root)
    return OutsidePoints(opened.classes, opened.channels)


def _source(opened: OpenedOutside) -> Source:
    """Return the cases that are to stand for a promise."""
    own = opened.cases("certify") if opened.roles else ()
    if own:
        return Source(own, "declared certify", opened.digest, True, "")
    return Source(opened.cases("select"), "select", opened.digest, False, _SELECTED)


def _role(opened: OpenedOutside, ids: Sequence[str], points: Path | None) -> Role | None:
    """Return the role of the cases that are scored; DataError where they would have two."""
    role: Role | None = "test" if opened.roles else None
    if points is None:
        return role
    folder = RunFolder(points)
    had_a_say = {case for case, name in read_split(folder.split).items() if name != "test"}
    chosen_on = Fingerprint.from_json(folder.fingerprint)
    seen = {
        theirs.id: mine.id
        for mine, theirs in shared_cases(chosen_on, opened.fingerprint)
        if mine.id in had_a_say and theirs.id in set(ids)
    }
    if seen and len(seen) < len(ids):
        theirs, mine = next(iter(seen.items()))
        raise DataError(
            f"{len(seen)} of {len(ids)} cases of {opened.dataset.root} had a say in the points of "
            f"{points} ('{theirs}' is of the same image or group as '{mine}' there); leave them "
            "out, so that the others are judged alone."
        )
    return "select" if seen else role


def _content(
    outside: Outside,
    opened: OpenedOutside,
    decided: OutsidePoints | None,
    scored: Scored,
    points: Path | str | None,
) -> ReportContent:
    """Gather what the report shows, except its pictures and sentences."""
    shown, at_half = scored.results
    regions = _scored_regions(opened, scored.table)
    scorecards = [(HALF, make_scorecard(at_half))]
    if decided is not None:
        scorecards.append((CHOSEN, make_scorecard(shown)))
    found = {} if decided is None else decided.points
    select = None if points is None else RunFolder(Path(points)).scores("select")
    return ReportContent(
        title=f"{opened.dataset.root.name} by the scores in {Path(outside.probabilities).name}",
        scorecards=tuple(scorecards),
        main_label=CHOSEN if decided is not None else HALF,
        points={
            name: found.get(name)
            or Infeasible(name, "no select case holds it, or it was never tuned")
            for name in regions
        },
        table=scored.table,
        results=shown,
        components=scored.components,
        details=scored.details,
        confusion=scored.confusion,
        data=data_facts(opened.fingerprint),
        roles=role_counts(opened.fingerprint.cases, opened.roles),
        select_table=load_table(select) if select is not None and select.is_file() else None,
        leakage=find_leakage(opened.fingerprint, opened.roles),
    )


def _statement_lines(decided: OutsidePoints | None) -> tuple[str, ...]:
    """Return what is promised of the points in use, one line each."""
    if decided is None:
        return ()
    return tuple(
        f"{check_arithmetic(statement, point, ARITHMETIC)}."
        for name, point in decided.points.items()
        for statement in decided.certificates.get(name, ())
        if speaks_of(statement, point)
    )
