"""The built-in sampling strategies, each with its source and when to use it.

A strategy says how much to draw from which pool, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rareseg.errors import RecipeError, nearest
from rareseg.recipe import Phase, SamplingSection
from rareseg.sampling.pools.mined_pools import FALSE_POSITIVES, low_confidence
from rareseg.sampling.pools.pool import (
    Pool,
    intersection,
    pool_classes,
    pool_everything,
    pool_windows,
)
from rareseg.sampling.strategies.mixture import Share
from rareseg.sampling.strategies.strategy_registry import Cases, chain, strategy

TRUE_NEGATIVES_KEEP = 0.5
"""The part of the negatives' share that ``hard_negative`` leaves to windows drawn regardless."""


@strategy("random")
def random(cases: Cases) -> Sequence[Share]:
    """Centre on every voxel alike: the natural proportions.

    A rare class hardly appears, but scores come out calibrated and false alarms are few. Use it as
    the yardstick, where the foreground is not rare, or at the end of a chain.
    """
    return [Share(cases.once(pool_everything), 1.0)]


@strategy("balanced")
def balanced(cases: Cases) -> Sequence[Share]:
    """Centre equally often on every class, background included.

    With five classes each gives 20 % of the patches. It finds more of what is rare, and tends to
    overestimate it. Use it where nearly every image holds foreground. Source: the first phase of
    Havaei et al. 2017, Brain tumor segmentation with deep neural networks, Medical Image Analysis
    35.
    """
    pools = cases.once(pool_classes)
    return [Share(pool, 1.0 / len(pools)) for pool in pools]


@strategy("inverse_frequency")
def inverse_frequency(cases: Cases) -> Sequence[Share]:
    """Centre on class c with share n_c^(1 − e) / Σ n^(1 − e), n its voxels, e the ``exponent``.

    Between natural (e = 0) and balanced (1); ½ is square-root sampling. Use it where ``balanced``
    overestimates what is rare and ``random`` misses it. Source: Kang et al. 2020, Decoupling
    representation and classifier for long-tailed recognition, ICLR, equation 1, with q = 1 − e.
    """
    pools = cases.once(pool_classes)
    shares = _in_proportion(pools, 1.0 - cases.settings.exponent)
    return [Share(pool, share) for pool, share in zip(pools, shares, strict=True)]


@strategy("table")
def table(cases: Cases) -> Sequence[Share]:
    """Centre on each class with the share that ``sampling.shares`` gives it; 0 where it is silent.

    Use it where the shares are known, as from another paper. Raises :class:`RecipeError` without a
    table, and for a name that is no class.
    """
    shares = require_shares(cases.settings, cases.store.classes.names)
    return [Share(pool, shares.get(pool.name, 0.0)) for pool in cases.once(pool_classes)]


@strategy("minority_mimic")
def minority_mimic(cases: Cases) -> Sequence[Share]:
    """Centre on foreground with ``positive_share``, its classes in their own natural proportion.

    The minority is raised as one against the majority, the background, so that what is rare even
    among the foreground is not overestimated against the rest of it. Use it for several classes
    that lie within each other, such as the parts of a tumour. A class that these cases do not hold
    asks for nothing; where they hold no foreground its classes ask for equal shares.
    """
    background, *foreground = cases.once(pool_classes)
    share = cases.settings.positive_share
    return [
        Share(background, 1.0 - share),
        *(
            Share(pool, share * part, family="foreground")
            for pool, part in zip(foreground, _in_proportion(foreground), strict=True)
        ),
    ]


@strategy("negatives")
def negatives(cases: Cases) -> Sequence[Share]:
    """Give ``positive_share`` of the windows some foreground, and the others none at all.

    By what a window really holds, not by its centre. With several classes the positive windows are
    drawn in equal shares from those that hold each class (a window may hold others as well); a
    class that no window holds leaves its share to the other classes. Use it where many images are
    empty: false alarms cost as often as intended.
    """
    positive, nothing = _windows(cases)
    return [*positive, Share(nothing, 1.0 - cases.settings.positive_share)]


