"""Write the page of an audit: verdict, findings, contents of the files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rareseg.data.checks.fingerprint import CaseFacts
from rareseg.data.checks.problems import Problem
from rareseg.evaluation.statistics.undefined import Undefined, is_defined
from rareseg.quality.audit import (
    KINDS,
    SEVERITIES,
    Audit,
    BackgroundCoverage,
    Example,
    Finding,
    RegionFacts,
    Severity,
)
from rareseg.report.figures.audit_pictures import Scene, SnapshotView, view_snapshot
from rareseg.report.pages.report_page import asset, environment
from rareseg.report.report_content import DataFacts, data_facts
from rareseg.report.wording.numbers import count, percent, quantity, size
from rareseg_runner.atomic_files import atomic_write

MOST_LISTED = 200
"""Sights of a finding, and pairs, that are listed."""
HEADINGS: Mapping[Severity, str] = {
    "must be fixed": "Must be fixed",
    "worth a look": "Worth a look",
    "note": "Notes",
}


@dataclass(frozen=True)
class FindingView:
    """One finding with its pictures and the cases that are listed."""

    finding: Finding
    scenes: tuple[tuple[str, tuple[SnapshotView, ...]], ...]
    listed: tuple[Example, ...]
    n_more: int


@dataclass(frozen=True)
class Bar:
    """One column of a histogram: its label, its number, and its height as a share."""

    label: str
    number: int
    height: float


@dataclass(frozen=True)
class AuditRegion:
    """One region: its numbers in words and the sizes of its objects as a histogram."""

    facts: RegionFacts
    cells: tuple[str, ...]
    bars: tuple[Bar, ...]


def write_audit(
    path: Path, audit: Audit, *, title: str, scenes: Mapping[str, Sequence[Scene]]
) -> None:
    """Write the page, atomically; it loads nothing. Raises WorkError where that fails.

    ``scenes`` lead from a finding's name to its pictures.
    """
    text = render_audit(audit, title=title, scenes=scenes)
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def render_audit(audit: Audit, *, title: str, scenes: Mapping[str, Sequence[Scene]]) -> str:
    """Return the page as HTML. Equal contents give equal pages."""
    facts = audit.fingerprint.cases
    data = data_facts(audit.fingerprint) if facts else None
    voxel = "pixel" if data is None or data.dimension == 2 else "voxel"
    sections = [
        (severity, HEADINGS[severity], [_view(f, scenes) for f in audit.of(severity)])
        for severity in SEVERITIES
    ]
    found = {finding.name for finding in audit.findings}
    return (
        environment()
        .get_template("audit.html.j2")
        .render(
            title=title,
            audit=audit,
            data=data,
            voxel=voxel,
            verdict=verdict(audit),
            sections=[section for section in sections if section[2]],
            unseen=[
                kind.title
                for name, kind in KINDS.items()
                if name not in found and name not in audit.skipped and kind.severity != "note"
            ],
            skipped=[
                (KINDS[name].title, reason)
                for name, reason in audit.skipped.items()
                if name not in found
            ],
            regions=[_region(region, voxel) for region in audit.regions] if facts else [],
            ranges=_ranges(facts, data) if data is not None else [],
            warnings=[
                str(w) for w in audit.fingerprint.warnings if not _is_among_findings(w, audit)
            ],
            coverages=[coverage_sentence(coverage) for coverage in audit.coverages],
            outlines=outlines_sentence(audit),
            pairs=audit.similar_pairs[:MOST_LISTED],
            css=asset("page.css") + asset("audit.css"),
        )
    )


def verdict(audit: Audit) -> tuple[str, str, str]:
    """Return (level, headline, what else there is to say) of the whole audit."""
    stops, look = audit.stops, audit.of("worth a look")
    allowed = [found for found in audit.findings if found.allowed]
    rest = [f"{count(len(look), 'finding')} worth a look"] if look else ["nothing else is odd"]
    if allowed:
        rest.append(f"{count(len(allowed), 'finding')} allowed")
    also = "; ".join(rest)
    if stops:
        noun = "thing must" if len(stops) == 1 else "things must"
        return "bad", f"{len(stops)} {noun} be fixed before training", also
    if look:
        return "warning", "Nothing must be fixed before training", also
    return "good", "Nothing stands in the way of training", also


def audit_lines(audit: Audit) -> list[str]:
    """Return the findings as plain lines for the terminal, the worst first."""
    marks = {"must be fixed": "x", "worth a look": "!", "note": "-"}
    lines = []
    for finding in audit.findings:
        mark = "~" if finding.allowed else marks[finding.kind.severity]
        allowed = " (allowed)" if finding.allowed else ""
        lines.append(f"{mark} {finding.name}{allowed}: {finding.text}")
    _, headline, also = verdict(audit)
    return [*lines, f"{headline}; {also}."]


def coverage_sentence(coverage: BackgroundCoverage) -> str:
    """Say how much of the background of some images others know, or why that is not known."""
    if isinstance(coverage.known, Undefined):
        return (
            f"How far {coverage.by} know the background of {coverage.of} is not known: "
            f"{coverage.known.reason}."
        )
    return (
        f"{percent(coverage.known)} of the background of {coverage.n_of:,} {coverage.of} looks "
        f"like some background of {coverage.n_by:,} {coverage.by}."
    )


def outlines_sentence(audit: Audit) -> str:
    """Say how far outlines follow edges, and so whether misplaced masks could be told."""
    found = audit.outlines
    if found.silent:
        return f"Whether masks lie right could not be judged: {found.silent}."
    return (
        f"{percent(found.aligned)} of {count(found.n_judged, 'outline')} fit their image best "
        "where they are drawn, against which the others are judged."
    )


def _is_among_findings(warning: Problem, audit: Audit) -> bool:
    """Tell whether a finding says in more detail what inspection warns of."""
    names = {finding.name for finding in audit.findings}
    return warning.kind == "look-alikes" or (
        warning.kind == "no groups" and "ungrouped-cases" in names
    )


def _view(finding: Finding, scenes: Mapping[str, Sequence[Scene]]) -> FindingView:
    return FindingView(
        finding=finding,
        scenes=tuple(
            (scene.note, tuple(view_snapshot(shot) for shot in scene.snapshots))
            for scene in scenes.get(finding.name, ())
        ),
        listed=finding.examples[:MOST_LISTED],
        n_more=max(0, len(finding.examples) - MOST_LISTED),
    )


def _region(region: RegionFacts, voxel: str) -> AuditRegion:
    sizes = np.array(region.sizes)
    quartiles = (
        [size(float(v)) for v in np.percentile(sizes, [0, 25, 50, 75, 100])] if len(sizes) else []
    )
    cells = (
        percent(region.share),
        f"1 : {quantity(region.imbalance)}" if is_defined(region.imbalance) else "–",
        f"{region.n_cases:,}",
        f"{len(sizes):,}",
        quartiles[2] if quartiles else "–",
        f"{quartiles[0]} – {quartiles[4]}" if quartiles else "–",
    )
    return AuditRegion(region, cells, _bars(sizes))


def _bars(sizes: NDArray[np.int64]) -> tuple[Bar, ...]:
    """Return a histogram of object sizes whose columns are powers of 2 or 4 wide."""
    if not len(sizes):
        return ()
    powers = np.floor(np.log2(sizes)).astype(int)
    step = 1 if powers.max() - powers.min() < 12 else 2
    bins = powers // step
    numbers = np.bincount(bins - bins.min())
    most = int(numbers.max())
    return tuple(
        Bar(_short(2 ** (step * (k + int(bins.min())))), int(n), n / most)
        for k, n in enumerate(numbers)
    )


def _short(number: int) -> str:
    for limit, suffix in ((1_000_000, "M"), (1000, "k")):
        if number >= limit:
            return f"{number / limit:.3g}{suffix}"
    return str(number)


def _ranges(facts: Sequence[CaseFacts], data: DataFacts) -> list[tuple[str, str, str, str]]:
    """Return (what, smallest, median, largest) over the cases: extents, spacings, intensities."""
    rows = []
    axes = ("height", "width") if data.dimension == 2 else ("depth", "height", "width")
    for number, axis in enumerate(axes, start=3 - len(axes)):
        rows.append((axis, np.array([fact.shape[number] for fact in facts], float)))
        spacing = np.array([fact.spacing[number] for fact in facts])
        if data.dimension == 3 or np.any(spacing != 1.0):
            rows.append((f"spacing along the {axis}, mm", spacing))
    for k in range(data.channels):
        of = f" of channel {k + 1}" if data.channels > 1 else ""
        channel = [fact.intensities[k] for fact in facts if len(fact.intensities) > k]
        rows.append((f"median value{of}", np.array([own.median for own in channel])))
        rows.append((f"0.5 to 99.5 percentile{of}", np.array([c.high - c.low for c in channel])))
    return [
        (name, *(_number(float(v)) for v in np.percentile(values, [0, 50, 100])))  # type: ignore[misc]
        for name, values in rows
    ]


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}".replace("-", "−")
