"""Our names for what outside case collections call: functions and records of the library by role.

A collection of cases (inputs that people bring, with the right answer) is written against one set
of names; this module gives them whatever we call things. Keep it true in every change that renames
or moves one of them.
"""

import rareseg
from rareseg.decision.operating_point.point import default_point  # noqa: F401
from rareseg.decision.point_search.objectives import make_goal  # noqa: F401
from rareseg.evaluation.comparisons import comparison_table, paired_test
from rareseg.evaluation.comparisons.paired_test import Headline  # noqa: F401
from rareseg.evaluation.measures import scorecard
from rareseg.evaluation.measures.case_result import measure_case  # noqa: F401
from rareseg.evaluation.metrics.froc import candidate_froc  # noqa: F401
from rareseg.evaluation.metrics.objects import match_objects as match_lesions  # noqa: F401
from rareseg.evaluation.metrics.overlap import average_precision, pooled_curve, roc_auc  # noqa: F401
from rareseg.evaluation.metrics.surface_distance import measure_surfaces  # noqa: F401
from rareseg.evaluation.statistics import intervals
from rareseg.evaluation.statistics.undefined import Undefined, is_defined  # noqa: F401
from rareseg.evaluation.tables import component_table
from rareseg.recipe import LOSS_SECTIONS
from rareseg.training.losses import losses, make_loss  # noqa: F401
from rareseg.training.plan import make_preprocessing, plan_recipe  # noqa: F401
from rareseg_runner.decision import cut_point
from rareseg_runner.formats import read_mask  # noqa: F401

LOSSES = tuple(losses())


class Bounds:
    """The bounds of an estimate as the cases read them: None where there is no interval."""

    def __init__(self, estimate):
        self.value = estimate.value
        self.low = estimate.low if is_defined(estimate.low) else None
        self.high = estimate.high if is_defined(estimate.high) else None


def LossSection(name):
    """Return the section of one loss."""
    return LOSS_SECTIONS.member(name)()


def estimate_mean(values, groups, *, none, generator=None, resamples=None):
    """Return the mean of shares; nothing is drawn any more."""
    return Bounds(intervals.estimate_mean(values, groups, none=none, scale="share"))


def compare_paired(first, second, groups, *, measure, resamples=None):
    """Return the paired comparison; nothing is drawn but signs."""
    return paired_test.compare_paired(first, second, groups, measure=measure)


def hold_contest(runs, *, seed=0):
    """Return the columns of a comparison; nothing is drawn."""
    return comparison_table.tabulate_runs(runs)


class Positives:
    """The positive cases of a region, as the cases read them: a measure is an attribute."""

    def __init__(self, part):
        self._part = part
        self.n_cases = part.positives.n_cases

    def __getattr__(self, measure):
        return self._part[measure]


class Part:
    """One region of a scorecard."""

    def __init__(self, part):
        self.positives = Positives(part)


class Card:
    """A scorecard."""

    def __init__(self, card):
        self._card = card

    def region(self, name):
        return Part(self._card.region(name))


def make_scorecard(results):
    """Return the scorecard."""
    return Card(scorecard.make_scorecard(results))


class Library:
    """rareseg, where the cases give the sizes of components as numbers in the images' own unit."""

    def __getattr__(self, name):
        return getattr(rareseg, name)

    def choose_operating_point(self, table, *, smallest=None, **more):
        """Return the point chosen; of sizes that are given, each is named with its unit."""
        if smallest is not None:
            smallest = [f"{size} {table.size_unit}" for size in smallest]
        return rareseg.choose_operating_point(table, smallest=smallest, **more)


rs = Library()

_spacings = []  # of the score maps that were seen; the cases cut the same maps


def components_of_cases(scores, references, *, spacing=(1.0, 1.0, 1.0), **more):
    """Return the component table."""
    for name, array in scores.items():
        _spacings.append((array, spacing[name] if isinstance(spacing, dict) else spacing))
    return component_table.components_of_cases(scores, references, spacing=spacing, **more)


def apply_point(scores, point, presence=None):
    """Return the mask, at the spacing that the map was counted with."""
    known = (spacing for array, spacing in _spacings if array is scores)
    return cut_point.apply_point(scores, point, presence, spacing=next(known, None))
