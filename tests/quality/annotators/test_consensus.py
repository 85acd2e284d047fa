"""The consensus of one case: votes by hand, STAPLE as SimpleITK gives it, regions that nest."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from rareseg.data.records import Case
from rareseg.errors import UsageError
from rareseg.quality.annotators.agreement import AgreementSettings
from rareseg.quality.annotators.annotations import Reviews
from rareseg.quality.annotators.consensus import ConsensusSettings, staple, unite
from rareseg_runner.image_records import IGNORE, Classes, Geometry

ONE = Classes(("background", "spot"), (0, 1), {"spot": (1,)})
NESTED = Classes(
    ("background", "dead", "swelling", "active"),
    (0, 1, 2, 3),
    {"whole": (1, 2, 3), "core": (1, 3), "active": (3,)},
)
FLAT = Classes(
    ("background", "crack", "pore"), (0, 1, 2), {"foreground": (1, 2), "crack": (1,), "pore": (2,)}
)


def united(masks, classes=ONE, **asked):
    """Return the consensus of whole masks, each (Y, X) or (Z, Y, X)."""
    labels = np.stack([mask if mask.ndim == 3 else mask[None] for mask in masks]).astype(np.uint8)
    shape = labels.shape[1:]
    reviews = Reviews(
        case=Case("case", (Path("image.png"),), None),
        annotators=tuple("abcdefgh"[: len(masks)]),
        labels=labels,
        box=tuple(slice(0, size) for size in shape),
        shape=shape,
        geometry=Geometry(),
    )
    return unite(reviews, classes, ConsensusSettings(**asked))


def votes(*columns):
    """Return masks of one line: each column is what every annotator says of that voxel."""
    return [np.array([row]) for row in zip(*columns, strict=True)]


class TestMajority:
    @pytest.mark.parametrize(
        ("said", "kept", "ignored"),
        [
            ((1, 1, 1), 1, 1),
            ((1, 1, 0), 1, IGNORE),
            ((1, 0, 0), 0, IGNORE),
            ((0, 0, 0), 0, 0),
            ((1, 0), 0, IGNORE),  # a tie is off, and always ambiguous
            ((1, 1, 0, 0), 0, IGNORE),
            ((1, 1, 1, 0), 1, 1),  # three of four are enough
            ((0, 0, 0, 1), 0, 0),
            ((1, 1, 1, 0, 0), 1, IGNORE),
            ((1,), 1, 1),
            ((1, 1, IGNORE), IGNORE, IGNORE),  # who says ignore is believed
            ((0, 0, IGNORE), IGNORE, IGNORE),
        ],
    )
    def test_by_hand(self, said, kept, ignored):
        assert united(votes(said), ambiguous="keep").labels.item() == kept
        assert united(votes(said), ambiguous="ignore").labels.item() == ignored

    @pytest.mark.parametrize(
        ("said", "kept"),
        [
            ((1, 2, 0), 1),  # both saw something; of equals the first class
            ((2, 2, 1, 0, 0), 2),  # three of five saw something, pore has most votes
            ((1, 1, 2, 2, 0), 1),
            ((1, 0, 0, 0, 2), 0),
        ],
    )
    def test_a_spot_named_differently_was_seen(self, said, kept):
        assert united(votes(said), FLAT, ambiguous="keep").labels.item() == kept

    @pytest.mark.parametrize(
        ("said", "kept"),
        [
            ((3, 3, 2), 3),
            ((3, 1, 2), 1),  # core by two of three, active by one
            ((3, 2, 2), 2),
            ((3, 0, 0), 0),
            ((3, 1, 0), 1),  # whole and core by two of three; what is left of core is dead
            ((3, 2, 0), 2),
        ],
    )
    def test_nested_regions_from_the_outside_in(self, said, kept):
        assert united(votes(said), NESTED, ambiguous="keep").labels.item() == kept

    @settings(max_examples=60, deadline=None)
    @given(hnp.arrays(np.uint8, (5, 4, 5), elements=st.integers(0, 3)))
    def test_every_region_is_its_own_majority(self, masks):
        labels = united(list(masks), NESTED, ambiguous="keep").labels[0]
        for members in NESTED.regions.values():
            assert np.array_equal(np.isin(labels, members), np.isin(masks, members).sum(0) > 2.5)

    def test_counts_say_what_was_left_out(self):
        masks = votes((1, 1, 1), (1, 1, 0), (0, 0, IGNORE), (0, 0, 0))
        found = united(masks)
        assert (found.ambiguous, found.ignored) == (1, 2)
        found = united(masks, ambiguous="keep")
        assert (found.ambiguous, found.ignored) == (1, 1)

    def test_all_empty(self):
        for method in ("majority", "staple"):
            found = united([np.zeros((4, 5), int)] * 3, NESTED, method=method)
            assert not found.labels.any()
            assert (found.ambiguous, found.performances) == (0, ())


def blobs(seed, n, shape=(24, 24), noise=0.5):
    """Return masks of annotators who see the same blobs and differ at random."""
    rng = np.random.default_rng(seed)
    truth = ndimage.gaussian_filter(rng.normal(size=shape), 3)
    own = ndimage.gaussian_filter(rng.normal(size=(n, *shape)), (0, *(1,) * len(shape)))
    field = truth / truth.std() + noise * own / own.std()
    return (field > np.quantile(field, 0.88)).astype(np.uint8)


def discs(size):
    """Return five annotators' discs around one middle, ever wider."""
    y, x = np.mgrid[:size, :size] - size // 2
    return [(y**2 + x**2 <= radius**2).astype(np.uint8) for radius in (6, 7, 8, 9, 12)]


