"""Write the page of a comparison: paired intervals, and the same cases side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from rareseg.evaluation.comparisons.comparison_table import POWER, WORTH, Column, ComparisonEntry
from rareseg.evaluation.comparisons.non_inferiority import NonInferiority
from rareseg.evaluation.comparisons.paired_seeds import FEWEST_SEEDS
from rareseg.evaluation.statistics.undefined import is_defined
from rareseg.report.figures.case_pictures import errors_uri, image_uri, reference_uri
from rareseg.report.pages.report_page import asset, environment
from rareseg.report.report_content import CasePicture
from rareseg.report.wording.numbers import FORMS, count, difference, interval, percent
from rareseg_runner.atomic_files import atomic_write


@dataclass(frozen=True, eq=False)
class PictureRow:
    """One case and region in the same slice, with the mask of every row."""

    case_id: str
    region: str
    taken: Mapping[str, CasePicture]


@dataclass(frozen=True, eq=False)
class ComparisonContent:
    """What the page shows.

    ``departures`` lead from a row to the values in which it departs from the first; ``steps`` to
    how long it learned. ``overhead`` is the share of all time that was no training. ``errors`` are
    of cells that failed, whose rows are not shown.
    """

    title: str
    columns: tuple[Column, ...]
    claims: tuple[NonInferiority, ...]
    departures: Mapping[str, tuple[str, ...]]
    steps: Mapping[str, int]
    n_seeds: int
    n_folds: int
    overhead: float
    pictures: tuple[PictureRow, ...] = ()
    errors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class EntryView:
    """One cell of the table in words."""

    text: str
    change: str
    best: bool
    winner: bool
    silent: bool


@dataclass(frozen=True)
class TableView:
    """The table of one region at one cut: columns are measures, lines are rows.

    ``power`` says how often such a comparison would tell a difference; "" where nothing is known.
    """

    cut: str
    region: str
    titles: tuple[str, ...]
    behind: tuple[str, ...]
    lines: tuple[tuple[str, tuple[EntryView, ...]], ...]
    power: str


def write_comparison_page(path: Path, content: ComparisonContent) -> None:
    """Write the page, atomically; it loads nothing. Raises WorkError where that fails."""
    text = (
        environment()
        .get_template("contest.html.j2")
        .render(
            content=content,
            tables=table_views(content.columns),
            claims=[non_inferiority_sentence(claim) for claim in content.claims],
            pictures=[
                (
                    row,
                    image_uri(next(iter(row.taken.values()))),
                    reference_uri(next(iter(row.taken.values()))),
                    [(name, errors_uri(picture)) for name, picture in row.taken.items()],
                )
                for row in content.pictures
            ],
            css=asset("page.css"),
        )
    )
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def table_views(columns: tuple[Column, ...]) -> tuple[TableView, ...]:
    """Return one table for every region and cut, those of a region after each other."""
    regions = dict.fromkeys(column.region for column in columns)
    cuts = dict.fromkeys(column.cut for column in columns)
    views = []
    for region, cut in product(regions, cuts):
        own = [c for c in columns if (c.region, c.cut) == (region, cut)]
        views.append(
            TableView(
                cut=cut,
                region=region,
                titles=tuple(column.of.heading for column in own),
                behind=tuple(
                    f"{c.entries[0].n_cases:,} in {count(c.entries[0].n_groups, 'group')}"
                    for c in own
                ),
                lines=tuple(
                    (entry.row, tuple(_view(column, k) for column in own))
                    for k, entry in enumerate(own[0].entries)
                ),
                power=" ".join(power_sentence(c) for c in own if c.measure == "dice"),
            )
        )
    return tuple(views)


def comparison_lines(columns: tuple[Column, ...]) -> list[str]:
    """Return the tables as plain lines for the terminal."""
    lines = []
    for table in table_views(columns):
        head = ["", *table.titles]
        body = [
            [
                f"{name} (finds nothing)" if any(e.silent for e in entries) else name,
                *(f"{e.text}{'*' if e.winner else ''} {e.change}".rstrip() for e in entries),
            ]
            for name, entries in table.lines
        ]
        widths = [max(len(row[k]) for row in [head, *body]) for k in range(len(head))]
        lines.append(f"{table.region}, at {table.cut}")
        lines += [
            "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            for row in [head, *body]
        ]
        lines += [f"  {table.power}"] if table.power else []
    lines.append("(difference to the first row, with its interval; * better than every other row)")
    return [line.rstrip() for line in lines]


def power_sentence(column: Column) -> str:
    """Say how often such a comparison would tell a difference, and what it would take."""
    seeds = [entry.against.n_seeds for entry in column.entries if entry.against is not None]
    if seeds and seeds[0] < FEWEST_SEEDS:
        return (
            f"No row is called better below {FEWEST_SEEDS} seeds ({count(seeds[0], 'seed')} here): "
            "how much a training varies is not known."
        )
    power = column.power
    if power is None:
        return ""
    text = (
        f"A difference of {WORTH:g} in {column.measure} would be told in "
        f"{percent(power.share)} of such comparisons"
    )
    if power.share >= POWER:
        return f"{text}."
    if power.seeds is None:
        return f"{text}; more seeds do not bring it to {percent(POWER)}, more groups would."
    return f"{text}; for {percent(POWER)} it takes {power.seeds} seeds."


def non_inferiority_sentence(claim: NonInferiority) -> str:
    """Say whether the candidate may replace its rivals, and if not, where it fails."""
    columns = claim.columns()
    where = f"at {claim.cut}" if claim.cut == "0.5" else "at each one's chosen point"
    said = {
        outcome: [
            f"{measure} of {region}" for (region, measure), own in columns.items() if own == outcome
        ]
        for outcome in ("better", "not worse", "open", "worse")
    }
    rivals = " and ".join(claim.rivals) if len(claim.rivals) < 3 else "every other row"
    if claim.holds:
        return (
            f"{claim.candidate} may replace {rivals} {where}: in none of "
            f"{count(len(columns), 'column')} is it worse by more than {claim.margin:g}, and it is "
            f"better in {', '.join(said['better'])}."
        )
    reasons = []
    if said["worse"]:
        reasons.append(f"it is worse in {', '.join(said['worse'])}")
    if said["open"]:
        reasons.append(
            f"{count(len(said['open']), 'column')} of {len(columns)} cannot be told "
            f"({', '.join(said['open'])}): more seeds or cases would"
        )
    if not reasons:
        reasons.append("it is better in no column")
    return f"{claim.candidate} is not shown to replace {rivals} {where}: {'; '.join(reasons)}."


def _view(column: Column, number: int) -> EntryView:
    entry = column.entries[number]
    value = entry.value
    return EntryView(
        text=FORMS[column.of.unit](value) if is_defined(value) else "–",
        change=_change(entry),
        best=entry.row == column.best,
        winner=entry.row == column.winner,
        silent=entry.row in column.silent,
    )


def _change(entry: ComparisonEntry) -> str:
    if entry.against is None or not is_defined(entry.against.difference.value):
        return ""
    found = entry.against.difference
    value = found.value
    assert is_defined(value), "checked above"
    return f"{difference(value)} ({interval(found.low, found.high, difference)})"
