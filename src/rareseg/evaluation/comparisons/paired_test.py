"""Compare two runs on the same cases by paired differences over groups."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rareseg.data.records import object_named
from rareseg.errors import ScoreError
from rareseg.evaluation.measures.case_result import CaseResult
from rareseg.evaluation.measures.measure import Measure, read_cell
from rareseg.evaluation.measures.measure_table import shown_in
from rareseg.evaluation.statistics.intervals import Estimate, estimate_mean, group_numbers
from rareseg.evaluation.statistics.jackknife import ALL_ALIKE
from rareseg.evaluation.statistics.undefined import (
    Undefined,
    Value,
    is_defined,
    mean_of_defined,
    value_to_json,
)
from rareseg.evaluation.tables.case_arrays import require_known_cases
from rareseg_runner.text_files import read_table

Floats = NDArray[np.float64]

FEWEST_TO_CLAIM = 6
"""Groups below which no difference is claimed: of five no pattern of signs is rarer than 1 in 16.
"""

_BLOCK = 2**22
"""How many drawn signs are held at a time."""

_EXACT = 14
"""Up to so many groups every pattern of signs is tried."""


@dataclass(frozen=True)
class Headline:
    """The measures of one region of one case that are compared, by their words."""

    case_id: str
    region: str
    group: str | None
    values: Mapping[str, Value]


@dataclass(frozen=True)
class PairedComparison:
    """The difference second − first of one measure over the same cases.

    ``first`` and ``second`` are the means over the cases in which both are defined,
    ``difference`` that of the pairs with its jackknife interval over groups and the numbers of
    cases and groups behind it; its ``n_undefined`` cases had no value in one run or the other.
    ``p_value`` is the two-sided permutation test's, by ``test``; ``confidence`` is what both are
    held to.
    """

    measure: str
    first: Value
    second: Value
    difference: Estimate
    p_value: Value
    test: str
    confidence: float = 0.95

    @property
    def differs(self) -> bool:
        """Whether interval and test agree that there is a difference; never below six groups.

        Where all groups changed alike there is no interval, and the test decides.
        """
        low, high = self.difference.low, self.difference.high
        if not is_defined(self.p_value) or self.difference.n_groups < FEWEST_TO_CLAIM:
            return False
        if is_defined(low) and is_defined(high):
            excludes_zero = low > 0.0 or high < 0.0
        else:
            excludes_zero = low == ALL_ALIKE and self.difference.value != 0.0
        return excludes_zero and self.p_value <= 1.0 - self.confidence

    @property
    def unchanged(self) -> bool:
        """Whether no case of enough groups for an interval differs."""
        return self.difference.low == ALL_ALIKE and self.difference.value == 0.0


def compare_paired(
    first: Mapping[str, Value],
    second: Mapping[str, Value],
    groups: Mapping[str, str | None],
    *,
    measure: str,
    seed: int = 0,
    permutations: int = 10_000,
    confidence: float = 0.95,
) -> PairedComparison:
    """Return how one measure differs between two runs, case by case.

    The mappings lead from a case's id to its value; ``groups`` leads from id to group, and a case
    that it does not name is its own. Cases weigh equally. The interval is the jackknife's over
    groups; the test flips the sign of all differences of a group at once (under the null
    hypothesis the two runs are exchangeable within a group), over every pattern up to 14 groups
    and over random ones beyond, p = (1 + #{as extreme}) / (1 + permutations) (Phipson & Smyth
    2010). Without a case that is defined in both, everything is Undefined. Raises ScoreError
    where the runs do not hold the same cases, or ``groups`` names a case that they do not.
    """
    require_same_cases(first, second)
    require_known_cases(groups, first)
    cases = sorted(first)
    pairs = [(first[case], second[case]) for case in cases]
    differences: list[Value] = [
        b - a if is_defined(a) and is_defined(b) else Undefined(f"{measure} is undefined in a run")
        for a, b in pairs
    ]
    own_groups = [groups.get(case) for case in cases]
    # Each measure has signs of its own, so that another one changes nothing here.
    generator = np.random.default_rng([seed, *measure.encode()])
    none = f"{measure} is defined in both runs for no case"
    paired = [(a, b) for a, b in pairs if is_defined(a) and is_defined(b)]
    p_value, test = _permutation_test(differences, own_groups, generator, permutations, none)
    return PairedComparison(
        measure=measure,
        first=mean_of_defined((a for a, _ in paired), undefined=none),
        second=mean_of_defined((b for _, b in paired), undefined=none),
        difference=estimate_mean(
            differences,
            own_groups,
            none=none,
            scale="plain",
            confidence=confidence,
        ),
        p_value=p_value,
        test=test,
        confidence=confidence,
    )


def require_same_cases(first: Collection[str], second: Collection[str]) -> None:
    """Raise ScoreError that names a case which only one run has."""
    unmatched = sorted(set(first) ^ set(second))
    if unmatched:
        raise ScoreError(
            f"Two runs are compared on the same cases, but '{unmatched[0]}' stands in one of them "
            f"only ({len(unmatched)} such cases); evaluate both on one set."
        )


def _permutation_test(
    differences: Sequence[Value],
    groups: Sequence[str | None],
    generator: np.random.Generator,
    permutations: int,
    none: str,
) -> tuple[Value, str]:
    """Return the two-sided p-value of flipped signs, and in words how it came about."""
    defined = [i for i, value in enumerate(differences) if is_defined(value)]
    if not defined:
        return Undefined(none), "no test"
    numbers = group_numbers([groups[i] for i in defined])
    values = np.array([value for value in differences if is_defined(value)])
    sums = np.bincount(numbers, values).astype(np.float64)
    n = len(sums)
    # Sums in another order may differ in the last digits; what ties must count as extreme.
    bar = abs(sums.sum()) * (1 - 1e-9) - 1e-12 * np.abs(sums).sum()
    if n <= _EXACT:
        patterns = (np.arange(2**n)[:, np.newaxis] >> np.arange(n)) & 1
        extreme = int((np.abs((2.0 * patterns - 1.0) @ sums) >= bar).sum())
        return extreme / 2**n, f"all {2**n} sign patterns of {n} groups"
    extreme = 0
    block = max(1, _BLOCK // n)
    for start in range(0, permutations, block):
        rows = min(block, permutations - start)
        signs = 2.0 * generator.integers(2, size=(rows, n)) - 1.0
        extreme += int((np.abs(signs @ sums) >= bar).sum())
    return (1 + extreme) / (1 + permutations), f"{permutations} random sign patterns of {n} groups"


def compare_results(
    first: Sequence[CaseResult], second: Sequence[CaseResult], *, region: str, seed: int = 0
) -> tuple[PairedComparison, ...]:
    """Return the measures of one region that a comparison shows, compared between two runs.

    As :func:`compare_headlines`, of results that are at hand.
    """
    ours, theirs = ([headline(result) for result in results] for results in (first, second))
    return compare_headlines(ours, theirs, region=region, seed=seed)


def compare_headlines(
    first: Sequence[Headline], second: Sequence[Headline], *, region: str, seed: int = 0
) -> tuple[PairedComparison, ...]:
    """Return the measures of one region that a comparison shows, compared between two runs.

    A measure over positive cases is compared in those, one over negative cases in those, and one
    over objects in every case that it is about. A measure for which there is no such case is
    Undefined. Groups are those of the second. Raises ScoreError where the runs do not hold the
    same cases.
    """
    ours, theirs = (
        {line.case_id: line for line in lines if line.region == region} for lines in (first, second)
    )
    require_same_cases(ours, theirs)
    groups = {case: line.group for case, line in theirs.items()}

    def compare(measure: str) -> PairedComparison:
        mine, other = (
            {case: line.values[measure] for case, line in lines.items() if measure in line.values}
            for lines in (ours, theirs)
        )
        own = {case: groups[case] for case in other}
        return compare_paired(mine, other, own, measure=measure, seed=seed)

    return tuple(compare(measure.words) for measure in shown_in("comparison"))


def comparison_to_json(line: PairedComparison) -> dict[str, Any]:
    """Return a comparison as plain JSON values."""
    change = line.difference
    return {
        "measure": line.measure,
        "first": value_to_json(line.first),
        "second": value_to_json(line.second),
        "difference": value_to_json(change.value),
        "low": value_to_json(change.low),
        "high": value_to_json(change.high),
        "n_cases": change.n_cases,
        "n_groups": change.n_groups,
        "p_value": value_to_json(line.p_value),
        "test": line.test,
        "method": change.method,
    }


def headline(result: CaseResult) -> Headline:
    """Return what is compared of one result."""
    values = _compared(result.stratum, lambda measure: measure.compute(result))
    return Headline(result.case_id, result.region, result.group, values)


def _compared(
    stratum: str, value_of: Callable[[Measure[CaseResult]], Value | None]
) -> dict[str, Value]:
    """Return the values that a case of a stratum has, of what is compared."""
    values: dict[str, Value] = {}
    for measure in shown_in("comparison"):
        over = ("positive", "negative") if measure.stratum == "object" else (measure.stratum,)
        value = value_of(measure) if stratum in over else None
        if value is not None:
            values[measure.words] = float(value) if is_defined(value) else value
    return values


def read_headlines(path: Path) -> tuple[Headline, ...]:
    """Return what is compared of the cases of a ``cases.csv``.

    Raises ScoreError that names the file where it cannot be read as one.
    """
    try:
        return tuple(map(headline_of_row, read_table(path)))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ScoreError(
            f"{path} cannot be read as the cases of an evaluation ({error}); name the folder that "
            "`rareseg evaluate --out` or `rareseg train --out` wrote."
        ) from error


def headline_of_row(written: Mapping[str, str]) -> Headline:
    """Return what is compared of a row of cases.csv; KeyError or ValueError where it is none."""
    line = {object_named(name): text for name, text in written.items()}
    line["undefined"] = object_named(line["undefined"])
    values = _compared(line["stratum"], lambda measure: read_cell(measure, line))
    return Headline(line["case"], line["region"], line["group"] or None, values)
