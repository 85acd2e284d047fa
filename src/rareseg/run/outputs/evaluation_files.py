"""Write the files of an evaluation: tables, scorecards, report."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from rareseg.data.records import Role
from rareseg.decision.guarantees.guarantee import Certificate
from rareseg.decision.operating_point import Infeasible, OperatingPoint
from rareseg.evaluation.comparisons.paired_test import comparison_to_json
from rareseg.evaluation.comparisons.unpaired_test import unpaired_to_json
from rareseg.evaluation.measures.mask_measures import write_details_csv
from rareseg.evaluation.measures.scorecard import scorecard_to_json, write_cases_csv
from rareseg.report.pages.report_page import write_report
from rareseg.report.report_content import ReportContent, Sentence
from rareseg.report.wording.terminal_summary import short_scorecard
from rareseg.report.wording.verdict import judge
from rareseg_runner.atomic_files import atomic_write

Guarantees = Mapping[str, tuple[str, ...]]
"""What is guaranteed of the points in use, line by line, by region."""


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


def write_evaluation(
    out: Path,
    content: ReportContent,
    guarantees: Guarantees,
    remarks: Sequence[Sentence] = (),
    seen: Mapping[str, Role] = MappingProxyType({}),
) -> Evaluation:
    """Judge, and write the tables, the scorecards and the page.

    ``guarantees`` are lines about the points by region, ``remarks`` sentences under the verdict;
    ``seen`` are the roles of cases that the model has seen, which cases.csv then has a column of.
    """
    said = (*judge(content), *guarantee_sentences(guarantees), *remarks)
    content = replace(
        content, verdicts=said, guarantees={name: " ".join(own) for name, own in guarantees.items()}
    )
    evaluation = Evaluation(content, out / "cases.csv", out / "scorecard.json", out / "report.html")
    without = {
        r: found.reason for r, found in content.points.items() if isinstance(found, Infeasible)
    }
    write_cases_csv(evaluation.cases_csv, content.results, without, seen)
    write_details_csv(out / "details.csv", content.details)
    _write_json(evaluation.scorecard_json, content)
    write_report(evaluation.report, content)
    return evaluation


def write_left_out(path: Path, left_out: Mapping[str, str]) -> None:
    """Write which cases were not scored, and as what the model knows them; nothing of none."""
    if not left_out:
        return
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("case", "known_as"))
        writer.writerows(left_out.items())


def write_scorecards(path: Path, content: ReportContent, *, names: bool) -> None:
    """Judge, and write the scorecards alone; without ``names`` the verdicts name no case."""
    _write_json(path, replace(content, verdicts=judge(content, names=names)))


def guarantee_sentences(guarantees: Guarantees) -> tuple[Sentence, ...]:
    """Return lines about guarantees as the report's sentences."""
    return tuple(
        Sentence(
            "good" if line.startswith(Certificate.word) else "warning",
            line[:1].upper() + line[1:],
            "A certificate rests on cases that nothing else has seen and holds for the arithmetic "
            "that scored them; an estimate rests on cases that were used for the choice.",
        )
        for lines in guarantees.values()
        for line in lines
    )


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
            "other_cases": {
                region: [unpaired_to_json(line) for line in lines]
                for region, lines in content.other_cases.items()
            },
        },
        "verdicts": [vars(sentence) for sentence in content.verdicts],
    }
    with atomic_write(path) as temporary:
        text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")