def their_staple(masks):
    """Return SimpleITK's own consensus of masks, its sensitivities and specificities."""
    images = [sitk.GetImageFromArray(mask) for mask in masks]
    found = sitk.STAPLEImageFilter()
    found.SetForegroundValue(1)
    probability = sitk.GetArrayFromImage(found.Execute(images))
    return probability, found.GetSensitivity(), found.GetSpecificity()


class TestStaple:
    @pytest.mark.parametrize("shape", [(24, 24), (6, 16, 16)])
    def test_is_simpleitks_where_the_whole_image_is_near(self, shape):
        masks = blobs(3, 4, shape)
        everywhere = AgreementSettings(margin_mm=1000.0)
        found = united(list(masks), method="staple", ambiguous="keep", agreement=everywhere)
        probability, sensitivity, specificity = their_staple(masks)
        assert np.array_equal(found.labels.reshape(shape), probability > 0.5)
        assert [p.sensitivity for p in found.performances] == pytest.approx(sensitivity)
        assert [p.specificity for p in found.performances] == pytest.approx(specificity)
        # It is no mere majority here, or this would show nothing.
        majority = united(list(masks), ambiguous="keep").labels
        assert (majority != found.labels).any()

    def test_warfields_equations_hold_at_its_end(self):
        drawn = blobs(5, 5).reshape(5, -1).astype(bool)
        probability, rates = staple(drawn)
        p, q = np.array(rates).T
        prior = drawn.mean()
        alpha = prior * np.prod(np.where(drawn.T, p, 1 - p), axis=1)
        beta = (1 - prior) * np.prod(np.where(drawn.T, 1 - q, q), axis=1)
        assert probability == pytest.approx(alpha / (alpha + beta), abs=1e-4)
        assert p == pytest.approx(drawn @ probability / probability.sum(), abs=1e-4)
        assert q == pytest.approx(~drawn @ (1 - probability) / (1 - probability).sum(), abs=1e-4)

    def test_more_background_changes_nothing_here_and_much_where_all_of_it_is_looked_at(self):
        small, wide = discs(64), discs(864)
        found = [united(masks, method="staple", ambiguous="keep").labels for masks in (small, wide)]
        assert [labels.sum() for labels in found] == [197, 197]
        assert np.array_equal(found[0][0], found[1][0][400:-400, 400:-400])
        # The third of five discs holds 197 pixels, the fourth 253.
        for masks in (small, wide):
            assert (their_staple(masks)[0] > 0.5).sum() == 253

    def test_who_drew_nothing_is_found_out(self):
        masks = [*blobs(7, 3, noise=0.3), np.zeros((24, 24), np.uint8)]
        found = united(masks, method="staple", ambiguous="keep")
        rates = {p.annotator: p.sensitivity for p in found.performances}
        assert rates["d"] == pytest.approx(0.0)
        assert min(rates[name] for name in "abc") > 0.5

    @settings(max_examples=40, deadline=None)
    @given(hnp.arrays(np.uint8, (4, 5, 6), elements=st.sampled_from([0, 0, 1, 2, 3])))
    def test_regions_stay_nested_whatever_is_drawn(self, masks):
        found = united(list(masks), NESTED, method="staple", ambiguous="keep")
        assert set(np.unique(found.labels)) <= {0, 1, 2, 3}
        on = {
            region: their_or_votes(np.isin(masks, members))
            for region, members in NESTED.regions.items()
        }
        labels = found.labels[0]
        inner = on["whole"]
        for region, members in NESTED.regions.items():
            inner = inner & on[region]
            assert np.array_equal(np.isin(labels, members), inner)

    @pytest.mark.parametrize("value", [0, 1])
    def test_where_all_agree_everywhere_there_is_nothing_to_estimate(self, value):
        probability, rates = staple(np.full((3, 9), bool(value)))
        assert probability.tolist() == [value] * 9
        assert rates == []

    def test_one_annotator_is_the_consensus(self):
        (mask,) = blobs(9, 1)
        assert np.array_equal(united([mask], method="staple").labels[0], mask)


def their_or_votes(drawn):
    """Return SimpleITK's decision on a region, or the votes where it has none."""
    probability = their_staple(drawn.astype(np.uint8))[0]
    return (drawn.mean(axis=0) if np.isnan(probability).any() else probability) > 0.5


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"method": "stapel"}, "did you mean 'staple'"),
        ({"ambiguous": "drop"}, "ignore and keep"),
        ({"minimum_reviews": 0}, "1 or more"),
    ],
)
def test_words_that_are_not_allowed_are_refused(wrong, words):
    with pytest.raises(UsageError, match=words):
        ConsensusSettings(**wrong)
