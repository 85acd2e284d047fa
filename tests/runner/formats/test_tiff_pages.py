"""Which picture of a TIFF is the image, and cut or damaged files that tifffile would read."""

from __future__ import annotations

import io
import struct

import numpy as np
import PIL.Image
import pytest
import tifffile

from rareseg.errors import ReadError
from rareseg_runner.formats import read_image, read_mask

RNG = np.random.default_rng(4)
COLOUR = RNG.integers(0, 256, (64, 96, 3), dtype=np.uint8)
GREY = COLOUR[..., 0]
BLOCK = np.zeros((64, 64), np.uint8)
BLOCK[20:30, 20:30] = 1


def shown(path):
    return np.moveaxis(read_image([path]).array[:, 0], 0, -1)


@pytest.mark.parametrize("first", [True, False])
def test_a_thumbnail_before_or_after_the_picture_is_passed_over(tmp_path, first):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for array in (GREY[::4, ::4], GREY)[:: 1 if first else -1]:
            file.write(array, metadata=None)
    np.testing.assert_array_equal(shown(tmp_path / "a.tif")[..., 0], GREY)


def test_a_mask_of_shown_pixels_is_no_picture(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(GREY, metadata=None)
        file.write(GREY > 0, subfiletype=4, photometric="minisblack", metadata=None)
    np.testing.assert_array_equal(shown(tmp_path / "a.tif")[..., 0], GREY)


def test_a_whole_slide_is_its_first_level(tmp_path):
    about = "Aperio Image Library v12\r\n96x64 [0,0 96x64] (32x32)|AppMag = 20|MPP = 0.5"
    with tifffile.TiffWriter(tmp_path / "a.svs", bigtiff=True) as file:
        tiled = {"tile": (32, 32), "photometric": "rgb", "metadata": None}
        file.write(COLOUR, description=about, **tiled)
        file.write(COLOUR[::8, ::8], photometric="rgb", metadata=None, subfiletype=1)
        file.write(COLOUR[::2, ::2], description=about, subfiletype=1, **tiled)
    np.testing.assert_array_equal(shown(tmp_path / "a.svs"), COLOUR)


def test_tiles_of_jpeg_are_read_wherever_the_page_stands(tmp_path):
    smooth = np.stack(np.broadcast_arrays(*np.ogrid[0:64, 0:96], 90), -1).astype(np.uint8)
    PIL.Image.fromarray(smooth).save(tmp_path / "a.tif", compression="jpeg", quality=95)
    page = io.BytesIO()
    PIL.Image.fromarray(smooth[::4, ::4]).save(
        page, "TIFF", compression="jpeg", save_all=True, append_images=[PIL.Image.fromarray(smooth)]
    )
    (tmp_path / "b.tif").write_bytes(page.getvalue())
    for name in ("a.tif", "b.tif"):
        np.testing.assert_allclose(shown(tmp_path / name), smooth, atol=12)


@pytest.mark.parametrize("levels", [1, 2])
def test_an_ome_pyramid_is_one_picture(tmp_path, levels):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", bigtiff=True, ome=True) as file:
        about = {"axes": "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
        options = {"tile": (16, 16), "photometric": "rgb"}
        file.write(COLOUR, subifds=levels, metadata=about, **options)
        for level in range(1, levels + 1):
            file.write(COLOUR[:: 2**level, :: 2**level], subfiletype=1, **options)
    np.testing.assert_array_equal(shown(tmp_path / "a.ome.tif"), COLOUR)


def test_slices_and_channels_of_imagej_are_told_apart(tmp_path):
    stack = RNG.integers(0, 999, (5, 2, 8, 9)).astype(np.uint16)
    about = {"axes": "ZCYX", "spacing": 2.0, "unit": "um"}
    tifffile.imwrite(tmp_path / "a.tif", stack, imagej=True, resolution=(2, 2), metadata=about)
    image = read_image([tmp_path / "a.tif"])
    np.testing.assert_array_equal(image.array, np.moveaxis(stack, 1, 0))
    assert image.geometry.spacing == pytest.approx((0.002, 0.0005, 0.0005))


def test_several_pictures_of_one_size_are_refused(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(GREY, metadata=None)
        file.write(GREY.astype(np.uint16), metadata=None)
    with pytest.raises(ReadError, match=r"a\.tif holds 2 pictures of the same size \(uint16"):
        read_image([tmp_path / "a.tif"])


@pytest.mark.parametrize("imagej", [False, True])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.7, 0.97])
def test_a_cut_stack_is_never_a_shorter_one(tmp_path, imagej, share):
    stack = RNG.integers(0, 200, (6, 16, 17), dtype=np.uint8)
    if imagej:
        tifffile.imwrite(tmp_path / "a.tif", stack, imagej=True, metadata={"axes": "ZYX"})
    else:
        with tifffile.TiffWriter(tmp_path / "a.tif") as file:
            for plane in stack:
                file.write(plane, contiguous=False, metadata=None)
    content = (tmp_path / "a.tif").read_bytes()
    assert read_image([tmp_path / "a.tif"]).array.shape == (1, 6, 16, 17)
    (tmp_path / "a.tif").write_bytes(content[: int(len(content) * share)])
    for read in (read_mask, lambda path: read_image([path])):
        with pytest.raises(ReadError, match=r"a\.tif"):
            read(tmp_path / "a.tif")


def test_a_list_of_pages_that_runs_in_a_circle_ends(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(GREY, metadata=None)
    content = bytearray((tmp_path / "a.tif").read_bytes())
    (first,) = struct.unpack_from("<I", content, 4)
    (tags,) = struct.unpack_from("<H", content, first)
    struct.pack_into("<I", content, first + 2 + 12 * tags, first)
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(ReadError, match=r"a\.tif .*list of pages breaks off"):
        read_image([tmp_path / "a.tif"])


def test_a_page_larger_than_is_read_at_once_is_refused_unread(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", GREY, compression="zlib", metadata=None)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
        for name in ("ImageWidth", "ImageLength", "RowsPerStrip"):
            file.pages[0].tags[name].overwrite(90_000)
    with pytest.raises(ReadError, match=r"a\.tif states 90000 × 90000 values, 7\.5 GiB"):
        read_image([tmp_path / "a.tif"])


@pytest.mark.parametrize("tile", [None, (32, 32)])
def test_one_flipped_bit_never_gives_another_mask(tmp_path, tile):
    """Of all bits but one: what says whether 0 is black may be either."""
    file = io.BytesIO()
    tifffile.imwrite(file, BLOCK, compression="zlib", tile=tile, metadata=None)
    with tifffile.TiffFile(io.BytesIO(file.getvalue())) as whole:
        colour = whole.pages[0].tags["PhotometricInterpretation"].valueoffset
    silent = []
    for at in range(len(file.getvalue())):
        for bit in (0, 2, 5, 7):
            content = bytearray(file.getvalue())
            content[at] ^= 1 << bit
            (tmp_path / "m.tif").write_bytes(content)
            try:
                read = np.squeeze(read_mask(tmp_path / "m.tif").array)
            except ReadError:
                continue
            if not np.array_equal(read, BLOCK):
                silent.append((at, bit))
    assert set(silent) <= {(colour, 0)}


def test_one_flipped_bit_of_a_png_never_gives_another_mask(tmp_path):
    file = io.BytesIO()
    PIL.Image.fromarray(BLOCK).save(file, "PNG")
    for at in range(len(file.getvalue())):
        for bit in range(8):
            content = bytearray(file.getvalue())
            content[at] ^= 1 << bit
            (tmp_path / "m.png").write_bytes(content)
            try:
                read = read_mask(tmp_path / "m.png").array[0]
            except ReadError:
                continue
            np.testing.assert_array_equal(read, BLOCK)
