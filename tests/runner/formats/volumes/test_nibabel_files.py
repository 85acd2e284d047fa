"""MGH and MGZ of FreeSurfer lie where nibabel says, and cut ones are refused."""

from __future__ import annotations

import gzip

import nibabel
import numpy as np
import pytest

from rareseg.errors import ReadError
from rareseg_runner.formats import mask_suffix, read_image, read_mask, write_mask
from rareseg_runner.geometry import canonical_frame

RNG = np.random.default_rng(7)
CONFORMED = np.array([[-1.0, 0, 0, 20], [0, 0, 1.5, -30], [0, -2, 0, 40], [0, 0, 0, 1]])
"""FreeSurfer's usual order of axes (LIA), with other sides."""


@pytest.mark.parametrize("suffix", [".mgz", ".mgh"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32])
def test_voxels_lie_where_nibabel_says(tmp_path, suffix, dtype):
    voxels = RNG.integers(0, 200, (6, 7, 8)).astype(dtype)
    nibabel.MGHImage(voxels, CONFORMED).to_filename(tmp_path / f"a{suffix}")
    image = read_image([tmp_path / f"a{suffix}"])
    assert image.array.dtype == dtype
    assert image.array.dtype.isnative
    affine = nibabel.load(tmp_path / f"a{suffix}").affine
    origin, axes = canonical_frame(image.geometry, image.array.shape[1:])
    for i, j, k in RNG.integers(0, (6, 7, 8), (9, 3)):
        world = (affine @ [i, j, k, 1])[:3] * (-1, -1, 1)  # RAS to LPS
        at = axes.T @ (world - origin) / image.geometry.spacing[::-1]
        x, y, z = np.round(at).astype(int)
        np.testing.assert_allclose(at, (x, y, z), atol=1e-3)
        assert image.array[0, z, y, x] == voxels[i, j, k]


def test_frames_are_channels_and_a_mask_is_written_beside(tmp_path):
    voxels = RNG.integers(0, 9, (6, 7, 8, 2)).astype(np.uint8)
    nibabel.MGHImage(voxels, CONFORMED).to_filename(tmp_path / "a.mgz")
    image = read_image([tmp_path / "a.mgz"])
    assert image.array.shape[0] == 2
    path = tmp_path / f"m{mask_suffix(tmp_path / 'a.mgz')}"
    write_mask(path, image.array[0] > 4, image.geometry)
    assert read_mask(path).geometry.spacing == pytest.approx(image.geometry.spacing)
    written = nibabel.load(path)
    np.testing.assert_allclose(written.affine, CONFORMED, atol=1e-4)
    np.testing.assert_array_equal(np.asarray(written.dataobj), voxels[..., 0] > 4)


def test_cut_files_and_odd_headers_are_refused(tmp_path):
    nibabel.MGHImage(np.ones((6, 7, 8), np.float32), CONFORMED).to_filename(tmp_path / "a.mgh")
    content = (tmp_path / "a.mgh").read_bytes()
    (tmp_path / "a.mgh").write_bytes(content[: 284 + 6 * 7 * 8 * 4 - 1])
    with pytest.raises(ReadError, match=r"a\.mgh is truncated"):
        read_image([tmp_path / "a.mgh"])
    cut = content[:4] + (30_000).to_bytes(4, "big") * 3 + content[16:]
    (tmp_path / "b.mgz").write_bytes(gzip.compress(cut))
    with pytest.raises(ReadError, match=r"b\.mgz states 30000 × 30000 × 30000 × 1 values, 100582"):
        read_image([tmp_path / "b.mgz"])
