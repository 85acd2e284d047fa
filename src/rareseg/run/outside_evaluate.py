"""Evaluate the scores of any other tool, and write what that shows: CSV, JSON and the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rareseg.data.fingerprint import Fingerprint
from rareseg.data.presences import NAME as PRESENCES
from rareseg.data.records import Role
from rareseg.errors import DataError, ScoreError
from rareseg.evaluation.scorecard import make_scorecard
from rareseg.evaluation.storage import load_table
from rareseg.progress import Track, silent
from rareseg.report.content import (
    CasePicture,
    ReportContent,
    Sentence,
    data_facts,
    find_leakage,
    role_counts,
)
from rareseg.report.explorer import all_cuts
from rareseg.report.pictures import choose_shots
from rareseg.run.asked import Asked
from rareseg.run.certify import shared_cases
from rareseg.run.evaluate import (
    CHOSEN,
    HALF,
    Evaluation,
    write_evaluation,
)
from rareseg.run.folder import RunFolder, read_split, require_free
from rareseg.run.outside import arithmetic_of_files
from rareseg.run.outside_points import OutsidePoints, load_outside_points, read_references
from rareseg.run.outside_scores import (
    OpenedOutside,
    Outside,
    open_outside,
    read_case,
    score_outside,
)
from rareseg.run.pictures import take_shot
from rareseg.run.points import decided_points, points_in_use
from rareseg.run.scoring import Points, Scored
from rareseg.run.statements import lines_about

PROVENANCE = Sentence(
    "note",
    "The scores were read from files. Points and promises hold for what wrote them: the same "
    "model, at the same settings.",
    "rareseg cannot see which model wrote a file, nor which cases that model was trained on.",
)


def evaluate_outside(
    outside: Outside,
    out: Path | str,
    *,
    points: Path | str | None = None,
    asked: Asked | None = None,
    track: Track = silent,
) -> Evaluation:
    """Evaluate files at the points of the folder ``points``, or at 0.5; write that to ``out``.

    Scored are the test cases where roles are declared, else all. Writes what
    :func:`rareseg.run.evaluate.evaluate` writes; the page leaves out what is of a training. Where
    all cases, by their image or group, had a say in the choice of the points, they are scored as
    select cases, and the page says that this flatters.

    Raises :class:`OutputError` where ``out`` holds anything, :class:`RunError` where ``points`` is
    no such folder, :class:`DataError` where some of the cases had a say and others not, or where no
    case is of role test, :class:`ScoreError` where only the points or only the files come with an
    ``image_scores.csv``, and as :func:`tune_outside` does.
    """
    out, asked = Path(out), asked or Asked()
    require_free(out)
    decided = None if points is None else load_outside_points(Path(points))
    if points is not None:
        earlier = read_references(Path(points))
        outside = replace(outside, references=outside.references.like(earlier))
    known = None if decided is None else (decided.classes, decided.channels)
    opened = open_outside(outside, roles=("test",), known=known, track=track)
    if decided is not None and decided.with_presence != (opened.presences is not None):
        had, has = ("with", "no such") if decided.with_presence else ("without", "such a")
        raise ScoreError(
            f"The gates of {points} were chosen {had} {PRESENCES}, but {outside.probabilities} "
            f"holds {has} file, so that they would cut other image scores; write it for both, or "
            "tune again."
        )
    cases = opened.cases("test")
    if not cases:
        raise DataError(
            f"{opened.dataset.root} has no case of role test; give some that role, or no role to "
            "any case, so that all are scored."
        )
    role = _role(opened, [case.id for case in cases], None if points is None else Path(points))
    asked.require_same_cases(cases)
    half = points_in_use({}, opened.classes.regions)
    chosen: Points = (
        half if decided is None else points_in_use(decided.points, opened.classes.regions)
    )
    scored = score_outside(
        opened, cases, role=role, points=(chosen, half), track=track, doing="reading scores"
    )
    content = _content(outside, opened, decided, scored, points)
    shots, cuts = choose_shots(content.results, content.details), all_cuts(content)
    names = {shot.case_id for shot in shots}
    pictures: dict[tuple[str, str], CasePicture] = {}
    shown = [case for case in cases if case.id in names]
    for case in track(shown, "drawing pictures", len(shown)):
        for part, classes in read_case(opened, case):
            for shot in shots:
                if shot.case_id == case.id and shot.region in classes.regions:
                    pictures[shot.case_id, shot.region] = take_shot(
                        shot, part, classes, chosen, cuts.get(shot.region), beside=len(shots)
                    )
    drawn = tuple(pictures[shot.case_id, shot.region] for shot in shots)
    content = replace(asked.answer(content), pictures=drawn)
    return write_evaluation(out, content, _statement_lines(decided), (PROVENANCE,))


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
    regions = opened.scored_regions(scored.table)
    scorecards = [(HALF, make_scorecard(at_half))]
    if decided is not None:
        scorecards.append((CHOSEN, make_scorecard(shown)))
    found = {} if decided is None else decided.points
    decisions = None if points is None else RunFolder(Path(points))
    select = None if decisions is None else decisions.scores("select")
    choices = None if decisions is None else decisions.decision
    return ReportContent(
        title=f"{opened.dataset.root.name} by the scores in {Path(outside.probabilities).name}",
        scorecards=tuple(scorecards),
        main_label=CHOSEN if decided is not None else HALF,
        points=decided_points(found, dict.fromkeys(regions), choices),
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


def _statement_lines(decided: OutsidePoints | None) -> Mapping[str, tuple[str, ...]]:
    """Return what is promised of the points in use, line by line."""
    if decided is None:
        return {}
    arithmetic = arithmetic_of_files(with_presence=decided.with_presence)
    return lines_about(decided.points, decided.certificates, arithmetic)
