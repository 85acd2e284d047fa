"""Make table rows of surface distances, challenge scores and confused classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rareseg.evaluation.comparisons.paired_test import PairedComparison
from rareseg.evaluation.comparisons.unpaired_test import UnpairedComparison
from rareseg.evaluation.measures.mask_measures import CaseDetails, summarize_details
from rareseg.evaluation.measures.measure_table import DETAIL_MEASURES, measure_named
from rareseg.evaluation.metrics.confusion_matrix import Confusion
from rareseg.evaluation.statistics.intervals import Estimate
from rareseg.evaluation.statistics.undefined import Undefined, Value, format_value, is_defined
from rareseg.report.wording.numbers import FORMS, count, difference, percent, with_interval


@dataclass(frozen=True)
class ConfusionView:
    """Rows of text: the class, its voxels, and the share of them called each class."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def detail_rows(
    details: Sequence[CaseDetails], *, volumes: bool, unit: str
) -> tuple[tuple[str, ...], ...]:
    """Return (measure, mean with its interval, cases behind it) of one region's cases.

    ``unit`` is that of lengths; the challenges' scores are left out unless ``volumes``. No details
    give no rows.
    """
    if not details:
        return ()
    tolerance = details[0].surfaces.tolerance_mm
    more = {"mm": f" ({unit})", "ml": " (ml)"}
    rows = []
    for measure, estimate in zip(DETAIL_MEASURES, summarize_details(details).values(), strict=True):
        if measure.volumes_only and not volumes:
            continue
        title = measure.title + more.get(measure.unit, "")
        if measure.name == "surface_dice":
            title += f" within {tolerance:g} {unit}"
        text = with_interval(estimate, FORMS[measure.unit])
        if isinstance(estimate.value, Undefined):
            text = f"undefined: {estimate.value.reason}"
        behind = count(estimate.n_cases, "case")
        if estimate.n_undefined:
            behind += f", {estimate.n_undefined} undefined"
        rows.append((title, text, behind))
    return tuple(rows)


def comparison_rows(lines: Sequence[PairedComparison]) -> tuple[tuple[str, ...], ...]:
    """Return (measure, before, now, change with its interval, p) of one region."""
    return tuple(
        (
            measure_named(line.measure).heading,
            format_value(line.first, 2),
            format_value(line.second, 2),
            with_interval(line.difference, difference),
            f"{line.p_value:.2g}" if is_defined(line.p_value) else "–",
        )
        for line in lines
    )


def unpaired_rows(
    lines: Sequence[UnpairedComparison], *, of_data: bool
) -> tuple[tuple[str, ...], ...]:
    """Return (what, then, now, change with its interval, cases then and now) of one region."""
    return tuple(
        (
            line.measure if of_data else measure_named(line.measure).heading,
            _quantity(line.first.value),
            _quantity(line.second.value),
            _change(line),
            f"{_behind(line.first)} · {_behind(line.second)}",
        )
        for line in lines
        if line.of_data is of_data
    )


def _behind(estimate: Estimate) -> str:
    return f"{estimate.n_cases:,} ({estimate.n_groups:,})"


def _quantity(value: Value) -> str:
    """Return a value with three digits, large ones whole."""
    if not is_defined(value):
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100.0 else f"{value:.2f}"


def _change(line: UnpairedComparison) -> str:
    if not is_defined(line.difference):
        return "–"

    def signed(value: float) -> str:
        return f"{value:+,.0f}".replace("-", "−") if abs(value) >= 100.0 else difference(value)

    if not (is_defined(line.low) and is_defined(line.high)):
        return f"{signed(line.difference)} (no interval)"
    return f"{signed(line.difference)} ({signed(line.low)} to {signed(line.high)})"


def confusion_view(confusion: Confusion | None) -> ConfusionView | None:
    """Return the confusion matrix of classes; None unless there are three or more."""
    if confusion is None or len(confusion.names) < 3:
        return None
    names = confusion.names
    rows = []
    for i, name in enumerate(names):
        shares = [confusion.share(i, j) for j in range(len(names))]
        cells = [percent(share) if is_defined(share) else "–" for share in shares]
        rows.append((name, f"{int(confusion.matrix[i].sum()):,}", *cells))
    return ConfusionView(("Is", "voxels", *(f"called {name}" for name in names)), tuple(rows))
