"""The tables of the page as rows of finished text: cases, recipe, composition."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rareseg.evaluation.cases import CaseResult
from rareseg.evaluation.values import Undefined, Value
from rareseg.recipe import Recipe, Section
from rareseg.report.wording import score
from rareseg.sampling.composition import Composition


@dataclass(frozen=True)
class Cell:
    """A number of a table: its text, what it is sorted by (None: last), why it is undefined.

    ``note`` is the letter under which the table explains ``reason``.
    """

    text: str
    key: float | None
    reason: str = ""
    note: str = ""


@dataclass(frozen=True)
class CaseRow:
    """One case of one region: its names (case, group, stratum) and its numbers."""

    names: tuple[str, ...]
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class CaseTable:
    """Rows under the columns ``names`` and ``columns``, with (letter, reason) notes."""

    names: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[CaseRow, ...]
    notes: tuple[tuple[str, str], ...]


CASE_METRICS = ("dice", "iou", "precision", "recall")


def case_table(results: Sequence[CaseResult], *, voxel: str = "voxel") -> CaseTable:
    """Return one row per result, as given; every undefined value has a letter for its reason.

    Where no group is known there is no column for it; those of the presence and of the image score
    stand where any case has a presence, since the image score is the top score elsewhere.
    """
    grouped = any(result.group for result in results)
    presence = any(result.presence is not None for result in results)
    letters: dict[str, str] = {}

    def metric(value: Value) -> Cell:
        if isinstance(value, Undefined):
            letter = letters.setdefault(value.reason, chr(ord("a") + len(letters)))
            return Cell("–", None, value.reason, letter)
        return Cell(score(value), value)

    rows = tuple(
        CaseRow(
            (result.case_id, *((result.group or "",) if grouped else ()), result.stratum),
            (
                *(metric(result.metric(name)) for name in CASE_METRICS),
                *(_whole(number) for number in (result.counts.fp, result.counts.fn)),
                _whole(len(result.lesions.sizes)),
                _whole(result.lesions.n_found),
                _whole(len(result.lesions.false_positive_sizes)),
                Cell(f"{result.top_score:.4f}", result.top_score),
                *(_image_cells(result) if presence else ()),
            ),
        )
        for result in results
    )
    columns = (
        "Dice",
        "IoU",
        "Precision",
        "Recall",
        f"Wrong {voxel}s",
        f"Missed {voxel}s",
        "Lesions",
        "Found",
        "False components",
        "Top score",
        *(("Presence", "Image score") if presence else ()),
    )
    names = ("Case", "Group", "Stratum") if grouped else ("Case", "Stratum")
    return CaseTable(
        names, columns, rows, tuple((letter, reason) for reason, letter in letters.items())
    )


def _image_cells(result: CaseResult) -> tuple[Cell, Cell]:
    """Return the presence and the image score."""
    q = result.presence
    return (
        Cell("–", None) if q is None else Cell(f"{q:.4f}", q),
        Cell(f"{result.image_score:.4f}", result.image_score),
    )


def _whole(number: int) -> Cell:
    return Cell(f"{number:,}", float(number))


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
