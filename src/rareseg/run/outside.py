"""Choose points and keep promises for the scores of any other tool: no run of ours is needed.

The folder that :func:`tune_outside` and :func:`certify_outside` write has the places of a run's
folder: ``operating_points.json``, ``decision.json``, ``fingerprint.json``, ``split.csv`` and
``scores/``. It belongs to the very files that it was made from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rareseg.data.presences import NAME as PRESENCES
from rareseg.data.records import Role
from rareseg.decision.group_losses import Table
from rareseg.decision.guarantees import Promise
from rareseg.decision.operating_point import Choice, OperatingPoint
from rareseg.decision.promises import Kept
from rareseg.errors import DataError
from rareseg.evaluation.component_storage import load_components, save_components
from rareseg.evaluation.component_table import ComponentTable
from rareseg.evaluation.scores import ScoreTable
from rareseg.evaluation.storage import load_table, save_table
from rareseg.prediction.bundle import add_statements
from rareseg.progress import Track, silent
from rareseg.run.certify import (
    Promised,
    Source,
    declared,
    enough_groups,
    keep_each,
    spending,
)
from rareseg.run.folder import RunFolder, claim, write_split
from rareseg.run.outside_points import (
    ABOUT,
    NAME,
    OutsidePoints,
    load_outside_points,
    save_outside_points,
)
from rareseg.run.outside_scores import (
    OpenedOutside,
    Outside,
    open_outside,
    score_outside,
)
from rareseg.run.prepare import Say, nobody
from rareseg.run.statements import describe_promise, ended
from rareseg.run.tune import Rule, asked_regions, describe_choice, write_choices

DICE = Rule.of("dice")
"""What is maximised where nothing else is asked for."""


def arithmetic_of_files(*, with_presence: bool) -> dict[str, Any]:
    """Return all that is known of what scored the cases."""
    return {"scores": f"read from files{' with ' + PRESENCES if with_presence else ''}"}


_SELECTED = (
    "the select cases chose the point (give some cases the role certify, in a manifest's split "
    "column or a split.csv)"
)


def tune_outside(
    outside: Outside,
    out: Path | str,
    *,
    rule: Rule = DICE,
    region: str | None = None,
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
    folder, opened, tables = _begin(outside, Path(out), ("select",), region, track)
    regions = asked_regions(opened.scored_regions(tables[0]), region)
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
    rule: Rule = DICE,
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
    regions = asked_regions(opened.scored_regions(tables[0]), region)
    asked = {name: rule.choose(tables, name).found for name in regions}
    source = _source(opened)
    promise = declared(promise, asked)
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
        arithmetic = arithmetic_of_files(with_presence=decided.with_presence)
        found |= keep_each(promise, starts, sight, source, arithmetic, decided.spent)
        kept = {name: result for name, result in found.items() if isinstance(result, Kept)}
        for line in ended(kept, decided.points, decided.certificates):
            say(line)
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
        "references": {
            **outside.references.to_dict(),
            "path": str(opened.dataset.root.resolve()),
        },
        "digest": opened.digest,
    }
    claim(out, ABOUT, about, "the points of other scores or references")
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


def _decided(folder: RunFolder, opened: OpenedOutside) -> OutsidePoints:
    """Return what was decided for these files before."""
    if (folder.root / NAME).is_file():
        return load_outside_points(folder.root)
    told = opened.presences is not None
    return OutsidePoints(opened.classes, opened.channels, with_presence=told)


def _source(opened: OpenedOutside) -> Source:
    """Return the cases that are to stand for a promise."""
    own = opened.cases("certify") if opened.roles else ()
    if own:
        return Source(own, "declared certify", opened.digest, True, "")
    return Source(opened.cases("select"), "select", opened.digest, False, _SELECTED)
