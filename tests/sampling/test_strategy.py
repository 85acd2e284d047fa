"""The contract of every strategy, and the rule for empty pools."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from rareseg.data.records import IGNORE
from rareseg.data.store import Store
from rareseg.errors import DataError, RecipeError, UsageError
from rareseg.recipe import SamplingSection
from rareseg.sampling.pool import Pool, pool_class, pool_everything
from rareseg.sampling.sampler import PatchSampler
from rareseg.sampling.strategy import Mixture, Share, resolve, strategies, strategy


def empty(name: str = "empty") -> Pool:
    zeros = np.zeros(0, np.int64)
    return Pool(name, zeros, np.zeros(1, np.int64), np.zeros(1, np.int64))


@pytest.mark.parametrize("name", strategies())
@pytest.mark.parametrize("batch_size", [1, 120])
def test_every_strategy_delivers_its_shares(flat_store: Store, name: str, batch_size: int) -> None:
    sampler = PatchSampler(
        flat_store, strategy=name, patch_size=(8, 8), batch_size=batch_size, seed=0
    )
    asked = sampler.mixture.asked
    np.testing.assert_allclose(asked.sum(), 1.0)
    counts = np.zeros(len(asked))
    for k in range(240 // batch_size):
        counts += np.bincount(sampler.plan(k).pool, minlength=len(asked))
        assert np.abs(counts - asked * (k + 1) * batch_size).max() < 1.0


@pytest.mark.parametrize("name", strategies())
def test_every_strategy_survives_cases_without_foreground(flat_store: Store, name: str) -> None:
    clean = flat_store.subset(["d", "e"])
    batch = PatchSampler(clean, strategy=name, patch_size=(8, 8), batch_size=8, seed=0).batch(0)
    assert set(np.unique(batch.labels)) <= {0, IGNORE}


@pytest.mark.parametrize("border", ["reflect", "background", "shift"])
@pytest.mark.parametrize("positive_share", [0.25, 0.5, 1.0])
def test_negatives_are_counted_by_what_patches_really_hold(
    scene: tuple[Store, tuple[int, ...]], border: str, positive_share: float
) -> None:
    store, patch_size = scene
    sampler = PatchSampler(
        store,
        strategy="negatives",
        patch_size=patch_size,
        batch_size=40,
        seed=1,
        border=border,  # type: ignore[arg-type]
        positive_share=positive_share,
    )
    for k in range(4):
        labels = sampler.batch(k).labels.flatten(1)
        positive = ((labels > 0) & (labels != IGNORE)).any(1).numpy()
        assert positive.sum() == 40 * positive_share
        for index in (1, 2):
            centred = sampler.plan(k).pool == index - 1
            assert centred.sum() == 20 * positive_share
            assert (labels[centred] == index).any(1).all()


def test_a_class_that_is_absent_leaves_its_share_to_the_other_positives(flat_store: Store) -> None:
    only_spots = flat_store.subset(["b", "d"])
    mixture = resolve("negatives", only_spots, SamplingSection(patch_size=(8, 8)))
    np.testing.assert_allclose(mixture.asked, [0.25, 0.25, 0.5])
    np.testing.assert_allclose(mixture.delivered, [0.5, 0.0, 0.5])


def test_an_empty_pool_s_share_goes_to_the_others_in_proportion(
    flat_store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    full = pool_everything(flat_store)
    mixture = Mixture((Share(empty(), 0.2), Share(full, 0.6), Share(full, 0.2)))
    np.testing.assert_allclose(mixture.delivered, [0.0, 0.75, 0.25])
    with caplog.at_level(logging.WARNING):
        resolve("balanced", flat_store.subset(["b"]), SamplingSection(patch_size=(8, 8)))
    assert "'line' is empty in these 1 cases; its share of 0.333" in caplog.text


def test_shares_must_be_shares(flat_store: Store) -> None:
    full = pool_everything(flat_store)
    for shares in ((0.5, 0.4), (1.5, -0.5)):
        with pytest.raises(UsageError, match="must sum to 1"):
            Mixture(tuple(Share(full, share) for share in shares))
    with pytest.raises(DataError, match="nothing to draw: nowhere"):
        Mixture((Share(empty("nowhere"), 1.0),))


def test_names_are_checked(flat_store: Store) -> None:
    with pytest.raises(RecipeError, match=r"did you mean 'balanced'\?"):
        resolve("balancd", flat_store, SamplingSection())
    with pytest.raises(UsageError, match="exists already"):
        strategy("random")(lambda store, settings: [])


def test_a_strategy_of_one_s_own_is_one_function(flat_store: Store) -> None:
    name = "lines in test"
    if name not in strategies():

        @strategy(name)
        def lines(store: Store, settings: SamplingSection) -> list[Share]:
            return [Share(pool_class(store, 2), 1.0)]

    sampler = PatchSampler(flat_store, strategy=name, patch_size=(3, 3), batch_size=6, seed=0)
    assert (sampler.batch(0).labels[:, 1, 1] == 2).all()
