"""Run the audit: all findings about a data set before training."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rareseg.data.checks.fingerprint import Fingerprint, inspect_dataset
from rareseg.data.checks.problems import other_than
from rareseg.data.look_alikes import propose_groups
from rareseg.data.records import Dataset, Role
from rareseg.evaluation.statistics.undefined import Undefined, Value, ratio, value_to_json
from rareseg.progress import Track, silent
from rareseg.quality.audit.backgrounds import tile_side
from rareseg.quality.audit.case_features import CaseFeatures, look_at
from rareseg.quality.audit.finding import Finding, Severity, check_allowed, in_order
from rareseg.quality.audit.label_findings import (
    annotator_findings,
    nesting_findings,
    outline_findings,
    shape_findings,
    value_findings,
)
from rareseg.quality.audit.leakage import (
    LookAlikePair,
    find_pair_facts,
    group_findings,
    leak_findings,
    plan_roles,
)
from rareseg.quality.audit.negative_cases import (
    BackgroundCoverage,
    measure_coverage,
    negative_findings,
)
from rareseg.quality.audit.outliers import FROM as OUTLIERS_FROM
from rareseg.quality.audit.outliers import find_outliers
from rareseg.quality.audit.placement import MisplacedMasks, find_misplaced
from rareseg_runner.atomic_files import atomic_write


@dataclass(frozen=True)
class RegionFacts:
    """One region: its voxels and their share, the cases that hold it, the sizes of its objects.

    ``sizes`` are voxels of every object (connected component), ascending. ``imbalance`` is how many
    voxels outside stand against one inside, undefined where there is none.
    """

    name: str
    voxels: int
    share: float
    n_cases: int
    sizes: tuple[int, ...]
    imbalance: Value

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold: of the sizes count, extremes and quartiles."""
        quartiles = np.percentile(self.sizes, [0, 25, 50, 75, 100]).tolist() if self.sizes else []
        return {
            "name": self.name,
            "voxels": self.voxels,
            "share": self.share,
            "cases": self.n_cases,
            "objects": len(self.sizes),
            "object_sizes": dict(
                zip(("smallest", "lower", "median", "upper", "largest"), quartiles, strict=False)
            ),
            "imbalance": value_to_json(self.imbalance),
        }


@dataclass(frozen=True, eq=False)
class Audit:
    """What an audit found.

    ``findings`` are in order, the worst first. ``similar_pairs`` are all pairs of look-alikes,
    also within a group; ``groups`` a proposal that keeps them together (case id to group).
    ``coverages`` say how far empty and other images show the same background, ``outlines`` whether
    masks could be compared with edges. ``skipped`` leads from findings that could not be looked for
    to why.
    """

    fingerprint: Fingerprint
    findings: tuple[Finding, ...]
    similar_pairs: tuple[LookAlikePair, ...]
    groups: Mapping[str, str]
    regions: tuple[RegionFacts, ...]
    coverages: tuple[BackgroundCoverage, ...]
    outlines: MisplacedMasks
    skipped: Mapping[str, str]

    @property
    def stops(self) -> tuple[Finding, ...]:
        """What must be fixed before training, and was not allowed."""
        return tuple(finding for finding in self.findings if finding.stops)

    def of(self, severity: Severity) -> tuple[Finding, ...]:
        """Return the findings of a severity."""
        return tuple(found for found in self.findings if found.kind.severity == severity)

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {
            "must_be_fixed": len(self.stops),
            "findings": [_finding_record(finding) for finding in self.findings],
            "not_looked_for": dict(self.skipped),
            "near_duplicates": [similar.to_dict() for similar in self.similar_pairs],
            "proposed_groups": dict(self.groups),
            "cases": len(self.fingerprint.cases),
            "empty": sum(not case.is_positive for case in self.fingerprint.cases),
            "regions": [region.to_dict() for region in self.regions],
            "background": [
                {**asdict(coverage), "known": value_to_json(coverage.known)}
                for coverage in self.coverages
            ],
            "outlines": {
                "judged": self.outlines.n_judged,
                "aligned": self.outlines.aligned,
                "silent": self.outlines.silent,
            },
            "content_hash": self.fingerprint.content_hash,
        }

    def to_json(self, path: Path) -> None:
        """Write the record, atomically."""
        with atomic_write(path) as temporary:
            text = json.dumps(self.to_dict(), indent=1, ensure_ascii=False)
            temporary.write_text(text + "\n", encoding="utf-8")


