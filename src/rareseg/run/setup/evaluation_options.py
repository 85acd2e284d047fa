"""Options of an evaluation: what matters, and which evaluation to compare with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rareseg.data.records import Case
from rareseg.evaluation.comparisons.paired_test import (
    Headline,
    compare_headlines,
    headline,
    read_headlines,
    require_same_cases,
)
from rareseg.report.report_content import Priority, ReportContent, as_priority


@dataclass(frozen=True)
class EvaluationOptions:
    """What a user wants answered beside the numbers: what matters, and what to compare with.

    ``earlier`` are the cases of the evaluation named ``against``.
    """

    priority: Priority | None = None
    against: str = ""
    earlier: tuple[Headline, ...] = ()

    @classmethod
    def of(cls, priority: str | None, against: Path | str | None) -> EvaluationOptions:
        """Return what is asked for; ``against`` is a folder with a ``cases.csv``, or None.

        Raises :class:`UsageError` for an unknown priority, :class:`ScoreError` for a folder without
        an evaluation.
        """
        if against is None:
            return cls(as_priority(priority))
        earlier = read_headlines(Path(against) / "cases.csv")
        return cls(as_priority(priority), Path(against).name, earlier)

    def require_same_cases(self, cases: Sequence[Case]) -> None:
        """Raise :class:`ScoreError`, before anything is scored, where the cases are others."""
        if self.earlier:
            require_same_cases({line.case_id for line in self.earlier}, {case.id for case in cases})

    def answer(self, content: ReportContent) -> ReportContent:
        """Return the content with the answers."""
        ours = [headline(result) for result in content.results]
        shared = {line.region for line in self.earlier} & {line.region for line in ours}
        return replace(
            content,
            priority=self.priority,
            against=self.against,
            comparisons={
                region: compare_headlines(self.earlier, ours, region=region)
                for region in content.regions
                if region in shared
            },
        )
