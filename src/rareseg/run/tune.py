"""Choose the operating points of a run's model from its select cases."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from rareseg.data.records import Case, Role
from rareseg.decision.operating_point import Infeasible, OperatingPoint, choose_operating_point
from rareseg.errors import UsageError, nearest
from rareseg.evaluation.scores import ScoreTable
from rareseg.evaluation.storage import load_table, save_table
from rareseg.prediction.bundle import Bundle, load_bundle, save_points
from rareseg.prediction.predictor import Predictor
from rareseg.progress import Track, silent
from rareseg.run.folder import DataOptions, RunFolder, open_run, read_about, read_split
from rareseg.run.prepare import Say, nobody
from rareseg.run.scoring import score_all

Chosen = Mapping[str, OperatingPoint | Infeasible]
"""What was found for each region: a point, or why there is none."""


def tune(
    run: Path | str,
    *,
    maximize: str = "dice",
    region: str | None = None,
    device: str | torch.device = "cpu",
    track: Track = silent,
    say: Say = nobody,
) -> Chosen:
    """Choose the operating point of every region, or of one, and store it in the run's bundle.

    Points are chosen on the select cases alone. A region without a positive select case gets no
    point and the reason. Raises :class:`UsageError` for an unknown region or objective and
    :class:`RunError` for a folder that is no finished run.
    """
    folder = open_run(Path(run))
    bundle = load_bundle(folder.bundle)
    regions = tuple(bundle.classes.regions)
    if region is not None and region not in regions:
        raise UsageError(
            f"--region {region!r} is not a region of this model{nearest(region, regions)}; "
            f"allowed are {', '.join(regions)}."
        )
    table = select_table(folder, bundle, device=device, track=track)
    chosen = {
        name: choose_operating_point(table, region=name, maximize=maximize)
        for name in (regions if region is None else (region,))
    }
    save_points(
        folder.bundle,
        {name: point for name, point in chosen.items() if isinstance(point, OperatingPoint)},
    )
    for found in chosen.values():
        say(describe(found))
    return chosen


def select_table(
    folder: RunFolder, bundle: Bundle, *, device: str | torch.device, track: Track = silent
) -> ScoreTable:
    """Return the scores of the run's select cases, computed once with the bundle's own function."""
    path = folder.scores("select")
    if path.is_file():
        return load_table(path)
    scored = score_all(
        Predictor(bundle, device=device),
        cases_of(folder, "select"),
        role="select",
        track=track,
        doing="scoring select cases",
    )
    save_table(scored.table, path)
    return scored.table


def cases_of(folder: RunFolder, role: Role) -> list[Case]:
    """Return the run's cases that play ``role``."""
    roles = read_split(folder.split)
    dataset = DataOptions(**read_about(folder)).open()
    return [case for case in dataset.cases if roles.get(case.id) == role]


def describe(found: OperatingPoint | Infeasible) -> str:
    """Return one line that says where the cut lies, what it reaches and on how many cases."""
    if isinstance(found, Infeasible):
        return f"{found.region}: no operating point: {found.reason}."
    gate = f", gate {found.gate:.4g}" if found.gate > 0 else ""
    negatives = f", {found.n_negative} negative" if found.n_negative else ""
    groups = "images taken as independent" if found.assumes_independent_images else "groups"
    return (
        f"{found.region}: threshold {found.threshold:.4g}{gate}; on {found.n_positive} positive"
        f"{negatives} select cases ({found.n_groups} {groups}): dice {_show(found.mean_dice)}"
        + (f", {_show(found.share_clean)} of negatives left clean" if found.n_negative else "")
    )


def _show(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
