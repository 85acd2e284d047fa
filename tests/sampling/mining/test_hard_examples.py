"""Mining finds exactly the errors that a network was told to make."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from rareseg.data.store.array_store import store_from_arrays
from rareseg.data.store.store import Store
from rareseg.errors import UsageError
from rareseg.recipe import MiningSection, SamplingSection
from rareseg.sampling.mining.hard_examples import mine
from rareseg.sampling.mining.label_suspects import MinedSuspect, list_suspects
from rareseg.sampling.pools.mined_pools import MinedPools, nothing_mined, restore_mined
from rareseg.sampling.pools.pool import Pool, pool_classes
from rareseg.sampling.sampler import PatchSampler
from rareseg.sampling.strategies.strategy import Cases, Share, resolve, strategies, strategy
from rareseg_runner.image_records import IGNORE
from rareseg_runner.preprocessing.preprocess import Preprocessing

SAMPLING = SamplingSection(patch_size=(5, 7), weighting="voxel")
EVERYTHING = MiningSection(voxels=0, suspect_rounds=0)
MORE_THAN_THERE_ARE = MiningSection(voxels=100_000, suspect_rounds=0)

Tell = Callable[[torch.Tensor], torch.Tensor]


def dig(
    store: Store,
    predict: Tell,
    settings: MiningSection,
    last: MinedPools | None = None,
    sampling: SamplingSection = SAMPLING,
    seed: int = 0,
) -> MinedPools:
    last = last or nothing_mined(store)
    return mine(store, predict, sampling, settings, last=last, step=10, weights="told", seed=seed)


def places(pool: Pool) -> np.ndarray:
    return pool.at(np.arange(pool.size))


def said(store: Store) -> tuple[np.ndarray, np.ndarray]:
    """What the told network says of every voxel in flat order, read off the images: class, p."""
    codes = np.concatenate([store.image(row)[1].reshape(-1) for row in range(len(store))])
    return codes // 10, np.array([0.99, 0.8, 0.6])[codes % 10]


class TestWhatIsHard:
    @pytest.mark.parametrize("settings", [EVERYTHING, MORE_THAN_THERE_ARE], ids=["all", "subset"])
    @pytest.mark.parametrize("border", ["reflect", "background", "shift"])
    @pytest.mark.parametrize("confidence", [0.0, 0.75, 0.99])
    def test_the_pools_hold_exactly_the_told_errors(
        self, told_store, tell, settings, border, confidence
    ):
        settings = settings.model_copy(update={"confidence": confidence})
        sampling = SAMPLING.model_copy(update={"border": border})
        mined = dig(told_store, tell, settings, sampling=sampling)
        truth = told_store.labels
        predicted, p = said(told_store)
        known = truth != IGNORE
        wrong = known & (predicted != truth)
        hard = wrong | (known & (predicted == truth) & (p < confidence))
        assert wrong.any()
        assert (hard & ~wrong).any() == (confidence > 0)
        for index, name in enumerate(told_store.classes.names):
            np.testing.assert_array_equal(
                places(mined.pools[f"low confidence: {name}"]),
                np.flatnonzero(hard & (truth == index)),
            )
        np.testing.assert_array_equal(
            places(mined.pools["false positives"]), np.flatnonzero(wrong & (truth == 0))
        )
        np.testing.assert_array_equal(
            places(mined.pools["false negatives"]), np.flatnonzero(wrong & (predicted == 0))
        )
        assert mined.judged == tuple(int((truth == k).sum()) for k in range(3))
        assert (mined.round, mined.step, mined.weights) == (1, 10, "told")

    @pytest.mark.parametrize("settings", [EVERYTHING, MORE_THAN_THERE_ARE], ids=["all", "subset"])
    @pytest.mark.parametrize("patch_size", [(3, 4), (2, 3, 4)], ids=["slices", "volumes"])
    def test_volumes_are_judged_slice_by_slice_or_whole(self, tmp_path, settings, patch_size):
        """Bright voxels are taken for foreground; the labels disagree in 40 places."""
        rng = np.random.default_rng(0)
        images = {name: rng.integers(0, 2, (1, 4, 6, 5)) for name in "vw"}
        labels = {name: image[0].astype(np.uint8) for name, image in images.items()}
        wrong = rng.permutation(240)[:40]
        flat = np.concatenate([label.reshape(-1) for label in labels.values()])
        flat[wrong] = 1 - flat[wrong]
        labels = dict(zip("vw", flat.reshape(2, 4, 6, 5), strict=True))
        store = store_from_arrays(
            tmp_path / "store",
            {name: image.astype(np.int16) for name, image in images.items()},
            labels,
            preprocessing=Preprocessing(dimension=3, method="none"),
        )
        shapes = []

        def predict(images: torch.Tensor) -> torch.Tensor:
            shapes.append(tuple(images.shape))
            bright = images[:, 0].clamp(0.1, 0.9)
            return torch.stack([1 - bright, bright], 1)

        sampling = SamplingSection(patch_size=patch_size, weighting="case")
        mined = dig(store, predict, settings, sampling=sampling)
        hard = [places(pool) for name, pool in mined.pools.items() if name.startswith("low")]
        np.testing.assert_array_equal(np.sort(np.concatenate(hard)), np.sort(wrong))
        whole = {(4, 1, 6, 5)} if len(patch_size) == 2 else {(1, 1, 4, 6, 5)}
        assert set(shapes) == (whole if settings is EVERYTHING else {(240, 1, *patch_size)})

    @pytest.mark.parametrize("weighting", ["voxel", "case"])
    def test_a_subset_is_of_the_size_that_is_stated(self, told_store, tell, weighting):
        sampling = SAMPLING.model_copy(update={"weighting": weighting})
        settings = MiningSection(voxels=9, suspect_rounds=0)
        mined = dig(told_store, tell, settings, sampling=sampling)
        # Spots are 7 in all.
        assert mined.judged == (9, 7, 9)
        everything = dig(told_store, tell, EVERYTHING)
        for name, pool in mined.pools.items():
            assert np.isin(places(pool), places(everything.pools[name])).all()
        again = dig(told_store, tell, settings, sampling=sampling)
        other = dig(told_store, tell, settings, sampling=sampling, seed=1)
        lines = "low confidence: background"
        np.testing.assert_array_equal(places(mined.pools[lines]), places(again.pools[lines]))
        assert not np.array_equal(places(mined.pools[lines]), places(other.pools[lines]))

    def test_a_subset_is_uniform_over_its_class(self, told_store, tell):
        """Judged with confidence 1 every voxel is hard, so that the pool shows what was drawn."""
        settings = MiningSection(voxels=5, confidence=1.0, suspect_rounds=0)
        counts = np.zeros(told_store.labels.size)
        for seed in range(600):
            counts[
                places(dig(told_store, tell, settings, seed=seed).pools["low confidence: line"])
            ] += 1
        drawn = counts[told_store.labels == 2]
        assert drawn.sum() == 3000
        assert chisquare(drawn).pvalue > 1e-4

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            (
                lambda images: images[:, :1],
                r"returned shape \(27, 1, 5, 7\).*must return \(27, 3, 5, 7\)",
            ),
            (lambda images: 5 * images[:, [0, 0, 1]], "no probabilities"),
            (lambda images: torch.full((len(images), 3, 5, 7), torch.nan), "no probabilities"),
        ],
        ids=["shape", "logits", "nan"],
    )
    def test_what_is_no_probability_is_refused(self, told_store, answer, words):
        with pytest.raises(UsageError, match=words) as caught:
            dig(told_store, answer, MiningSection(voxels=10))
        assert "\n" not in str(caught.value)


class Scene:
    """One image of 6 x 8 pixels that know their number, and a network told what to say of each."""

    def __init__(self, folder) -> None:
        self.labels = np.zeros((1, 6, 8), np.uint8)
        self.labels[0, 1:3, 1:4] = 1
        self.labels[0, 4, 6:8] = 1
        image = np.arange(48, dtype=np.uint8).reshape(1, 1, 6, 8)
        self.store = store_from_arrays(
            folder / "store",
            {"only": image},
            {"only": self.labels},
            preprocessing=Preprocessing(method="none"),
        )
        self.right()

    def right(self) -> None:
        """All is right, with p = 0.99."""
        self.foreground = np.where(self.labels.reshape(-1) == 1, 0.99, 0.01)

    def predict(self, images: torch.Tensor) -> torch.Tensor:
        p = torch.from_numpy(self.foreground).float()[images[:, 0].long()]
        return torch.stack([1 - p, p], 1)

    def rounds(self, settings: MiningSection, *wrong: dict[int, float]) -> list[MinedPools]:
        """Mine once for each of ``wrong``: pixels, and p(foreground) that they are given."""
        found: list[MinedPools] = []
        for given_wrong in wrong:
            self.right()
            for pixel, p in given_wrong.items():
                self.foreground[pixel] = p
            found.append(dig(self.store, self.predict, settings, found[-1] if found else None))
        return found


@pytest.fixture(scope="module")
def scene_of_pixels(tmp_path_factory) -> Scene:
    return Scene(tmp_path_factory.mktemp("pixels"))


class TestTheGuardAgainstWrongLabels:
    GUARD = MiningSection(voxels=0, suspect_rounds=3, suspect_confidence=0.95)
    # Rows of 8: pixels 9, 10, 11 and 17, 18, 19 are foreground, and 38, 39.
    MISSED = dict.fromkeys((9, 10, 17), 0.02)
    MARK = "low confidence: foreground"

    def test_what_stays_wrong_with_high_confidence_is_set_aside(self, scene_of_pixels):
        wrong = {**self.MISSED, 38: 0.1, 30: 0.97, 31: 0.97}
        rounds = scene_of_pixels.rounds(self.GUARD, *[wrong] * 5)
        for mined in rounds[:2]:
            assert places(mined.pools[self.MARK]).tolist() == [9, 10, 17, 38]
            assert places(mined.pools["false positives"]).tolist() == [30, 31]
            assert mined.set_aside.size == 0
        for number, mined in enumerate(rounds[2:], start=3):
            # Pixel 38 is wrong as well, but with p = 0.9 only.
            assert places(mined.set_aside).tolist() == [9, 10, 17, 30, 31]
            assert places(mined.pools[self.MARK]).tolist() == [38]
            assert mined.pools["false positives"].size == 0
            assert list_suspects(scene_of_pixels.store, mined) == (
                MinedSuspect(
                    "only", ((0, 1), (1, 3), (1, 3)), "foreground", "background", number, 3
                ),
                MinedSuspect(
                    "only", ((0, 1), (3, 4), (6, 8)), "background", "foreground", number, 2
                ),
            )

    def test_a_round_without_suspicion_starts_the_count_anew(self, scene_of_pixels):
        wrong = {9: 0.02}
        rounds = scene_of_pixels.rounds(self.GUARD, wrong, wrong, {9: 0.2}, wrong, wrong, wrong, {})
        sizes = [mined.set_aside.size for mined in rounds]
        assert sizes == [0, 0, 0, 0, 0, 1, 0]
        assert [mined.pools[self.MARK].size for mined in rounds] == [1, 1, 1, 1, 1, 0, 0]

    def test_zero_rounds_set_nothing_aside(self, scene_of_pixels):
        settings = self.GUARD.model_copy(update={"suspect_rounds": 0})
        rounds = scene_of_pixels.rounds(settings, *[self.MISSED] * 4)
        assert rounds[-1].set_aside.size == 0
        assert rounds[-1].pools[self.MARK].size == 3
        assert list_suspects(scene_of_pixels.store, rounds[-1]) == ()

    @given(
        st.lists(
            st.dictionaries(st.integers(0, 47), st.sampled_from([0.02, 0.3, 0.7, 0.98])),
            min_size=1,
            max_size=6,
        ),
        st.integers(1, 4),
        st.sampled_from([0, 100]),
    )
    @settings(
        max_examples=60, deadline=None, suppress_health_check=[HealthCheck.differing_executors]
    )
    def test_it_agrees_with_counting_by_hand(self, scene_of_pixels, told, patience, voxels):
        guard = self.GUARD.model_copy(update={"suspect_rounds": patience, "voxels": voxels})
        truth = scene_of_pixels.labels.reshape(-1)
        streak = np.zeros(48, int)
        for mined, wrong in zip(scene_of_pixels.rounds(guard, *told), told, strict=True):
            p = np.where(truth == 1, 0.99, 0.01)
            p[list(wrong)] = list(wrong.values())
            p_wrong = np.where(truth == 1, 1 - p, p)
            streak = np.where(p_wrong >= 0.95, streak + 1, 0)
            aside = streak >= patience
            np.testing.assert_array_equal(places(mined.set_aside), np.flatnonzero(aside))
            hard = (p_wrong > 0.25) & ~aside
            np.testing.assert_array_equal(
                places(mined.pools[self.MARK]), np.flatnonzero(hard & (truth == 1))
            )
            held = list_suspects(scene_of_pixels.store, mined)
            assert sum(suspect.voxels for suspect in held) == aside.sum()

    def test_in_a_subset_what_was_suspected_is_looked_at_again(self, scene_of_pixels):
        """All background is called foreground: five pixels are drawn, and kept in view."""
        guard = self.GUARD.model_copy(update={"voxels": 5})
        background = np.flatnonzero(scene_of_pixels.labels.reshape(-1) == 0).tolist()
        rounds = scene_of_pixels.rounds(guard, *[dict.fromkeys(background, 0.98)] * 4)
        first = places(rounds[0].pools["false positives"])
        assert len(first) == 5
        for mined in rounds[:2]:
            assert np.isin(first, places(mined.pools["false positives"])).all()
        for mined in rounds[2:]:
            assert np.isin(first, places(mined.set_aside)).all()
            assert not np.isin(first, places(mined.pools["false positives"])).any()
        # Those that were suspected longest, and at most as many again as are drawn anew.
        assert all(5 <= mined.judged[0] <= 10 for mined in rounds)
        assert places(rounds[3].set_aside).tolist() == sorted(first.tolist())


def test_a_record_comes_back_whole(told_store, tell):
    settings = MiningSection(voxels=0, suspect_rounds=1)
    mined = dig(told_store, tell, settings)
    assert mined.set_aside.size > 0
    file = io.BytesIO()
    torch.save(mined.state(), file)
    file.seek(0)
    back = restore_mined(told_store, torch.load(file, weights_only=True))
    assert (back.round, back.step, back.weights, back.judged) == (1, 10, "told", mined.judged)
    assert back.pools.keys() == mined.pools.keys()
    for name, pool in mined.pools.items():
        np.testing.assert_array_equal(places(back.pools[name]), places(pool))
    np.testing.assert_array_equal(places(back.set_aside), places(mined.set_aside))
    assert list_suspects(told_store, back) == list_suspects(told_store, mined)


def test_nothing_is_known_before_the_first_round(told_store):
    mined = nothing_mined(told_store)
    assert mined.round == 0
    assert set(mined.pools) == {
        "low confidence: background",
        "low confidence: spot",
        "low confidence: line",
        "false positives",
        "false negatives",
    }
    assert not any(pool.size for pool in (*mined.pools.values(), mined.set_aside))


class TestTheStrategiesThatMine:
    def cases(self, store, tell, *, patches, **mining):
        settings = MiningSection(voxels=0, suspect_rounds=0, **mining)
        return Cases(store, SAMPLING, dig(store, tell, settings), settings, epoch_patches=patches)

    def test_without_mined_voxels_hard_is_balanced(self, told_store):
        cases = Cases(told_store, SAMPLING, nothing_mined(told_store), epoch_patches=100)
        mixture = resolve("hard", cases)
        np.testing.assert_allclose(mixture.asked, [0, 1 / 3] * 3)
        np.testing.assert_allclose(mixture.delivered, [0, 1 / 3] * 3)

    @pytest.mark.parametrize("hard_share", [0.1, 0.5, 1.0])
    def test_each_class_is_filled_first_from_what_is_stored(self, told_store, tell, hard_share):
        patches = 90
        cases = self.cases(told_store, tell, patches=patches, hard_share=hard_share)
        shares = resolve("hard", cases).shares
        for mined, whole in zip(shares[::2], shares[1::2], strict=True):
            stored = mined.pool.size
            assert stored > 0
            # A third of 90 patches is 30.
            part = min(hard_share, stored / 30)
            assert mined.share == pytest.approx(part / 3)
            assert whole.share == pytest.approx((1 - part) / 3)
            assert mined.pool.name == f"low confidence: {whole.pool.name}"

    def test_in_one_epoch_every_stored_voxel_comes_once(self, told_store, tell):
        sampler = PatchSampler(
            told_store,
            strategy="hard",
            patch_size=(3, 3),
            batch_size=120,
            seed=0,
            epoch_length=10,
            mining=MiningSection(voxels=0, suspect_rounds=0),
        )
        list(sampler)
        mined = sampler.mine(tell)
        plans = [sampler.plan(k) for k in range(10, 20)]
        case = np.concatenate([plan.case for plan in plans])
        corner = np.concatenate([plan.corner for plan in plans])
        flat = (
            told_store.cases.label_offset[case]
            + (corner[:, 1] + 1) * told_store.cases.shape[case, 2]
            + corner[:, 2]
            + 1
        )
        chosen = np.concatenate([plan.pool for plan in plans])
        for index, share in enumerate(sampler.mixture.shares):
            if not share.in_turn:
                continue
            stored = places(mined.pools[share.pool.name])
            drawn = np.sort(flat[chosen == index])
            if len(stored) < 400:
                np.testing.assert_array_equal(drawn, stored)
            else:
                assert len(np.unique(drawn)) == len(drawn) == 400

    def test_hard_negatives_leave_the_negatives_their_share(self, told_store, tell):
        cases = self.cases(told_store, tell, patches=1000)
        *positive, false, true = resolve("hard_negative", cases).shares
        assert sum(share.share for share in positive) == pytest.approx(0.5)
        assert false.share + true.share == pytest.approx(0.5)
        assert false.pool.size > 250
        # Stored voxels would fill half of the epoch, but half of the negatives stay as they are.
        assert false.share == pytest.approx(0.25)
        few = self.cases(told_store, tell, patches=10_000)
        assert resolve("hard_negative", few).shares[-2].share == pytest.approx(
            0.5 * false.pool.size / 5000
        )
        assert np.isin(places(false.pool), places(true.pool)).all()
        assert false.pool.size < cases.mined.pools["false positives"].size


class TestASamplerThatMines:
    def make(self, store, **changes) -> PatchSampler:
        arguments = {
            "strategy": "hard",
            "patch_size": (5, 5),
            "batch_size": 6,
            "seed": 0,
            "epoch_length": 3,
        }
        return PatchSampler(store, **(arguments | changes))

    def test_it_needs_epochs(self, told_store):
        with pytest.raises(UsageError, match=r"'hard' draws from what is mined.*epoch_length"):
            self.make(told_store, epoch_length=None)

    def test_pools_change_between_epochs_alone(self, told_store, tell):
        sampler = self.make(told_store)
        next(iter(sampler))
        with pytest.raises(UsageError, match=r"\(3 each\), not at batch 1"):
            sampler.mine(tell)
        endless = self.make(told_store, strategy="balanced", epoch_length=None)
        with pytest.raises(UsageError, match="there are none"):
            endless.mine(tell)

    def test_it_says_when_it_is_time(self, told_store, tell):
        sampler = self.make(told_store)
        assert not sampler.mining_due
        for _ in sampler:
            assert sampler.mining_due == (sampler.position == 3)
        sampler.mine(tell)
        assert not sampler.mining_due
        assert not self.make(told_store, strategy="balanced").mining_due

    def test_batches_of_before_are_gone(self, told_store, tell):
        sampler = self.make(told_store)
        list(sampler)
        sampler.batch(1)
        sampler.mine(tell)
        sampler.batch(3)
        with pytest.raises(UsageError, match=r"Batch 1 was drawn.*from batch 3 on"):
            sampler.batch(1)

    def test_ranks_must_agree_on_the_batch(self, told_store, tell):
        first, second = self.make(told_store), self.make(told_store)
        list(first)
        mined = first.mine(tell)
        for _ in range(2):
            list(second)
        with pytest.raises(UsageError, match="before batch 3 cannot be used from batch 6"):
            second.use(mined)

    def test_a_pool_that_runs_empty_in_mid_run_leaves_its_share_and_shows_it(
        self, told_store, tell, caplog
    ):
        name = "false positives in test"
        if name not in strategies():

            @strategy(name, mines=True)
            def false_positives(cases):
                background, spot, _ = pool_classes(cases.store)
                false = cases.mined.pools["false positives"]
                return [
                    Share(false, 0.5, family="negatives"),
                    Share(background, 0.25, family="negatives"),
                    Share(spot, 0.25),
                ]

        def never_wrong(images):
            truth = images[:, 0].clamp(0, 2).long()
            return torch.nn.functional.one_hot(truth, 3).movedim(-1, 1).float()

        mining = MiningSection(voxels=0, suspect_rounds=0)
        sampler = self.make(told_store, strategy=name, batch_size=4, mining=mining)
        for network in (tell, never_wrong, None):
            list(sampler)
            if network is not None:
                sampler.mine(network)
        report = sampler.delivered()
        assert report.pools == ("false positives", "background", "spot")
        assert report.asked == pytest.approx((0.5, 0.25, 0.25))
        # In the first and the last of three epochs nothing is a false positive.
        assert report.drawn == pytest.approx((1 / 6, 7 / 12, 1 / 4))
        assert report.centres == (6, 21, 9)
        messages = [r.getMessage() for r in caplog.records if "false positives" in r.getMessage()]
        assert len(messages) == 2
        assert "its share of 0.5 goes to the others" in messages[1]