def audit_dataset(
    dataset: Dataset, *, allow: Collection[str] = (), jobs: int = -1, track: Track = silent
) -> Audit:
    """Inspect every file, then look for leaks, masks that are wrong and backgrounds that lack.

    Never raises for the data's sake: what cannot be read is a finding, and the rest is looked at.
    ``allow`` names findings that are meant to be so; raises UsageError for a name that is none.
    """
    allowed = check_allowed(allow)
    fingerprint = inspect_dataset(dataset, jobs=jobs, track=track)
    facts, classes = fingerprint.cases, fingerprint.classes
    readable = {fact.id for fact in facts}
    # Of an id that occurs twice, which is a problem already, the first is looked at.
    cases = list(
        {case.id: case for case in reversed(dataset.cases) if case.id in readable}.values()
    )
    sound = replace(dataset, cases=tuple(reversed(cases)))
    pairs = fingerprint.look_alikes
    features = look_at(
        sound.cases,
        classes,
        side=_side(fingerprint),
        small={name for pair in pairs if pair.copy for name in (pair.a, pair.b)},
        nested=dataset.regions is not None,
        jobs=jobs,
        track=track,
    )
    roles = plan_roles(fingerprint)
    similar_pairs = find_pair_facts(pairs, facts, features, roles, classes.names)
    outlines = find_misplaced(
        {name: own.alignment for name, own in features.items() if own.alignment is not None}
    )
    declared: dict[str, Role] = {fact.id: fact.role for fact in facts if fact.role is not None}
    coverages = measure_coverage(facts, {k: own.tiles for k, own in features.items()}, declared)
    findings = [
        *_problem_findings(fingerprint),
        *leak_findings(similar_pairs, facts),
        *group_findings(facts),
        *outline_findings(outlines),
        *shape_findings(features),
        *nesting_findings(features),
        *value_findings(dataset, facts, classes),
        *annotator_findings(sound.cases, classes),
        *negative_findings(facts, coverages),
        *find_outliers(facts, features),
    ]
    marked = (replace(found, allowed=found.name in allowed) for found in findings)
    return Audit(
        fingerprint=fingerprint,
        findings=in_order(marked),
        similar_pairs=similar_pairs,
        groups=propose_groups(sound.cases, pairs),
        regions=_regions(fingerprint, features),
        coverages=coverages,
        outlines=outlines,
        skipped=_skipped(sound, fingerprint, outlines, coverages),
    )


def _side(fingerprint: Fingerprint) -> int:
    """Return the side of background tiles: for the median size of the images."""
    if not fingerprint.cases:
        return tile_side((1, 1, 1))
    z, y, x = np.median([fact.shape for fact in fingerprint.cases], axis=0).astype(int).tolist()
    return tile_side((z, y, x))


def _skipped(
    dataset: Dataset,
    fingerprint: Fingerprint,
    outlines: MisplacedMasks,
    coverages: Collection[BackgroundCoverage],
) -> dict[str, str]:
    """Return what could not be looked for, and why: silence there is no good news."""
    skipped: dict[str, str] = {}
    if outlines.silent:
        skipped |= dict.fromkeys(("flipped-masks", "shifted-masks"), outlines.silent)
    (forward, *_) = coverages
    if isinstance(forward.known, Undefined):
        skipped["negatives-without-variety"] = forward.known.reason
        if all(isinstance(coverage.known, Undefined) for coverage in coverages):
            skipped["unseen-background"] = forward.known.reason
    if len(fingerprint.cases) < OUTLIERS_FROM:
        skipped["outlying-cases"] = f"fewer than {OUTLIERS_FROM} cases have no usual"
    if not any(len(case.annotations) > 1 for case in dataset.cases):
        skipped["class-by-one-annotator"] = "no case has masks of several annotators"
    if dataset.regions is None:
        skipped["parts-outside-their-whole"] = "no regions are declared"
    if all(fact.role is None for fact in fingerprint.cases):
        names = ("group-in-two-splits", "leak-across-splits")
        skipped |= dict.fromkeys(names, "no split is declared")
    return skipped


def _problem_findings(fingerprint: Fingerprint) -> list[Finding]:
    # That copies contradict each other is a finding of its own.
    problems = tuple(map(str, other_than(fingerprint.problems, {"contradiction"})))
    if not problems:
        return []
    more = f" and {len(problems) - 1:,} more, listed below" if len(problems) > 1 else ""
    return [Finding("data-problems", f"{problems[0].removesuffix('.')}{more}.", details=problems)]


def _regions(
    fingerprint: Fingerprint, features: Mapping[str, CaseFeatures]
) -> tuple[RegionFacts, ...]:
    facts, classes = fingerprint.cases, fingerprint.classes
    counted = sum(sum(fact.voxels) for fact in facts)
    found = []
    for name, members in classes.regions.items():
        inside = [sum(fact.voxels[k] for k in members) for fact in facts]
        voxels = sum(inside)
        sizes = sorted(size for own in features.values() for size in own.shapes.sizes.get(name, ()))
        found.append(
            RegionFacts(
                name=name,
                voxels=voxels,
                share=voxels / counted if counted else 0.0,
                n_cases=sum(number > 0 for number in inside),
                sizes=tuple(sizes),
                imbalance=ratio(counted - voxels, voxels, undefined="no voxel of it is drawn"),
            )
        )
    return tuple(found)


def _finding_record(finding: Finding) -> dict[str, Any]:
    return {
        "name": finding.name,
        "severity": finding.kind.severity,
        "title": finding.kind.title,
        "text": finding.text,
        "allowed": finding.allowed,
        "cases": list(finding.cases),
        "details": list(finding.details),
        "seen": [
            {key: value for key, value in asdict(example).items() if value not in ("", (), None)}
            for example in finding.examples
        ],
    }
