"""Score cases that the model has not seen, and write what that shows: CSV, JSON and the page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from rareseg.data.files import atomic_write
from rareseg.data.fingerprint import Fingerprint, content_hash, inspect_dataset
from rareseg.data.problems import other_than
from rareseg.data.records import Case, Dataset, Role
from rareseg.decision.guarantees import Certificate
from rareseg.decision.operating_point import OperatingPoint
from rareseg.errors import DataError, ProblemsError
from rareseg.evaluation.comparison import comparison_to_json
from rareseg.evaluation.component_storage import save_components
from rareseg.evaluation.details import write_details_csv
from rareseg.evaluation.scorecard import (
    CaseResult,
    make_scorecard,
    scorecard_to_json,
    write_cases_csv,
)
from rareseg.evaluation.storage import load_table, save_table
from rareseg.evaluation.values import is_defined
from rareseg.prediction.bundle import Bundle, load_bundle
from rareseg.prediction.predictor import Predictor
from rareseg.progress import Track, silent
from rareseg.report.content import (
    FOLD_PURPOSES,
    ROLE_PURPOSES,
    History,
    ReportContent,
    Sentence,
    data_facts,
    find_leakage,
    role_counts,
)
from rareseg.report.explorer import all_cuts
from rareseg.report.origin import beginning_sentences, stage_sentences
from rareseg.report.page import write_report
from rareseg.report.pictures import choose_shots
from rareseg.report.summary import short_scorecard
from rareseg.report.verdict import judge
from rareseg.run.asked import Asked
from rareseg.run.folder import (
    DataOptions,
    RunFolder,
    note_evaluated,
    open_run,
    read_about,
    read_split,
    require_free,
)
from rareseg.run.model_card import write_model_card
from rareseg.run.pictures import draw_pictures
from rareseg.run.points import decided_points, points_in_use
from rareseg.run.prepare import read_reasons
from rareseg.run.scoring import Scored, grid_of, score_all
from rareseg.run.statements import statement_lines
from rareseg.sampling.composition import Composition
from rareseg.training.journal import read_table
from rareseg.training.mining import RECORD, read_record

CHOSEN = "at the chosen point"
HALF = "at 0.5"

Promises = Mapping[str, tuple[str, ...]]
"""What is promised of the points in use, line by line, by region."""

TRAIN_SAMPLE = 24
"""How many training cases are scored beside the test cases, to see overfitting."""


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found and where it lies."""

    content: ReportContent
    cases_csv: Path
    scorecard_json: Path
    report: Path

    @property
    def summary(self) -> tuple[str, ...]:
        """The scorecard in words, a handful of lines."""
        return tuple(short_scorecard(self.content))


def evaluate(
    run: Path | str,
    data: DataOptions | Path | str,
    out: Path | str,
    *,
    asked: Asked | None = None,
    device: str | torch.device = "cpu",
    track: Track = silent,
) -> Evaluation:
    """Score every case of ``data`` at the run's operating points and write the result to ``out``.

    Of the data that the run was trained on, its test cases alone are scored. Groups and missing
    masks are read as in the run where ``data`` does not say otherwise. A region without a point is
    cut at 0.5, and the reason is told. Data that were evaluated certify nothing any more. The
    verdict answers for what is ``asked``. Writes ``cases.csv``, ``details.csv``, ``scorecard.json``
    and ``report.html``. Raises :class:`OutputError` where ``out`` holds anything,
    :class:`ProblemsError` for data with problems, :class:`ScoreError` where it is to be compared
    with an evaluation of other cases.
    """
    folder, out = open_run(Path(run)), Path(out)
    options = data if isinstance(data, DataOptions) else DataOptions(str(data))
    options = options.like(read_about(folder))
    asked = asked or Asked()
    require_free(out)
    dataset = options.open()
    bundle = _with_ignore(load_bundle(folder.bundle), dataset)
    same_path = str(Path(options.path).resolve()) == read_about(folder)["path"]
    # A copy of the data, or their manifest, is the same data at another path.
    if same_path or content_hash(dataset) == bundle.trained["data"]:
        return _evaluate_own(folder, dataset, out=out, asked=asked, device=device, track=track)
    asked.require_same_cases(dataset.cases)
    fingerprint = inspect_dataset(dataset, track=track)
    # Data of their own need not hold a positive, nor each class: alarms can be measured on them.
    problems = other_than(fingerprint.problems, {"no positive case", "absent class"})
    if problems:
        raise ProblemsError(problems)
    predictor = Predictor(bundle, device=device)
    scored = _score(predictor, dataset.cases, None, track)
    content = _content(
        f"{dataset.root.name} by the model of {folder.root.name}",
        folder,
        bundle,
        fingerprint,
        {},
        scored,
    )
    content = asked.answer(content)
    promises = statement_lines(bundle, folder.bundle, device=device)
    evaluation = _write(out, content, predictor, dataset.cases, promises, track)
    note_evaluated(folder, fingerprint.content_hash)
    return evaluation


