"""Where to cut: the threshold, smallest component and image-level gate of a region.

:func:`choose_operating_point` reads tables only, :func:`apply_point` is the one place in the
package where a score is compared with a threshold.
"""

from rareseg.decision.default_point.point_evidence import (
    FEW_ALARMS,
    FEWEST_GROUPS,
    LEAST_AUC,
    PointEvidence,
    ReachedPoint,
)
from rareseg.decision.operating_point.choose import (
    SILENCE_MARGIN,
    PointChoice,
    choose_operating_point,
    choose_with_frontier,
)
from rareseg.decision.operating_point.fixed import BY_HAND, fixed_point
from rareseg.decision.operating_point.frontier import Frontier, FrontierPoint
from rareseg.decision.operating_point.point import Infeasible, OperatingPoint, default_point
from rareseg.decision.point_search.component_sizes import usual_sizes
from rareseg.decision.point_search.grid_search import gates_of
from rareseg.decision.point_search.image_costs import ImageCosts
from rareseg.decision.point_search.objectives import (
    LEVELS,
    LIMITS,
    OBJECTIVES,
    Goal,
    Limit,
    make_goal,
)
from rareseg_runner.decision.cut_point import apply_point

__all__ = [
    "BY_HAND",
    "FEWEST_GROUPS",
    "FEW_ALARMS",
    "LEAST_AUC",
    "LEVELS",
    "LIMITS",
    "OBJECTIVES",
    "SILENCE_MARGIN",
    "Frontier",
    "FrontierPoint",
    "Goal",
    "ImageCosts",
    "Infeasible",
    "Limit",
    "OperatingPoint",
    "PointChoice",
    "PointEvidence",
    "ReachedPoint",
    "apply_point",
    "choose_operating_point",
    "choose_with_frontier",
    "default_point",
    "fixed_point",
    "gates_of",
    "make_goal",
    "usual_sizes",
]
