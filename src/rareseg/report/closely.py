"""What is measured at the chosen point alone: surfaces, challenge scores, confused classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rareseg.evaluation.comparison import PairedComparison
from rareseg.evaluation.confusion import Confusion
from rareseg.evaluation.details import CaseDetails, summarize_details
from rareseg.evaluation.values import Undefined, format_value, is_defined
from rareseg.report.wording import Form, count, difference, percent, quantity, score, with_interval

NAMES: Mapping[str, tuple[str, Form]] = {
    "hausdorff_95_mm": ("95 % Hausdorff distance", quantity),
    "mean_surface_distance_mm": ("Mean surface distance", quantity),
    "surface_dice": ("Surface dice", score),
    "brats_lesionwise_dice": ("Lesion-wise dice, as BraTS 2023", score),
    "autopet_false_positive_ml": ("False-positive volume, as autoPET", quantity),
    "autopet_false_negative_ml": ("False-negative volume, as autoPET", quantity),
}
"""How each measure is called, and how its numbers are read."""

_VOLUMES = ("brats_lesionwise_dice", "autopet_false_positive_ml", "autopet_false_negative_ml")
"""Measures that are defined for volumes."""


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
    rows = []
    for name, estimate in summarize_details(details).items():
        if name in _VOLUMES and not volumes:
            continue
        title, form = NAMES[name]
        if name == "surface_dice":
            title += f" within {tolerance:g} {unit}"
        elif name.endswith("_mm"):
            title += f" ({unit})"
        elif name.endswith("_ml"):
            title += " (ml)"
        text = with_interval(estimate, form)
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
            line.measure.capitalize(),
            format_value(line.first, 2),
            format_value(line.second, 2),
            with_interval(line.difference, difference),
            f"{line.p_value:.2g}" if is_defined(line.p_value) else "–",
        )
        for line in lines
    )


def confusion_view(confusion: Confusion | None) -> ConfusionView | None:
    """Return the classes that were taken for others; None unless there are three or more."""
    if confusion is None or len(confusion.names) < 3:
        return None
    names = confusion.names
    rows = []
    for i, name in enumerate(names):
        shares = [confusion.share(i, j) for j in range(len(names))]
        cells = [percent(share) if is_defined(share) else "–" for share in shares]
        rows.append((name, f"{int(confusion.matrix[i].sum()):,}", *cells))
    return ConfusionView(("Is", "voxels", *(f"called {name}" for name in names)), tuple(rows))