def evaluate_run(
    run: Path | str,
    *,
    out: Path | None = None,
    device: str | torch.device = "cpu",
    track: Track = silent,
) -> Evaluation:
    """Score the run's own test cases and write the result to ``out``, or into the run."""
    folder = open_run(Path(run))
    dataset = DataOptions(**read_about(folder)).open()
    return _evaluate_own(folder, dataset, out=out or folder.root, device=device, track=track)


def _evaluate_own(
    folder: RunFolder,
    dataset: Dataset,
    *,
    out: Path,
    asked: Asked | None = None,
    device: str | torch.device,
    track: Track,
) -> Evaluation:
    """Score the test cases of the data that the run was trained on."""
    roles = read_split(folder.split)
    cases = [case for case in dataset.cases if roles.get(case.id) == "test"]
    if not cases:
        raise DataError(
            f"{folder.root} has no test cases (split.test is 0); name other data: "
            "`rareseg evaluate RUN DATA --out DIR`."
        )
    asked = asked or Asked()
    asked.require_same_cases(cases)
    bundle = load_bundle(folder.bundle)
    predictor = Predictor(bundle, device=device)
    scored = _score(predictor, cases, "test", track)
    save_table(scored.table, folder.scores("test"))
    save_components(scored.components, folder.components("test"))
    train_cases = [case for case in dataset.cases if roles.get(case.id) == "train"]
    fingerprint = Fingerprint.from_json(folder.fingerprint)
    content = _content(folder.root.name, folder, bundle, fingerprint, roles, scored)
    content = replace(content, train_dice=_train_dice(predictor, train_cases, fingerprint, track))
    _write_json(folder.test_scorecard, replace(content, verdicts=judge(content, names=False)))
    write_model_card(folder)
    content = asked.answer(content)
    promises = statement_lines(bundle, folder.bundle, device=device)
    return _write(out, content, predictor, cases, promises, track)


def _score(predictor: Predictor, cases: Sequence[Case], role: Role | None, track: Track) -> Scored:
    """Score cases at the points that masks are made at, closely, and at 0.5 beside them."""
    bundle = predictor.bundle
    regions = bundle.classes.regions
    used = points_in_use(bundle.points, regions)
    return score_all(
        predictor,
        cases,
        role=role,
        points=(used, points_in_use({}, regions)),
        closely=True,
        grid=grid_of(used),
        track=track,
        doing="scoring test cases",
    )


