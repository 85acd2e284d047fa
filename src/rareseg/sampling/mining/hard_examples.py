"""Mine hard examples, hard negatives among them: pools of voxels that the network gets wrong.

A round judges voxels with the network as it is now, in one of two ways. Either a random subset of
stated size of each class, every voxel in the middle of a window cut about it as in training; or
every voxel of every case. What is hard becomes pools that strategies draw from until the next
round. Voxels that stay wrong with high confidence for several rounds are set aside: they leave all
mined pools, so that a wrong label is not trained on harder and harder, and are listed by
:func:`rareseg.sampling.mining.label_suspects.list_suspects`. One that is no longer suspected comes
back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rareseg.data.store.store import Store
from rareseg.errors import UsageError
from rareseg.recipe import MiningSection, SamplingSection
from rareseg.sampling.patches.cutting import cut
from rareseg.sampling.patches.places import locate, windows_about
from rareseg.sampling.pools.mined_pools import MinedPools, Portion, gather
from rareseg.sampling.pools.pool import Pool, pool_classes
from rareseg.sampling.pools.voxel_judgement import judge

Predict = Callable[[Tensor], Tensor]
"""Takes images (B, C, *space) float32 as the sampler gives them and returns the probabilities of
the classes, (B, class, *space), on any device. It is called without gradients."""

AT_ONCE = 2**18
"""Voxels of one call of :data:`Predict`, where a single image is not larger."""

DRAWS = 20
"""Times that a subset is topped up before it is taken as it is."""


def mine(
    store: Store,
    predict: Predict,
    sampling: SamplingSection,
    settings: MiningSection,
    *,
    last: MinedPools,
    step: int,
    weights: str,
    seed: int,
) -> MinedPools:
    """Judge voxels with ``predict`` and return the pools of the round after ``last``.

    ``sampling`` says how windows are cut and how the subset is weighted. What was suspected in the
    last round is judged again beside a new subset, at most as many voxels of a class as the subset
    itself, those that were suspected longest. Equal arguments give equal pools.

    Raises :class:`UsageError` where ``predict`` returns anything but probabilities.
    """
    number = last.round + 1
    if settings.voxels == 0:
        flat = len(sampling.patch_size) == 2
        portions = _everything(store, predict, settings, last, flat=flat)
    else:
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0, number)))
        portions = _subset(store, predict, sampling, settings, last, rng)
    return gather(
        store,
        portions,
        number=number,
        step=step,
        weights=weights,
        rounds_aside=settings.suspect_rounds,
    )


def _everything(
    store: Store, predict: Predict, settings: MiningSection, last: MinedPools, *, flat: bool
) -> Iterator[Portion]:
    """Judge all voxels, case by case; ``flat`` networks see a case slice by slice."""
    classes = store.classes.count
    for row in range(len(store)):
        values, labels = store.values(row), store.label(row).reshape(-1)
        images = values.swapaxes(0, 1) if flat else values[np.newaxis]
        size = max(1, AT_ONCE // images[0, 0].size)
        scores = np.concatenate(
            [
                _predict_scores(predict, images[start : start + size], classes)
                for start in range(0, len(images), size)
            ]
        )
        probabilities = scores.swapaxes(0, 1).reshape(classes, -1)
        first = int(store.cases.label_offset[row])
        places, rounds, _ = last.suspicion.within(first, labels.size).voxels()
        before = np.zeros(labels.size, np.uint8)
        before[places - first] = rounds
        judged = judge(np.ascontiguousarray(probabilities), labels, before, settings)
        yield first + np.arange(labels.size), labels, judged


def _subset(
    store: Store,
    predict: Predict,
    sampling: SamplingSection,
    settings: MiningSection,
    last: MinedPools,
    rng: np.random.Generator,
) -> Iterator[Portion]:
    """Judge a random subset of each class, and what was suspected in the last round."""
    suspected, rounds, _ = last.suspicion.voxels()
    again = _longest_first(store.labels[suspected], rounds, settings.voxels)
    suspected, rounds = suspected[again], rounds[again]
    pools = [pool for pool in pool_classes(store) if pool.size]
    drawn = [_draw_distinct(pool, settings.voxels, rng, sampling) for pool in pools]
    places = np.unique(np.concatenate([suspected, *drawn]))
    before = np.zeros(len(places), np.uint8)
    before[np.searchsorted(places, suspected)] = rounds
    labels = store.labels[places]
    probabilities = _at_places(store, predict, places, sampling)
    yield places, labels, judge(probabilities, labels, before, settings)


def _longest_first(
    labels: NDArray[np.uint8], rounds: NDArray[np.uint8], most: int
) -> NDArray[np.int64]:
    """Return the ascending indices of at most ``most`` voxels of each class, of most rounds."""
    kept = [np.zeros(0, np.int64)]
    for index in np.unique(labels):
        members = np.flatnonzero(labels == index)
        kept.append(members[np.argsort(-rounds[members].astype(np.int64), kind="stable")[:most]])
    return np.sort(np.concatenate(kept))


def _draw_distinct(
    pool: Pool, n: int, rng: np.random.Generator, sampling: SamplingSection
) -> NDArray[np.int64]:
    """Draw ``n`` different voxels of a pool by the weighting, or all where there are no more.

    By case or by group the voxels of small objects come up again and again; where :data:`DRAWS`
    times ``n`` draws do not fill the number, fewer are taken.
    """
    if pool.size <= n:
        return pool.at(np.arange(pool.size))
    if sampling.weighting == "voxel":
        return pool.at(rng.choice(pool.size, n, replace=False, shuffle=False))
    kept = np.zeros(0, np.int64)
    for _ in range(DRAWS):
        drawn = np.concatenate([kept, pool.draw(rng, n, sampling.weighting)])
        first = np.sort(np.unique(drawn, return_index=True)[1])
        kept = drawn[first[:n]]
        if len(kept) == n:
            break
    return kept


def _at_places(
    store: Store, predict: Predict, places: NDArray[np.int64], sampling: SamplingSection
) -> NDArray[np.float32]:
    """Return the probabilities (class, n) of flat places, each in a window cut about it."""
    size, border = sampling.patch_size, sampling.border
    pools = np.zeros(len(places), np.int16)
    windows = windows_about(store, places, pools, patch_size=size, border=border)
    # Where the border rule shifts a window, its voxel is not in the middle.
    within = (locate(store, places)[1] - windows.corner)[:, 3 - len(size) :]
    out = np.empty((store.classes.count, len(places)), np.float32)
    count = max(1, AT_ONCE // math.prod(size))
    for start in range(0, len(places), count):
        end = start + count
        patches = cut(store, windows.part(start, end), patch_size=size, border=border)
        scores = _predict_scores(predict, patches.images, store.classes.count)
        at = (np.arange(len(scores)), slice(None), *within[start:end].T)
        out[:, start:end] = scores[at].T
    return out


def _predict_scores(
    predict: Predict, images: NDArray[np.float32], classes: int
) -> NDArray[np.float32]:
    """Return what ``predict`` says about images (B, C, *space), once it is seen to be sound."""
    with torch.inference_mode():
        answer = predict(torch.from_numpy(np.ascontiguousarray(images)))
        scores: NDArray[np.float32] = answer.float().cpu().numpy()
    expected = (len(images), classes, *images.shape[2:])
    if scores.shape != expected:
        raise UsageError(
            f"The function given to mine() returned shape {scores.shape} for images of shape "
            f"{images.shape}; it must return {expected}, the probabilities (B, class, *space)."
        )
    sums = scores.sum(axis=1)
    if not ((np.abs(sums - 1.0) < 0.02).all() and scores.min() >= 0):
        raise UsageError(
            "The function given to mine() returned values that are no probabilities (their sums "
            f"over the classes lie in {sums.min():.3g} … {sums.max():.3g}); give a softmax, and "
            "see that the network has not diverged."
        )
    return scores
