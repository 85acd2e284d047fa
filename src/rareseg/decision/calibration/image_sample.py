"""Compare samples of image scores, and test whether one can be a mixture of two others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2

from rareseg.evaluation.statistics.intervals import group_numbers
from rareseg.evaluation.statistics.jackknife import effective_groups
from rareseg_runner.scoring.log_odds import log_odds

Floats = NDArray[np.float64]

_CELLS = 5
"""Into so many cells the test divides the scores."""

_N_SHARES = 101
"""So many shares of positive images the test tries, from 0 to 1."""


@dataclass(frozen=True, eq=False)
class ImageSample:
    """The log-odds (n,) of some images' scores, n > 0, and the group of each.

    ``effective`` is Kish's number of groups, (Σ m)² / Σ m² with m images in each: as if all images
    of a group said the same, which is the least that they can say.
    """

    odds: Floats
    groups: Sequence[str | None]

    @classmethod
    def of(cls, image_scores: ArrayLike, groups: Sequence[str | None]) -> ImageSample:
        """Return the sample of image scores (n,) in [0, 1]."""
        return cls(log_odds(image_scores), groups)

    def part(self, kept: NDArray[np.bool_]) -> ImageSample:
        """Return some of the images, ``kept`` (n,)."""
        groups = [group for group, own in zip(self.groups, kept.tolist(), strict=True) if own]
        return ImageSample(self.odds[kept], groups)

    @property
    def effective(self) -> float:
        """Kish's number of groups."""
        return effective_groups(np.bincount(group_numbers(self.groups)).astype(np.float64))

    def shares(self, cuts: Floats) -> Floats:
        """Return the share of images in each of the cells between ascending ``cuts``; (k + 1,)."""
        cells = np.searchsorted(cuts, self.odds, side="right")
        return np.bincount(cells, minlength=len(cuts) + 1) / len(self.odds)


def mixture_p_value(sample: ImageSample, positive: ImageSample, negative: ImageSample) -> float:
    """Return p of the hypothesis that ``sample`` is a mixture of the two other samples.

    Minimum chi-square: with û, p̂, n̂ the shares of the three in five cells (quantiles of positive
    and negative images, both kinds weighing the same) and d(π) = û − π·p̂ − (1 − π)·n̂, the least
    of d(π)ᵀ·S(π)⁻¹·d(π) over π in [0, 1] is compared with χ² with (cells − 2) degrees of freedom.
    S(π) adds the multinomial variances of the three at their effective numbers of groups, of shares
    with ½ added to every cell; that of û at the mixture. 1 where ties leave fewer than three cells.
    A change that itself looks like more or fewer positive images cannot be seen.
    """
    cuts = _cuts(positive.odds, negative.odds)
    if len(cuts) < 2:
        return 1.0
    samples = (sample, positive, negative)
    (u, p, n) = (own.shares(cuts) for own in samples)
    (n_u, n_p, n_n) = (own.effective for own in samples)
    smooth_p, smooth_n = (_smoothed(s, size) for s, size in ((p, n_p), (n, n_n)))
    own = np.linspace(0.0, 1.0, _N_SHARES)[:, None]
    apart = (u - own * p - (1.0 - own) * n)[:, :-1, None]
    mixed = own * smooth_p + (1.0 - own) * smooth_n
    own = own[:, :, None]
    variance = (
        _variance(mixed) / n_u
        + own**2 * _variance(smooth_p) / n_p
        + (1.0 - own) ** 2 * _variance(smooth_n) / n_n
    )
    distances = (apart * np.linalg.solve(variance, apart)).sum(axis=(1, 2))
    return float(chi2.sf(distances.min(), len(cuts) - 1))


def _cuts(positive: Floats, negative: Floats) -> Floats:
    """Return up to four values that divide the two kinds, weighing the same, into five cells."""
    odds = np.concatenate([positive, negative])
    weights = np.repeat([0.5 / len(positive), 0.5 / len(negative)], [len(positive), len(negative)])
    order = np.argsort(odds)
    upto = np.cumsum(weights[order])
    places = np.searchsorted(upto, np.arange(1, _CELLS) / _CELLS)
    cuts = np.unique(odds[order][places])
    return np.asarray(cuts[cuts > odds.min()])


def _smoothed(shares: Floats, n: float) -> Floats:
    """Return the shares as if half an image more lay in every cell."""
    return (shares * n + 0.5) / (n + 0.5 * len(shares))


def _variance(shares: Floats) -> Floats:
    """Return the covariance of one draw from all cells (…, k) but the last; (…, k − 1, k − 1)."""
    own = shares[..., :-1]
    return own[..., None] * (np.eye(own.shape[-1]) - own[..., None, :])
