"""Pictures by named decoders: JPEG 2000, AVIF, HEIC, very large ones, and what is lossy."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from rareseg.errors import ReadError
from rareseg_runner.formats import read_image, read_mask
from rareseg_runner.formats.picture_files import jpeg2000_header

RNG = np.random.default_rng(11)
RAMP = Path(__file__).parent / "ramp.heic"
"""Encoded once: free encoders of HEIC are under the GPL."""
LABELS = RNG.integers(0, 5, (24, 32), dtype=np.uint8)


class TestJpeg2000:
    @pytest.mark.parametrize("suffix", [".jp2", ".j2k"])
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_values_are_those_of_the_file(self, tmp_path, suffix, dtype):
        array = RNG.integers(0, np.iinfo(dtype).max, (24, 32)).astype(dtype)
        PIL.Image.fromarray(array).save(tmp_path / f"a{suffix}")
        assert jpeg2000_header(tmp_path / f"a{suffix}") == (8 * array.itemsize, 1, True)
        image = read_image([tmp_path / f"a{suffix}"])
        assert image.array.dtype == dtype
        np.testing.assert_array_equal(image.array[0, 0], array)
        np.testing.assert_array_equal(read_mask(tmp_path / f"a{suffix}").array[0], array)

    @pytest.mark.parametrize("bits", [10, 12, 15])
    def test_samples_of_other_depths_are_not_moved_up(self, tmp_path, bits):
        """Pillow fills 16 bits; the header is changed from 16 to what a satellite writes."""
        array = RNG.integers(0, 2**bits, (24, 32)).astype(np.uint16)
        PIL.Image.fromarray(array).save(tmp_path / "a.j2k", no_jp2=True)
        content = bytearray((tmp_path / "a.j2k").read_bytes())
        at = content.index(b"\xff\x51") + 40
        assert content[at] == 15
        content[at] = bits - 1
        (tmp_path / "a.j2k").write_bytes(content)
        with PIL.Image.open(tmp_path / "a.j2k") as shown:
            moved = np.asarray(shown)
        image = read_image([tmp_path / "a.j2k"]).array[0, 0]
        np.testing.assert_array_equal(image, moved >> (16 - bits))
        assert image.max() < 2**bits

    def test_one_with_loss_is_no_mask_and_deep_colours_are_refused(self, tmp_path):
        PIL.Image.fromarray(LABELS).save(tmp_path / "m.jp2", irreversible=True)
        assert read_image([tmp_path / "m.jp2"]).array.shape == (1, 1, 24, 32)
        with pytest.raises(ReadError, match=r"m\.jp2 is a mask stored as JPEG2000, whose lossy"):
            read_mask(tmp_path / "m.jp2")
        PIL.Image.fromarray(np.stack([LABELS] * 3, -1)).save(tmp_path / "c.jp2", no_jp2=True)
        content = bytearray((tmp_path / "c.jp2").read_bytes())
        content[content.index(b"\xff\x51") + 40] = 11
        (tmp_path / "c.jp2").write_bytes(content)
        with pytest.raises(ReadError, match=r"c\.jp2 is JPEG 2000 with 3 channels of 12 bits"):
            read_image([tmp_path / "c.jp2"])


class TestTelephones:
    @pytest.mark.parametrize("name", ["a.heic", "IMG_0001.HEIC", "renamed.jpg"])
    def test_heic_is_read_whatever_it_is_called(self, tmp_path, name):
        pytest.importorskip(
            "pi_heif", reason="pi_heif is not installed; make test-extras installs it"
        )
        shutil.copy(RAMP, tmp_path / name)
        image = read_image([tmp_path / name]).array[:, 0]
        y, x = np.indices((48, 64))
        np.testing.assert_allclose(image, np.stack([4 * x, 5 * y, 2 * (x + y)]), atol=10)
        with pytest.raises(ReadError, match=r"is a mask stored as HEIC, whose lossy"):
            read_mask(tmp_path / name)

    def test_without_the_extra_the_line_to_type_is_said(self, tmp_path, monkeypatch):
        monkeypatch.setattr("rareseg_runner.formats.reader_guard.has_module", lambda _: False)
        for name in ("a.heic", "renamed.jpg"):
            shutil.copy(RAMP, tmp_path / name)
            with pytest.raises(ReadError, match=rf"{name} is .*HEIC.*'rareseg\[heic\]'\.$"):
                read_image([tmp_path / name])

    def test_avif_is_an_image_and_no_mask(self, tmp_path):
        PIL.Image.fromarray(LABELS * 50).save(tmp_path / "a.avif", quality=90)
        assert read_image([tmp_path / "a.avif"]).array.shape[1:] == (1, 24, 32)
        with pytest.raises(ReadError, match=r"a\.avif is a mask stored as AVIF, whose lossy"):
            read_mask(tmp_path / "a.avif")


def test_a_photograph_beyond_pillows_limit_is_read_and_the_limit_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 100)
    PIL.Image.fromarray(LABELS).save(tmp_path / "a.png")
    with pytest.raises(PIL.Image.DecompressionBombError):
        PIL.Image.open(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image([tmp_path / "a.png"]).array[0, 0], LABELS)
    assert PIL.Image.MAX_IMAGE_PIXELS == 100


@pytest.mark.parametrize(("name", "options"), [("a.jp2", {}), ("a.j2k", {"no_jp2": True})])
def test_jpeg_2000_that_was_cut_anywhere_is_refused(name, options, tmp_path):
    drawn = (np.arange(12 * 16).reshape(12, 16) % 2 * 255).astype(np.uint8)
    path = tmp_path / name
    PIL.Image.fromarray(drawn).save(path, format="JPEG2000", **options)
    whole = path.read_bytes()
    assert np.array_equal(read_image([path]).array[0, 0], drawn)
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        with pytest.raises(ReadError):
            read_image([path])
    if name == "a.jp2":  # boxes may follow the codestream
        path.write_bytes(whole + (12).to_bytes(4, "big") + b"uuidabcd")
        assert np.array_equal(read_image([path]).array[0, 0], drawn)
