"""Make the tables of the report as rows of text: cases, recipe, composition."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from rareseg.evaluation.measures.case_result import CaseResult
from rareseg.evaluation.measures.measure import Measure
from rareseg.evaluation.measures.measure_table import shown_in
from rareseg.evaluation.statistics.undefined import Undefined
from rareseg.recipe import Recipe, Section
from rareseg.report.wording.numbers import FORMS
from rareseg.sampling.patches.composition import Composition


@dataclass(frozen=True)
class PageCell:
    """A number of a table: its text, what it is sorted by (None: last), why it is undefined.

    ``note`` is the letter under which the table explains ``reason``.
    """

    text: str
    key: float | None
    reason: str = ""
    note: str = ""


@dataclass(frozen=True)
class PageRow:
    """One case of one region: its names (case, group, stratum) and its numbers."""

    names: tuple[str, ...]
    cells: tuple[PageCell, ...]


@dataclass(frozen=True)
class PageTable:
    """Rows under the columns ``names`` and ``columns``, with (letter, reason) notes."""

    names: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[PageRow, ...]
    notes: tuple[tuple[str, str], ...]


def case_table(results: Sequence[CaseResult], *, voxel: str = "voxel") -> PageTable:
    """Return one row per result, as given; every undefined value has a letter for its reason.

    Where no group is known there is no column for it; those of the presence and of the image score
    stand where any case has a presence, since the image score is the top score elsewhere.
    """
    grouped = any(result.group for result in results)
    presence = any(result.presence is not None for result in results)
    letters: dict[str, str] = {}
    columns = _columns(voxel, presence=presence)
    rows = tuple(
        PageRow(
            (result.case_id, *((result.group or "",) if grouped else ()), result.stratum),
            tuple(_lettered(cell(result), letters) for cell in columns.values()),
        )
        for result in results
    )
    names = ("Case", "Group", "Stratum") if grouped else ("Case", "Stratum")
    notes = tuple((letter, reason) for reason, letter in letters.items())
    return PageTable(names, tuple(columns), rows, notes)


def _columns(voxel: str, *, presence: bool) -> dict[str, Callable[[CaseResult], PageCell]]:
    """Return the cell of a case under every heading."""
    measured = {measure: partial(_measured, measure) for measure in shown_in("case table")}
    return {
        **{m.title: cell for m, cell in measured.items() if m.unit != "count"},
        f"Wrong {voxel}s": lambda result: _whole(result.counts.fp),
        f"Missed {voxel}s": lambda result: _whole(result.counts.fn),
        "Objects": lambda result: _whole(len(result.objects.sizes)),
        "Objects found": lambda result: _whole(result.objects.n_found),
        **{m.title: cell for m, cell in measured.items() if m.unit == "count"},
        "Top score": lambda result: _scored(result.top_score),
        **(
            {
                "Presence": lambda result: _scored(result.presence),
                "Image score": lambda result: _scored(result.image_score),
            }
            if presence
            else {}
        ),
    }


def _measured(measure: Measure[CaseResult], result: CaseResult) -> PageCell:
    value = measure.compute(result)
    if value is None:
        return PageCell("–", None)
    if isinstance(value, Undefined):
        return PageCell("–", None, value.reason)
    form = "{:,}".format if measure.unit == "count" else FORMS[measure.unit]
    return PageCell(form(value), float(value))


def _lettered(cell: PageCell, letters: dict[str, str]) -> PageCell:
    """Return the cell with the letter of its reason, which is a new one for a new reason."""
    if not cell.reason:
        return cell
    return replace(cell, note=letters.setdefault(cell.reason, chr(ord("a") + len(letters))))


def _scored(value: float | None) -> PageCell:
    return PageCell("–", None) if value is None else PageCell(f"{value:.4f}", value)


def _whole(number: int) -> PageCell:
    return PageCell(f"{number:,}", float(number))


@dataclass(frozen=True)
class Setting:
    """One value of the recipe, as YAML would show it, and why it is so."""

    key: str
    value: str
    reason: str


def recipe_sections(
    recipe: Recipe, reasons: Mapping[str, str]
) -> tuple[tuple[str, tuple[Setting, ...]], ...]:
    """Return (section, settings); the reason is the plan's, else what the key means, else ""."""
    sections = []
    for name in Recipe.model_fields:
        section: Section = getattr(recipe, name)
        values = section.model_dump(mode="json")
        settings = tuple(
            Setting(
                key,
                json.dumps(values[key], ensure_ascii=False).strip('"'),
                reasons.get(f"{name}.{key}") or info.description or "",
            )
            for key, info in type(section).model_fields.items()
        )
        sections.append((name, settings))
    return tuple(sections)


@dataclass(frozen=True)
class ShareRow:
    """A share that was asked for (or is natural) beside the one delivered, both in [0, 1]."""

    name: str
    asked: float
    delivered: float
    n: str


def pool_rows(composition: Composition) -> tuple[ShareRow, ...]:
    """Return where the patches were centred: asked and delivered shares of the pools."""
    total = max(1, sum(composition.centres))
    return tuple(
        ShareRow(name, asked, centres / total, f"{centres:,}")
        for name, asked, centres in zip(
            composition.pools, composition.asked, composition.centres, strict=True
        )
    )


def prior_rows(composition: Composition, natural: Mapping[str, float]) -> tuple[ShareRow, ...]:
    """Return what the network saw: each class's share in the data and in the patches."""
    return tuple(
        ShareRow(name, natural.get(name, 0.0), share, f"{voxels:,}")
        for name, share, voxels in zip(
            composition.classes, composition.prior, composition.voxels, strict=True
        )
    )
