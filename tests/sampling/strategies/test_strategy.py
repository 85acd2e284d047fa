"""The shares that each strategy asks for, by hand, and the rule for empty pools."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rareseg.data.store.store import Store
from rareseg.errors import DataError, RecipeError, UsageError
from rareseg.recipe import SamplingSection
from rareseg.sampling.pools.pool import Pool, pool_class, pool_classes, pool_everything
from rareseg.sampling.sampler import PatchSampler
from rareseg.sampling.strategies import builtin, strategy_registry
from rareseg.sampling.strategies.strategy import (
    Cases,
    Mixture,
    Share,
    find_phases,
    mines,
    nothing_mined,
    resolve,
    strategies,
    strategy,
)
from rareseg_runner.image_records import IGNORE


def empty(name: str = "empty") -> Pool:
    zeros = np.zeros(0, np.int64)
    return Pool(name, zeros, np.zeros(1, np.int64), np.zeros(1, np.int64))


def cases_of(store: Store, **settings: object) -> Cases:
    arguments: dict[str, Any] = {"patch_size": (8, 8)} | settings
    return Cases(store, SamplingSection(**arguments), nothing_mined(store))


def asked(name: str, store: Store, **settings: object) -> dict[str, float]:
    """The shares by pool that a strategy asks for."""
    mixture = resolve(name, cases_of(store, **settings))
    return dict(zip(mixture.names, mixture.asked.tolist(), strict=True))


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
    mixture = resolve("negatives", cases_of(only_spots))
    np.testing.assert_allclose(mixture.asked, [0.25, 0.25, 0.5])
    np.testing.assert_allclose(mixture.delivered, [0.5, 0.0, 0.5])


def test_an_empty_pool_s_share_goes_to_the_others_in_proportion(
    flat_store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    full = pool_everything(flat_store)
    mixture = Mixture((Share(empty(), 0.2), Share(full, 0.6), Share(full, 0.2)))
    np.testing.assert_allclose(mixture.delivered, [0.0, 0.75, 0.25])
    with caplog.at_level(logging.WARNING):
        resolve("balanced", cases_of(flat_store.subset(["b"])))
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
        resolve("balancd", cases_of(flat_store))
    with pytest.raises(UsageError, match="exists already"):
        strategy("random")(lambda cases: [])
    with pytest.raises(UsageError, match="'decoupled' is a chain of phases"):
        resolve("decoupled", cases_of(flat_store))


def test_a_strategy_of_one_s_own_is_one_function(flat_store: Store) -> None:
    name = "lines in test"
    if name not in strategies():

        @strategy(name)
        def lines(cases: Cases) -> list[Share]:
            return [Share(pool_class(cases.store, 2), 1.0)]

    sampler = PatchSampler(flat_store, strategy=name, patch_size=(3, 3), batch_size=6, seed=0)
    assert (sampler.batch(0).labels[:, 1, 1] == 2).all()


PIXELS = {"background": 3106, "spot": 7, "line": 40}
"""30 · 41 + 25 · 25 + 12 · 50 + 9 · 7 + 33 · 20 = 3178 pixels, 25 of which are ignored."""


class TestSharesByHand:
    def test_the_numbers(self, flat_store: Store) -> None:
        assert {pool.name: pool.size for pool in pool_classes(flat_store)} == PIXELS

    def test_random_and_balanced(self, flat_store: Store) -> None:
        assert asked("random", flat_store) == {"everything": 1.0}
        assert asked("balanced", flat_store) == dict.fromkeys(PIXELS, pytest.approx(1 / 3))

    @pytest.mark.parametrize("exponent", [0.0, 0.25, 0.5, 1.0])
    def test_inverse_frequency_leads_from_natural_to_balanced(
        self, flat_store: Store, exponent: float
    ) -> None:
        weights = {name: n ** (1 - exponent) for name, n in PIXELS.items()}
        total = sum(weights.values())
        expected = {name: pytest.approx(weight / total) for name, weight in weights.items()}
        assert asked("inverse_frequency", flat_store, exponent=exponent) == expected
        if exponent == 0:
            natural = {name: pytest.approx(n / 3153) for name, n in PIXELS.items()}
            assert expected == natural

    def test_inverse_frequency_asks_nothing_of_an_absent_class(self, flat_store: Store) -> None:
        only_spots = flat_store.subset(["b", "d"])
        assert asked("inverse_frequency", only_spots)["line"] == 0.0
        assert asked("inverse_frequency", only_spots, exponent=1.0)["line"] == pytest.approx(1 / 3)

    @pytest.mark.parametrize("positive_share", [0.2, 0.5, 1.0])
    def test_minority_mimic_keeps_the_minority_s_own_proportion(
        self, flat_store: Store, positive_share: float
    ) -> None:
        assert asked("minority_mimic", flat_store, positive_share=positive_share) == {
            "background": pytest.approx(1 - positive_share),
            "spot": pytest.approx(positive_share * 7 / 47),
            "line": pytest.approx(positive_share * 40 / 47),
        }

    def test_a_table(self, flat_store: Store) -> None:
        shares = {"line": 0.9, "background": 0.1}
        assert asked("table", flat_store, shares=shares) == {**shares, "spot": 0.0}


class TestPhases:
    def test_decoupled_is_balanced_then_random(self) -> None:
        phases = find_phases(SamplingSection(strategy="decoupled", balanced_until=0.7))
        assert [(p.strategy, p.until) for p in phases] == [("balanced", 0.7), ("random", 1.0)]

    def test_a_chain_takes_the_place_of_the_one_strategy(self) -> None:
        chain = [
            {"strategy": "random", "until": 0.5},
            {"strategy": "hard", "until": 1.0, "name": "late"},
        ]
        phases = find_phases(SamplingSection(strategy="balanced", phases=chain))
        assert [(p.title, mines(p)) for p in phases] == [("random", False), ("late", True)]

    @pytest.mark.parametrize(
        ("chain", "words"),
        [
            ([("randm", 1.0)], r"sampling\.phases is 'randm' \(did you mean 'random'\?\)"),
            ([("random", 0.5), ("decoupled", 1.0)], "names 'decoupled', which is a chain"),
        ],
    )
    def test_impossible_chains(self, chain: list[tuple[str, float]], words: str) -> None:
        phases = [{"strategy": name, "until": until} for name, until in chain]
        with pytest.raises(RecipeError, match=words):
            find_phases(SamplingSection(phases=phases))

    def test_a_chain_needs_the_length_of_the_run(self, flat_store: Store) -> None:
        with pytest.raises(UsageError, match=r"The phases balanced, random .* give steps"):
            PatchSampler(flat_store, strategy="decoupled", patch_size=(8, 8), batch_size=2, seed=0)


class TestBadInput:
    """A clear error or a stated rule, never a silent change."""

    def sampler(self, store: Store, **changes: object) -> PatchSampler:
        arguments: dict[str, Any] = {"patch_size": (8, 8), "batch_size": 30, "seed": 0}
        return PatchSampler(store, **(arguments | changes))

    def test_a_class_absent_from_a_case(self, flat_store: Store) -> None:
        """Only a and b hold spots, only a and c lines: each class is drawn where it is."""
        for weighting in ("voxel", "case"):
            places = self.sampler(flat_store, weighting=weighting).plan(0)
            assert set(places.case[places.pool == 1]) == {0, 1}
            assert set(places.case[places.pool == 2]) == {0, 2}

    def test_a_class_absent_from_a_split(
        self, flat_store: Store, caplog: pytest.LogCaptureFixture
    ) -> None:
        sampler = self.sampler(flat_store.subset(["a", "d"]).subset(["d"]), strategy="balanced")
        next(iter(sampler))
        assert sampler.delivered().centres == (30, 0, 0)
        assert sampler.delivered().asked == pytest.approx((1 / 3, 1 / 3, 1 / 3))
        assert "'spot' is empty in these 1 cases; its share of 0.333 goes" in caplog.text
        assert "'line' is empty" in caplog.text

    def test_no_foreground_where_only_foreground_is_asked_for(self, flat_store: Store) -> None:
        shares = {"spot": 0.5, "line": 0.5}
        with pytest.raises(DataError, match="nothing to draw: spot, line hold no voxel"):
            self.sampler(flat_store.subset(["d", "e"]), strategy="table", shares=shares)

    @pytest.mark.parametrize(
        ("shares", "words"),
        [
            ({"spot": 0.5, "line": 0.2}, r"shares \(spot 0\.5, line 0\.2\) sum to 0\.7, not 1"),
            ({"spot": 1.5}, r"sampling\.shares\.spot is 1\.5"),
            ({"spots": 1.0}, r"names 'spots' \(did you mean 'spot'\?\), which is no class"),
            (None, r"sampling\.shares is not set"),
        ],
    )
    def test_tables_that_cannot_be(
        self, flat_store: Store, shares: dict[str, float] | None, words: str
    ) -> None:
        with pytest.raises(RecipeError, match=words) as caught:
            self.sampler(flat_store, strategy="table", shares=shares)
        assert "\n" not in str(caught.value)
        assert str(caught.value).endswith(".")

    def test_settings_out_of_range(self, flat_store: Store) -> None:
        with pytest.raises(RecipeError, match=r"sampling\.exponent is 2"):
            self.sampler(flat_store, strategy="inverse_frequency", exponent=2)
        with pytest.raises(RecipeError, match=r"phases end at 0\.5"):
            self.sampler(flat_store, phases=[{"strategy": "random", "until": 0.5}], steps=4)

    @pytest.mark.parametrize("border", ["reflect", "background", "shift"])
    def test_a_patch_larger_than_every_case(self, flat_store: Store, border: str) -> None:
        """Outside the image labels are ignored, and every labelled pixel is still reached."""
        small = flat_store.subset(["b", "d"])
        batch = self.sampler(small, patch_size=(64, 64), border=border).batch(0)
        assert batch.images.shape == (30, 2, 64, 64)
        assert torch.isfinite(batch.images).all()
        inside = [int((label != IGNORE).sum()) for label in batch.labels]
        if border == "shift":
            # The whole image is always in view: 25 x 25 less an ignored row, or 9 x 7.
            assert set(inside) == {600, 63}
        assert max(inside) <= 600
        assert set(np.unique(batch.labels)) <= {0, 1, IGNORE}


def test_the_page_about_sampling_names_every_strategy_of_the_house() -> None:
    page = (Path(__file__).parents[3] / "docs" / "sampling.md").read_text(encoding="utf-8")
    registered = {**strategy_registry._strategies, **strategy_registry._chains}
    own = [name for name, made in registered.items() if made.__module__ == builtin.__name__]
    assert {"random", "decoupled"} <= set(own)
    assert [name for name in own if f"| `{name}` |" not in page] == []
