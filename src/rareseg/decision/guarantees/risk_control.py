"""Compute how far a guarantee holds along a path of candidates, from the losses of groups.

Candidates lie on a **path** that leads from the safest to the boldest. Whoever makes it must not
have seen the groups whose losses are given here. Both controls answer with the number of leading
candidates that they stand for; 0 is none at all, and :func:`best_alpha` and :func:`needed_groups`
then say what would be possible.

Losses are (groups, candidates) float64 in [0, bound]. Rows are independent groups, drawn like the
next one.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.stats import binom

from rareseg.errors import ScoreError, UsageError

Floats = NDArray[np.float64]

_ROUNDING = 1e-9
"""Sums of losses that differ by less are equal."""

_MOST_GROUPS = 2**20
"""Beyond so many groups a guarantee counts as out of reach."""


def control_expectation(losses: ArrayLike, *, alpha: float, bound: float = 1.0) -> int:
    """Return how many leading candidates keep the expected loss of the next group ≤ ``alpha``.

    Conformal risk control (Angelopoulos et al., arXiv 2208.02814, eq. 4): with λ running from the
    boldest to the safest candidate, λ̂ = inf{λ : n/(n+1)·R̂ₙ(λ) + B/(n+1) ≤ α} gives
    E[L_{n+1}(λ̂)] ≤ α (Theorem 1). The losses of every group must not fall along the path;
    ScoreError where they do. It bounds an expectation over draws of the n groups too, not the
    share of draws whose risk is above α. No group at all gives 0.
    """
    checked = _checked(losses, alpha, bound)
    if np.any(np.diff(checked, axis=1) < -_ROUNDING):
        raise ScoreError(
            "Losses fall somewhere along the path, so that risk control does not hold for them; "
            "guarantee them with a confidence."
        )
    return reach_of_sums(checked.sum(axis=0), len(checked), alpha=alpha, bound=bound)


def control_with_confidence(
    losses: ArrayLike,
    *,
    alpha: float,
    confidence: float,
    binary: bool = False,
    bound: float = 1.0,
) -> int:
    """Return how many leading candidates have risk ≤ ``alpha``, all at once with ``confidence``.

    Learn then Test (Angelopoulos et al., arXiv 2110.01052) by fixed-sequence testing (their
    Algorithm 1 with one start): candidates are tested in the order of the path at level
    1 − confidence, up to the first failure. Losses need not be monotone. ``binary`` says that a
    loss can only be 0 or ``bound``. With probability ≥ confidence over draws of the groups, every
    candidate counted has risk ≤ α, so that any of them may be chosen, by any rule. No group at all
    gives 0.
    """
    checked = _checked(losses, alpha, bound)
    return reach_of_sums(
        checked.sum(axis=0),
        len(checked),
        alpha=alpha,
        confidence=_confidence(confidence),
        binary=binary,
        bound=bound,
    )


def reach_of_sums(
    sums: Floats,
    n: int,
    *,
    alpha: float,
    confidence: float | None = None,
    binary: bool = False,
    bound: float = 1.0,
) -> int:
    """Return how many leading candidates hold, from the sums of n groups' losses at each; (k,).

    The sums are all that either control looks at. ``confidence`` None is risk control.
    """
    if confidence is None:
        holds = (sums + bound) / (n + 1) <= alpha + _ROUNDING
    else:
        p = p_values(sums / bound, n, alpha=alpha / bound, binary=binary)
        holds = p <= 1.0 - confidence + 1e-12
    # Fixed-sequence testing: the first that fails ends it, whatever holds behind.
    return int(holds.size if holds.all() else holds.argmin())


def p_values(sums: ArrayLike, n: int, *, alpha: float, binary: bool) -> Floats:
    """Return p-values of "the risk is above ``alpha``" from sums of n losses in [0, 1]; any shape.

    For 0/1 losses P(Bin(n, α) ≤ Σ). Else Hoeffding–Bentkus (arXiv 2110.01052, Proposition 2):
    min{exp(−n·h₁(min(R̂, α), α)), e·P(Bin(n, α) ≤ ⌈n·R̂⌉)} with
    h₁(a, b) = a·ln(a/b) + (1 − a)·ln((1 − a)/(1 − b)). n = 0 gives 1.
    """
    total = np.asarray(sums, np.float64)
    if n == 0:
        return np.ones(total.shape)
    # ⌈n·R̂⌉: what a sum lies above a whole number by rounding must not count as one more.
    tail: Floats = binom.cdf(np.ceil(np.round(total, 9)), n, alpha)
    if binary:
        return tail
    a = np.minimum(total / n, alpha)
    with np.errstate(divide="ignore", invalid="ignore"):
        h1 = np.where(a > 0, a * np.log(a / alpha), 0.0) + (1 - a) * np.log((1 - a) / (1 - alpha))
    return np.asarray(np.minimum(1.0, np.minimum(np.exp(-n * h1), math.e * tail)))


def best_alpha(
    mean_loss: float, n: int, *, confidence: float | None, binary: bool = False, bound: float = 1.0
) -> float:
    """Return the smallest α that n groups with this mean loss would have stood for.

    ``confidence`` None is risk control. ``mean_loss`` is that of the safest candidate. The answer
    tells what to ask for of *other* groups: a bound that was read off its own cases is no
    guarantee. ``bound`` where nothing better can be guaranteed.
    """
    if confidence is None:
        return min(bound, (n * mean_loss + bound) / (n + 1))
    share, level = mean_loss / bound, 1.0 - _confidence(confidence)

    def excess(alpha: float) -> float:
        return float(p_values(n * share, n, alpha=alpha, binary=binary)) - level

    low, high = max(share, 1e-9), 1.0 - 1e-12
    if n == 0 or low >= high or excess(high) > 0:
        return bound
    if excess(low) <= 0:
        return bound * low
    return bound * float(brentq(excess, low, high, xtol=1e-12))


def needed_groups(
    alpha: float,
    *,
    confidence: float | None,
    mean_loss: float = 0.0,
    binary: bool = False,
    bound: float = 1.0,
) -> int | None:
    """Return the fewest groups that can stand for ``alpha`` at this mean loss; None: no number can.

    19 (99) without a confidence and without a loss for 5 % (1 %); 59 (299) at 95 %.
    """
    if mean_loss >= alpha:
        return None
    if confidence is None:
        needed = math.ceil(round((bound - alpha) / (alpha - mean_loss), 9))
        return needed if needed <= _MOST_GROUPS else None
    level, share = 1.0 - _confidence(confidence), mean_loss / bound
    start, size = 1, 256
    while start < _MOST_GROUPS:
        candidates = np.arange(start, start + size)
        values = np.array(
            [p_values(n * share, int(n), alpha=alpha / bound, binary=binary) for n in candidates]
        )
        enough = np.flatnonzero(values <= level + 1e-12)
        if enough.size:
            return int(candidates[enough[0]])
        start, size = start + size, min(2 * size, 4096)
        if start > 2**14:
            # P-values fall with n but for the ceiling; from here on a coarse search will do.
            return _coarse_search(start, alpha / bound, share, level, binary)
    return None


def _coarse_search(
    start: int, alpha: float, share: float, level: float, binary: bool
) -> int | None:
    """Return the first enough of numbers that grow by a hundredth each."""
    n = start
    while n <= _MOST_GROUPS:
        if float(p_values(n * share, n, alpha=alpha, binary=binary)) <= level:
            return n
        n += n // 100  # at least 163, since the search begins above 2**14
    return None


def _checked(losses: ArrayLike, alpha: float, bound: float) -> Floats:
    """Return the losses as (groups, candidates) float64; raise where they or α cannot be."""
    if not 0.0 < alpha < bound:
        raise UsageError(
            f"A guarantee of {alpha:g} says nothing or cannot be kept; give a bound above 0 and "
            f"below {bound:g}."
        )
    array = np.asarray(losses, np.float64)
    if array.ndim != 2:
        raise ScoreError(
            f"Losses have shape {array.shape}; they must be (groups, candidates), one row a group."
        )
    if not bool(np.all((array >= -_ROUNDING) & (array <= bound + _ROUNDING))):
        raise ScoreError(f"Losses must be numbers in [0, {bound:g}]; some are outside or NaN.")
    return array


def _confidence(confidence: float) -> float:
    """Return the confidence; raise where it is none."""
    if not 0.0 < confidence < 1.0:
        raise UsageError(
            f"A confidence of {confidence:g} does not exist; give one between 0 and 1, such as "
            "0.95."
        )
    return confidence