@strategy("hard", mines=True)
def hard(cases: Cases) -> Sequence[Share]:
    """Balanced, each class's share being filled first from its voxels that the network finds hard.

    After each round of mining, class c gets min(``hard_share``, stored voxels / patches of its
    share in an epoch) of its share from the stored voxels, each in turn, and the rest from all its
    voxels; before the first round it is ``balanced``. ``mining.confidence`` 0.75 and a random
    subset is the protocol for brain tumours that this follows; 0 stores what is wrong alone, 0.99
    nearly all that is not certain. Use it where ``balanced`` has learnt the easy part; wrong labels
    are hard as well, so look at the label suspects. The idea is bootstrapping: Sung and Poggio
    1998, Example-based learning for view-based human face detection, PAMI 20.
    """
    shares = []
    pools = cases.once(pool_classes)
    for pool in pools:
        mined = cases.mined.pools[low_confidence(pool.name)]
        share = 1.0 / len(pools)
        part = share * _mined_part(cases, mined, share)
        shares.append(Share(mined, part, family=pool.name, in_turn=True))
        shares.append(Share(pool, share - part, family=pool.name))
    return shares


@strategy("hard_negative", mines=True)
def hard_negative(cases: Cases) -> Sequence[Share]:
    """As ``negatives``, part of the windows that hold nothing being centred on false positives.

    The false positives are those in the middle of a window without foreground, so that the
    negatives keep the share that they are meant to have. They take min(``hard_share``, ½, stored
    voxels / negative patches of an epoch) of it, each in turn: at least half of the negatives stay
    windows drawn regardless of errors, or the network forgets what it knows. Use it where false
    alarms on empty images are what is wrong. Source: Felzenszwalb et al. 2010, Object detection
    with discriminatively trained part-based models, PAMI 32, section 4.4 (whose cache drops the
    easy ones altogether).
    """
    positive, nothing = _windows(cases)
    share = 1.0 - cases.settings.positive_share
    mined = intersection(cases.mined.pools[FALSE_POSITIVES], nothing, FALSE_POSITIVES)
    part = share * min(TRUE_NEGATIVES_KEEP, _mined_part(cases, mined, share))
    return [
        *positive,
        Share(mined, part, family="nothing", in_turn=True),
        Share(nothing, share - part, family="nothing"),
    ]


@chain("decoupled")
def decoupled(settings: SamplingSection) -> Sequence[Phase]:
    """Balanced until the share ``balanced_until`` of the run, natural from then on.

    What is rare is learnt first, how rare it is last. Use it where ``balanced`` finds what is rare
    and overestimates it. Source: Kang et al. 2020 (see ``inverse_frequency``), and the two phases
    of Havaei et al. 2017 (see ``balanced``), who train only the last layer in the second.
    """
    return [
        Phase(strategy="balanced", until=settings.balanced_until),
        Phase(strategy="random", until=1.0),
    ]


def require_shares(settings: SamplingSection, names: Sequence[str]) -> Mapping[str, float]:
    """Return the shares that ``table`` reads, by class.

    Raises :class:`RecipeError` where there are none, and for a name that is not in ``names``.
    """
    shares = settings.shares
    if shares is None:
        raise RecipeError(
            "sampling.strategy is 'table', but sampling.shares is not set; give the share of each "
            f"class, such as {{{names[0]}: 0.5, {names[-1]}: 0.5}}."
        )
    for name in shares:
        if name not in names:
            raise RecipeError(
                f"sampling.shares names '{name}'{nearest(name, names)}, which is no class; "
                f"allowed are {', '.join(names)}."
            )
    return shares


def _in_proportion(pools: Sequence[Pool], power: float = 1.0) -> list[float]:
    """Return shares in proportion to the pools' voxels to a power; equal ones where all are empty.

    0⁰ is 1: to the power of 0 an empty pool asks for as much as any.
    """
    weights = np.array([pool.size for pool in pools], np.float64) ** power
    if not weights.any():
        weights = np.ones_like(weights)
    shares: list[float] = (weights / weights.sum()).tolist()
    return shares


def _windows(cases: Cases) -> tuple[list[Share], Pool]:
    """Return the shares of windows that hold foreground, and the pool of those that hold none."""
    size, border = cases.settings.patch_size, cases.settings.border
    foreground = range(1, cases.store.classes.count)
    holds: list[str | int] = ["foreground"] if len(foreground) == 1 else list(foreground)
    pools = [cases.once(pool_windows, size, border, what) for what in holds]
    share = cases.settings.positive_share / len(pools)
    nothing = cases.once(pool_windows, size, border, "nothing")
    return [Share(pool, share, family="foreground") for pool in pools], nothing


def _mined_part(cases: Cases, mined: Pool, share: float) -> float:
    """Return the part of a share that its mined voxels can fill, once each, in one epoch."""
    wanted = share * cases.epoch_patches
    if mined.size == 0 or wanted == 0:
        return 0.0
    return min(cases.mining.hard_share, mined.size / wanted)
