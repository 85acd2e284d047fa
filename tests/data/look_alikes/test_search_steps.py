"""The steps of the search that only save time lose nothing."""

import numpy as np
import PIL.Image
import pytest
from scipy import ndimage

from rareseg.data.look_alikes import candidates, make_thumbnail
from rareseg.data.look_alikes.candidates import NEIGHBOURS, Spectra
from rareseg.data.look_alikes.registration import could_fit, register
from rareseg.data.look_alikes.thumbnails import _blurred, symmetries
from rareseg_runner.image_records import Geometry, Image


def thumbnail(values, dimension=2):
    array = np.asarray(values)
    array = array[None, None] if dimension == 2 else array[None]
    return make_thumbnail(Image(array, Geometry(dimension=dimension)))


def texture(seed, shape=(150, 120)):
    noise = np.random.default_rng(seed).normal(size=shape)
    return sum(s * ndimage.gaussian_filter(noise, s, mode="wrap") for s in (1.0, 3.0, 9.0))


def noise(seed, mean=0.0):
    return np.random.default_rng(seed).normal(mean, 1, (64, 64))


class TestScreen:
    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.parametrize(("share", "factor"), [(0.08, 0.5), (0.1, 1.0), (0.05, 0.7)])
    def test_a_copy_that_registers_is_never_screened_out(self, seed, share, factor):
        picture = texture(seed)
        cut = picture[round(150 * share) :, round(120 * share) :]
        copy = PIL.Image.fromarray(np.float32(np.rot90(cut))).resize(
            (round(cut.shape[0] * factor), round(cut.shape[1] * factor))
        )
        first, other = thumbnail(picture), thumbnail(copy)
        fits = [register(first, [(other, s)], clear=0.72)[0] for s in symmetries(2)]
        best = int(np.argmax([fit.similarity for fit in fits]))
        assert fits[best].similarity >= 0.72
        assert could_fit(first, [(other, symmetries(2)[best])]) == [True]

    def test_nearly_all_pairs_of_noise_are(self):
        first, *others = (thumbnail(noise(seed)) for seed in range(60))
        could = could_fit(first, [(other, symmetries(2)[0]) for other in others])
        assert sum(could) <= 3

    def test_volumes_are_all_registered(self):
        first, other = (
            thumbnail(np.random.default_rng(k).normal(size=(20, 24, 22)), 3) for k in (0, 1)
        )
        assert could_fit(first, [(other, symmetries(3)[0])]) == [True]


def reference(spectra):
    """Return the candidates by comparing all with all at once."""
    n = len(spectra.variants[0])
    share = candidates.UNRELATED / (n * len(spectra.variants))
    least = candidates.stats.norm.isf(share) / np.sqrt(candidates.COMPONENTS)
    found = set()
    for i in range(n):
        close = np.stack([variant @ spectra.variants[0][i] for variant in spectra.variants])
        close[:, i] = -1
        which, other = np.nonzero(close >= least)
        order = np.lexsort((other, which, -close[which, other]))[:NEIGHBOURS]
        found |= {
            (min(i, j), max(i, j), s)
            for s, j in zip(which[order].tolist(), other[order].tolist(), strict=True)
        }
    return [(i, j, spectra.symmetries[s]) for i, j, s in sorted(found)]


@pytest.mark.parametrize("most_kept", [candidates._MOST_KEPT, 50])
def test_candidates_in_pieces_are_those_of_all_at_once(monkeypatch, most_kept):
    """Where each case has more neighbours than are kept."""
    spectra = Spectra([thumbnail(texture(seed, (64, 64))) for seed in range(90)])
    for name, value in (("_ROWS", 32), ("_COLUMNS", 24), ("_MOST_KEPT", most_kept)):
        monkeypatch.setattr(candidates, name, value)
    monkeypatch.setattr(candidates, "UNRELATED", 3 * NEIGHBOURS)
    found = spectra.candidates()
    assert len(found) > 90 * NEIGHBOURS / 2
    assert found == reference(spectra)


@pytest.mark.parametrize("shape", [(96, 37), (40, 12, 8)])
@pytest.mark.parametrize("mode", ["reflect", "wrap"])
def test_a_blur_is_that_of_scipy(shape, mode):
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    expected = ndimage.gaussian_filter(values, 1.5, mode=mode)
    np.testing.assert_allclose(_blurred(values, 1.5, mode=mode), expected, atol=1e-5)
