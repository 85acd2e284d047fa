"""Describe what inspection found, as lines and as a record."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from rareseg.data.checks.fingerprint import Fingerprint
from rareseg.data.checks.problems import summarise
from rareseg.data.records import Dataset
from rareseg.report.report_content import DataFacts, data_facts
from rareseg.report.wording.numbers import count, percent
from rareseg.training.advice import advise
from rareseg.training.plan.obstacles import find_obstacles
from rareseg.training.plan.plan_split import few_groups_sentence
from rareseg.training.plan.small_objects import small_objects_sentence


def inventory_lines(dataset: Dataset, fingerprint: Fingerprint) -> list[str]:
    """Return plain lines: the layout and why, extent, classes, regions, warnings, problems.

    One fault of many files is one line.
    """
    lines = [f"read as '{dataset.layout}', because {dataset.layout_reason}", *dataset.notes]
    if fingerprint.cases:
        lines += _facts(data_facts(fingerprint))
        lines += _ranges(fingerprint, dataset.channel_names)
        small = small_objects_sentence(fingerprint)
        lines += [f"! {small}"] if small else []
    lines += [f"! {line}" for line in summarise(fingerprint.warnings)]
    obstacles = find_obstacles(fingerprint)
    lines += [f"x {line}" for line in summarise((*fingerprint.problems, *obstacles))]
    few = few_groups_sentence(fingerprint)
    lines += [f"! {few}."] if few else []
    advice = advise(fingerprint)
    if advice:
        lines.append(f"? {advice}")
    if fingerprint.questions:
        lines.append("? answer the questions above by the options that they name before training")
    elif not fingerprint.problems and not obstacles and not few:
        lines.append("+ nothing stands in the way of training")
    return lines


def blocks_training(fingerprint: Fingerprint) -> bool:
    """Whether anything must be mended before these data can be learned from."""
    return bool(fingerprint.problems or find_obstacles(fingerprint))


def inventory_record(dataset: Dataset, fingerprint: Fingerprint) -> dict[str, Any]:
    """Return the same as plain values; every sentence about every file."""
    obstacles = find_obstacles(fingerprint)
    small = small_objects_sentence(fingerprint) if fingerprint.cases else None
    few = few_groups_sentence(fingerprint)
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
        "intensities": _channel_ranges(fingerprint),
        "warnings": [*map(str, fingerprint.warnings), *filter(None, (small, few))],
        "problems": [*map(str, fingerprint.problems), *obstacles],
        "questions": [{"text": q.text, "option": q.option} for q in fingerprint.questions],
        "advice": advise(fingerprint),
    }


def _channel_ranges(fingerprint: Fingerprint) -> list[list[float]]:
    """Return for each channel the medians over cases of the percentiles 0.5 and 99.5."""
    counts = {len(case.intensities) for case in fingerprint.cases}
    if len(counts) != 1:
        return []
    channels = zip(*(case.intensities for case in fingerprint.cases), strict=True)
    return [
        [statistics.median(c.low for c in found), statistics.median(c.high for c in found)]
        for found in channels
    ]


def _ranges(fingerprint: Fingerprint, names: Sequence[str] | None) -> list[str]:
    """Return lines on spacing, where files state any, and on intensities."""
    lines = []
    spacings = sorted({case.spacing for case in fingerprint.cases})
    if any(case.dimension == 3 for case in fingerprint.cases) or spacings != [(1.0, 1.0, 1.0)]:
        low, high = np.min(spacings, axis=0), np.max(spacings, axis=0)
        text = " x ".join(
            f"{a:.3g}" if a == b else f"{a:.3g}-{b:.3g}" for a, b in zip(low, high, strict=True)
        )
        lines.append(f"spacing (z, y, x) {text} mm")
    ranges = _channel_ranges(fingerprint)
    told = [
        f"{names[k] + ' ' if names and k < len(names) else ''}{low:.4g} to {high:.4g}"
        for k, (low, high) in enumerate(ranges)
    ]
    if told:
        lines.append(f"intensities (percentiles 0.5 to 99.5): {', '.join(told)}")
    return lines


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
