"""Evaluate scores on cases with known masks, and write CSV, JSON and the report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from rareseg.data.folder_lock import one_writer
from rareseg.decision.decisions import Decisions
from rareseg.evaluation.measures.scorecard import make_scorecard
from rareseg.progress import Track, silent
from rareseg.report.figures.case_pictures import choose_shots
from rareseg.report.pages.threshold_explorer import all_cuts
from rareseg.report.report_content import (
    Level,
    ReportContent,
    Sentence,
    data_facts,
    find_leakage,
    role_counts,
)
from rareseg.run.outputs.evaluation_files import Evaluation, write_evaluation, write_left_out
from rareseg.run.outputs.guarantee_text import statement_lines
from rareseg.run.report_pictures import draw_pictures
from rareseg.run.scores.case_scoring import Scored
from rareseg.run.scores.network_source import NetworkSource
from rareseg.run.scores.score_source import JudgedCases, ScoreSource
from rareseg.run.setup.evaluation_options import EvaluationOptions
from rareseg.run.setup.run_folder import DataOptions, require_free
from rareseg.run.setup.unfinished_output import unfinished

CHOSEN = "at the chosen point"
HALF = "at 0.5"


def evaluate(
    run: Path | str,
    data: DataOptions | Path | str,
    out: Path | str,
    *,
    options: EvaluationOptions | None = None,
    include_seen: bool = False,
    verify: bool = False,
    device: str | torch.device = "cpu",
    track: Track = silent,
) -> Evaluation:
    """Score every case of ``data`` with the model of a run; write what that shows to ``out``.

    Of the data that the run was trained on, wherever they lie now, its test cases alone are scored;
    of other data the cases whose images the model was trained, chosen or certified on are left out,
    copies that look alike too, unless ``include_seen``. Groups and missing masks are read as in the
    run where ``data`` does not say otherwise. ``verify`` reads every file whatever is remembered of
    it. Data that were evaluated certify nothing any more. As :func:`evaluate_source`.
    """
    require_free(Path(out))
    source = NetworkSource.open(run, data, device=device, include_seen=include_seen, verify=verify)
    return evaluate_source(source, out, options=options, track=track)


def evaluate_run(
    run: Path | str,
    *,
    out: Path | None = None,
    device: str | torch.device = "cpu",
    track: Track = silent,
) -> Evaluation:
    """Score the run's own test cases and write the result to ``out``, or into the run."""
    source = NetworkSource.open(run, device=device)
    return _evaluate(source, out or source.folder.root, EvaluationOptions(), track)


@one_writer("out")
def evaluate_source(
    source: ScoreSource,
    out: Path | str,
    *,
    options: EvaluationOptions | None = None,
    track: Track = silent,
) -> Evaluation:
    """Evaluate scores at the operating points that were decided for them, and at 0.5.

    A region without a point is cut at 0.5, and the reason is told. The verdict answers for what
    ``options`` name. Writes ``cases.csv``, ``details.csv``, ``scorecard.json`` and ``report.html``,
    and in ``left_out.csv`` which cases are not scored, since the model has seen them. Raises
    :class:`OutputError` where ``out`` holds anything, :class:`ScoreError` where it is to be
    compared with an evaluation of some of the same cases, and as the source does.
    """
    with unfinished(Path(out)):
        return _evaluate(source, Path(out), options or EvaluationOptions(), track)


@one_writer("out")
def _evaluate(
    source: ScoreSource, out: Path, options: EvaluationOptions, track: Track
) -> Evaluation:
    judged = source.judged_cases(track)
    options.require_comparable(judged.cases)
    decisions = source.decisions()
    used = decisions.points_in_use
    scored = source.score(
        judged.cases,
        role=judged.role,
        points=(used, Decisions.none(used).points_in_use),
        track=track,
        doing="scoring test cases",
    )
    content = source.describe(_content(source, judged, decisions, scored), judged)
    content = options.answer(source.keep_evaluation(content, judged, scored, track))
    shots = choose_shots(content.results, content.details)
    cuts = all_cuts(content)
    pictures = draw_pictures(source, judged.cases, shots, used, cuts=cuts, track=track)
    guarantees = statement_lines(decisions, source.arithmetic)
    remarks = (*_remarks(judged), *source.remarks)
    content = replace(content, pictures=pictures)
    write_left_out(out / "left_out.csv", judged.left_out)
    return write_evaluation(out, content, guarantees, remarks, judged.seen)


def _remarks(judged: JudgedCases) -> tuple[Sentence, ...]:
    """Return the sentence about which cases count, if there is one."""
    if not judged.remark:
        return ()
    reason = "Images are compared by their bytes with those that the model was made from."
    level: Level = "warning" if judged.seen else "note"
    return (Sentence(level, judged.remark, reason, headline=True),)


def _content(
    source: ScoreSource, judged: JudgedCases, decisions: Decisions, scored: Scored
) -> ReportContent:
    """Gather what the report shows of any scores, except its pictures and sentences."""
    shown, at_half = scored.results
    scorecards = [(HALF, make_scorecard(at_half))]
    if decisions.points:
        scorecards.append((CHOSEN, make_scorecard(shown)))
    chosen_on, found = source.kept_tables("validation"), decisions.found
    return ReportContent(
        title=judged.title,
        scorecards=tuple(scorecards),
        main_label=CHOSEN if decisions.points else HALF,
        points={name: found[name] for name in found if name in scored.table.regions},
        table=scored.table,
        results=shown,
        components=scored.components,
        details=scored.details,
        confusion=scored.confusion,
        data=data_facts(judged.fingerprint),
        roles=role_counts(judged.fingerprint.cases, judged.roles),
        validation_table=None if chosen_on is None else chosen_on[0],
        leakage=find_leakage(judged.fingerprint, judged.roles),
    )


__all__ = ["Evaluation", "evaluate", "evaluate_run", "evaluate_source"]