def _train_dice(
    predictor: Predictor, cases: Sequence[Case], fingerprint: Fingerprint, track: Track
) -> dict[str, float]:
    """Return the mean dice at the chosen points on a sample of positive training cases."""
    positive = {fact.id for fact in fingerprint.cases if fact.is_positive}
    pool = [case for case in cases if case.id in positive]
    sample = pool[:: max(1, len(pool) // TRAIN_SAMPLE)][:TRAIN_SAMPLE]
    points = points_in_use(predictor.bundle.points, predictor.bundle.classes.regions)
    scored = score_all(
        predictor,
        sample,
        role="train",
        points=(points,),
        track=track,
        doing="scoring a sample of training cases",
    )
    means = {}
    for region in points:
        values = [
            value
            for result in scored.results[0]
            if result.region == region
            and result.stratum == "positive"
            and is_defined(value := result.metric("dice"))
        ]
        if values:
            means[region] = sum(values) / len(values)
    return means


def _content(
    title: str,
    folder: RunFolder,
    bundle: Bundle,
    fingerprint: Fingerprint,
    roles: Mapping[str, Role],
    scored: Scored,
) -> ReportContent:
    """Gather what the report shows, except its pictures and sentences."""
    shown, at_half = scored.results
    scorecards = [(HALF, make_scorecard(at_half))]
    if bundle.points:
        scorecards.append((CHOSEN, make_scorecard(shown)))
    in_folds = folder.folds.is_file()
    select = folder.scores("out-of-fold" if in_folds else "select")
    # Of networks that learnt side by side the first stands for all.
    training = folder.training / "fold_0" if in_folds else folder.training
    if bundle.cascade is not None:
        training = folder.stage(2)
    delivered = bundle.trained.get("delivered")
    return ReportContent(
        title=title,
        scorecards=tuple(scorecards),
        main_label=CHOSEN if bundle.points else HALF,
        points=decided_points(bundle.points, bundle.classes.regions, folder.decision),
        table=scored.table,
        results=shown,
        components=scored.components,
        details=scored.details,
        confusion=scored.confusion,
        data=data_facts(fingerprint),
        roles=role_counts(fingerprint.cases, roles),
        recipe=bundle.recipe,
        reasons=read_reasons(folder.recipe),
        role_purposes=FOLD_PURPOSES if in_folds else ROLE_PURPOSES,
        history=History(
            read_table(training / "steps.csv"), read_table(training / "validations.csv")
        ),
        beginning=beginning_sentences(bundle.trained.get("initial_weights") or {}),
        stages=stage_sentences(bundle.cascade),
        composition=None if delivered is None else Composition.from_dict(delivered),
        mining=read_record(training / RECORD),
        select_table=load_table(select) if select.is_file() else None,
        leakage=find_leakage(fingerprint, roles),
    )


def _write(
    out: Path,
    content: ReportContent,
    predictor: Predictor,
    cases: Sequence[Case],
    promises: Promises,
    track: Track,
) -> Evaluation:
    """Draw pictures and write the files."""
    points = points_in_use(predictor.bundle.points, predictor.bundle.classes.regions)
    shots = choose_shots(content.results, content.details)
    cuts = all_cuts(content)
    pictures = draw_pictures(predictor, cases, shots, points, cuts=cuts, track=track)
    return write_evaluation(out, replace(content, pictures=pictures), promises)


def write_evaluation(
    out: Path, content: ReportContent, promises: Promises, more: Sequence[Sentence] = ()
) -> Evaluation:
    """Judge, and write the tables, the scorecards and the page.

    ``promises`` are lines about the points by region, ``more`` sentences for the verdict.
    """
    said = (*judge(content), *promise_sentences(promises), *more)
    content = replace(
        content, verdicts=said, promises={name: " ".join(own) for name, own in promises.items()}
    )
    evaluation = Evaluation(content, out / "cases.csv", out / "scorecard.json", out / "report.html")
    write_cases_csv(evaluation.cases_csv, content.results)
    write_details_csv(out / "details.csv", content.details)
    _write_json(evaluation.scorecard_json, content)
    write_report(evaluation.report, content)
    return evaluation


def promise_sentences(promises: Promises) -> tuple[Sentence, ...]:
    """Return lines about promises as the report's sentences."""
    return tuple(
        Sentence(
            "good" if line.startswith(Certificate.word) else "warning",
            line[:1].upper() + line[1:],
            "A certificate rests on cases that nothing else has seen and holds for the arithmetic "
            "that scored them; an estimate rests on cases that had a say in the choice.",
        )
        for lines in promises.values()
        for line in lines
    )


def _with_ignore(bundle: Bundle, dataset: Dataset) -> Bundle:
    """Return the bundle with the ignored value that the data declare, where it is no class."""
    value = dataset.ignore_value
    if value is None or value in bundle.classes.values:
        return bundle
    return replace(bundle, classes=replace(bundle.classes, ignore_value=value))


def _write_json(path: Path, content: ReportContent) -> None:
    """Write every scorecard, the operating points and the sentences."""
    record = {
        "headline": content.main_label,
        "scorecards": {label: scorecard_to_json(card) for label, card in content.scorecards},
        "points": {
            region: point.to_dict()
            if isinstance(point, OperatingPoint)
            else {"infeasible": point.reason}
            for region, point in content.points.items()
        },
        "against": {
            "name": content.against,
            "regions": {
                region: [comparison_to_json(line) for line in lines]
                for region, lines in content.comparisons.items()
            },
        },
        "verdicts": [vars(sentence) for sentence in content.verdicts],
    }
    with atomic_write(path) as temporary:
        text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


__all__ = ["CaseResult", "Evaluation", "evaluate", "evaluate_run"]
