"""Describe what inspection found, as lines and as a record."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rareseg.data.checks.fingerprint import Fingerprint
from rareseg.data.records import Dataset
from rareseg.report.report_content import DataFacts, data_facts
from rareseg.report.wording.numbers import count, percent
from rareseg.training.advice import advise


def inventory_lines(dataset: Dataset, fingerprint: Fingerprint) -> list[str]:
    """Return plain lines: the layout and why, extent, classes, regions, warnings, problems."""
    lines = [f"read as '{dataset.layout}', because {dataset.layout_reason}", *dataset.notes]
    if fingerprint.cases:
        lines += _facts(data_facts(fingerprint))
    lines += [f"! {warning}" for warning in fingerprint.warnings]
    lines += [f"x {problem}" for problem in fingerprint.problems]
    advice = advise(fingerprint)
    if advice:
        lines.append(f"? {advice}")
    if not fingerprint.problems:
        lines.append("+ nothing stands in the way of training")
    return lines


def inventory_record(dataset: Dataset, fingerprint: Fingerprint) -> dict[str, Any]:
    """Return the same as plain values."""
    return {
        "layout": {
            "name": dataset.layout,
            "reason": dataset.layout_reason,
            "notes": list(dataset.notes),
        },
        "data": asdict(data_facts(fingerprint)) if fingerprint.cases else None,
        "near_duplicates": [
            {"a": p.a, "b": p.b, "similarity": p.similarity, "how": p.how, "copy": p.copy}
            for p in fingerprint.look_alikes_across_groups
        ],
        "warnings": [str(warning) for warning in fingerprint.warnings],
        "problems": [str(problem) for problem in fingerprint.problems],
        "advice": advise(fingerprint),
    }


def _facts(facts: DataFacts) -> list[str]:
    kind = "photographs" if facts.dimension == 2 else "volumes"
    groups = (
        "no groups known"
        if facts.n_without_group == facts.n_cases
        else f"{count(facts.n_groups, 'group')}"
    )
    low, high = facts.shapes
    first = 1 if facts.dimension == 2 else 0
    extent = " x ".join(
        f"{a}" if a == b else f"{a}-{b}" for a, b in list(zip(low, high, strict=True))[first:]
    )
    lines = [
        f"{count(facts.n_cases, 'case')} ({kind}, {count(facts.channels, 'channel')}), {groups}; "
        f"{extent} voxels",
        f"{count(facts.n_empty, 'case')} ({percent(facts.n_empty / facts.n_cases)}) hold nothing",
    ]
    width = max(len(part.name) for part in facts.classes)
    lines += [
        f"  {part.name:<{width}}  {percent(part.share):>8} of the voxels, in "
        f"{count(part.n_cases, 'case')}"
        for part in facts.classes
    ]
    if len(facts.regions) > 1:
        lines.append("regions:")
        lines += [f"  {name} = {' + '.join(members)}" for name, members in facts.regions.items()]
    return lines
