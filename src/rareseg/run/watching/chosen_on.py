"""What is known with labels of the model that watches: the cases that its points were chosen on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rareseg.decision.calibration.prevalence import Call, calls_at
from rareseg.decision.guarantees.group_losses import Path as Points
from rareseg.decision.guarantees.group_losses import losses_along, needs_components
from rareseg.decision.guarantees.guarantee import Guarantee
from rareseg.decision.operating_point import OperatingPoint
from rareseg.errors import ScoreError, UsageError
from rareseg.evaluation.statistics.intervals import count_groups
from rareseg.evaluation.tables.component_table import ComponentTable
from rareseg.evaluation.tables.score_table import ScoreTable
from rareseg.evaluation.tables.threshold_bins import bin_of
from rareseg.run.scores.score_source import read_tables
from rareseg.run.watching.watched_model import WatchedModel


@dataclass(frozen=True, eq=False)
class ChosenOn:
    """The tables of the cases that points were chosen on, scored by the model that watches."""

    scores: ScoreTable
    components: ComponentTable

    def calls(self, point: OperatingPoint) -> tuple[Call, ...]:
        """Return what the point's masks say of each case; raises ScoreError off the grid."""
        removes = point.smallest_component.removes
        return calls_at(self.components if removes else self.scores, point)

    def share_of_groups(self, guarantee: Guarantee, region: str) -> float:
        """Return the share of groups that hold an image which the guarantee is about."""
        rows = [row for row in self.scores.select(region=region).rows if row.n_voxels > 0]
        about = [row for row in rows if guarantee.is_about(positive=row.n_inside > 0)]
        whole = count_groups([row.group for row in rows])
        return count_groups([row.group for row in about]) / whole if whole else 0.0

    def prevalence(self, region: str) -> float:
        """Return the share of cases that hold the region."""
        rows = [row for row in self.scores.select(region=region).rows if row.n_voxels > 0]
        return sum(row.n_inside > 0 for row in rows) / len(rows) if rows else 0.0

    def loss(self, guarantee: Guarantee, point: OperatingPoint) -> float | None:
        """Return the mean loss of the groups at a point; None where it cannot be told."""
        table = self.components if needs_components(guarantee, point) else self.scores
        grid = table.grid if isinstance(table, ComponentTable) else None
        at = bin_of(point.threshold)
        if grid is not None and int(at) not in grid:
            return None
        path = Points(
            np.array([at], np.int64),
            np.array([point.gate]),
            point.smallest_component,
            np.zeros(1),
            grid,
        )
        found = losses_along(table.select(region=point.region).rows, path, guarantee)
        return float(found.losses[:, 0].mean()) if found.n_groups else None


def chosen_on(model: WatchedModel) -> tuple[ChosenOn | None, str]:
    """Return the tables, or None and why there are none that speak of this model."""
    if model.folder is None:
        return None, "a bundle alone has no cases with known masks"
    if model.folder.folds.is_file():
        return None, "its points were chosen on scores out of fold, which other networks gave"
    try:
        tables = read_tables(model.folder, "validation")
    except (ScoreError, UsageError) as error:
        return None, str(error).rstrip(".")
    if tables is None:
        return None, "its validation cases were never scored; `rareseg tune` scores them"
    return ChosenOn(*tables), ""
