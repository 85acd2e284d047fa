"""Options of an evaluation: what matters, and which evaluation to compare with."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rareseg.data.records import Case
from rareseg.evaluation.comparisons.paired_test import (
    compare_headlines,
    headline,
    require_same_cases,
)
from rareseg.evaluation.comparisons.unpaired_test import (
    CaseLine,
    compare_unpaired,
    read_case_lines,
)
from rareseg.report.report_content import Priority, ReportContent, as_priority


@dataclass(frozen=True)
class EvaluationOptions:
    """What a user wants answered beside the numbers: what matters, and what to compare with.

    ``earlier`` are the cases of the evaluation named ``against``.
    """

    priority: Priority | None = None
    against: str = ""
    earlier: tuple[CaseLine, ...] = ()

    @classmethod
    def of(cls, priority: str | None, against: Path | str | None) -> EvaluationOptions:
        """Return what is asked for; ``against`` is a folder with a ``cases.csv``, or None.

        Raises :class:`UsageError` for an unknown priority, :class:`ScoreError` for a folder without
        an evaluation.
        """
        if against is None:
            return cls(as_priority(priority))
        earlier = read_case_lines(Path(against) / "cases.csv")
        return cls(as_priority(priority), Path(against).name, earlier)

    def require_comparable(self, cases: Sequence[Case]) -> None:
        """Raise :class:`ScoreError`, before anything is scored, where only some cases are shared.

        The same cases are compared in pairs, and wholly different ones without.
        """
        ids = {case.id for case in cases}
        if self.earlier and not self._are_others(ids):
            require_same_cases(self._earlier_ids, ids)

    def answer(self, content: ReportContent) -> ReportContent:
        """Return the content with the answers."""
        content = replace(content, priority=self.priority, against=self.against)
        earlier = [line.headline for line in self.earlier]
        ours = [headline(result) for result in content.results]
        shared = {line.region for line in earlier} & {line.region for line in ours}
        regions = [region for region in content.regions if region in shared]
        if self._are_others({line.case_id for line in ours}):
            lines = [CaseLine.of(result) for result in content.results]
            others = {
                region: compare_unpaired(self.earlier, lines, region=region) for region in regions
            }
            return replace(content, other_cases=others)
        pairs = {region: compare_headlines(earlier, ours, region=region) for region in regions}
        return replace(content, comparisons=pairs)

    @property
    def _earlier_ids(self) -> set[str]:
        return {line.headline.case_id for line in self.earlier}

    def _are_others(self, ids: Collection[str]) -> bool:
        return bool(self.earlier) and self._earlier_ids.isdisjoint(ids)
