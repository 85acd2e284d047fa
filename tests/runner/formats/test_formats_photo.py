"""Photographs, TIFF and NPY: number types, channels, palettes, alpha and EXIF notes."""

import numpy as np
import PIL.Image
import pytest
import SimpleITK as sitk
import tifffile

from rareseg.errors import ReadError
from rareseg_runner.formats import read_image, read_mask, write_mask, write_probabilities
from rareseg_runner.image_records import Geometry

RNG = np.random.default_rng(1)
GREY = RNG.integers(0, 256, (6, 9), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)
LABELS = RNG.integers(0, 4, (4, 5, 6), dtype=np.uint8)


class TestPhotographs:
    @pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
    def test_grey_and_colour(self, tmp_path, suffix):
        PIL.Image.fromarray(GREY).save(tmp_path / f"g{suffix}")
        PIL.Image.fromarray(COLOUR).save(tmp_path / f"c{suffix}")
        grey, colour = (read_image([tmp_path / f"{n}{suffix}"]) for n in "gc")
        np.testing.assert_array_equal(grey.array, GREY[None, None])
        np.testing.assert_array_equal(colour.array, np.moveaxis(COLOUR, -1, 0)[:, None])
        assert grey.array.flags.c_contiguous
        assert colour.array.flags.c_contiguous
        assert grey.geometry == Geometry(dimension=2)

    @pytest.mark.parametrize("exif", range(1, 9))
    def test_a_turned_jpeg_and_its_upright_mask_overlay(self, tmp_path, exif):
        """The stored JPEG is turned; what is drawn on the upright picture is written upright."""
        shown = np.zeros((16, 24), np.uint8)
        shown[:8, :8] = 255  # the upper left corner as the viewer sees it
        stored = {
            1: shown,
            2: shown[:, ::-1],
            3: shown[::-1, ::-1],
            4: shown[::-1],
            5: shown.T,
            6: np.rot90(shown),
            7: np.rot90(shown, 2).T,
            8: np.rot90(shown, -1),
        }[exif]
        note = PIL.Image.Exif()
        note[274] = exif
        picture = PIL.Image.fromarray(np.ascontiguousarray(stored))
        picture.save(tmp_path / "a.jpg", exif=note, quality=95)
        image = read_image([tmp_path / "a.jpg"])
        assert image.geometry.exif == exif
        np.testing.assert_array_equal(image.array[0, 0] > 127, shown > 127)
        write_mask(tmp_path / "m.png", image.array[0] > 127, image.geometry)
        with PIL.Image.open(tmp_path / "m.png") as written:
            assert 274 not in written.getexif()
            np.testing.assert_array_equal(np.asarray(written), shown > 127)

    def test_a_mask_with_its_own_exif_note_is_turned_too(self, tmp_path):
        note = PIL.Image.Exif()
        note[274] = 6
        PIL.Image.fromarray(GREY).save(tmp_path / "m.png", exif=note)
        np.testing.assert_array_equal(read_mask(tmp_path / "m.png").array[0], np.rot90(GREY, -1))

    def test_alpha_is_dropped_and_cmyk_becomes_rgb(self, tmp_path):
        for mode, channels in (("RGBA", 3), ("LA", 1)):
            PIL.Image.fromarray(COLOUR).convert(mode).save(tmp_path / "a.png")
            assert read_image([tmp_path / "a.png"]).array.shape == (channels, 1, 6, 9)
        PIL.Image.fromarray(COLOUR).convert("CMYK").save(tmp_path / "a.jpg")
        assert read_image([tmp_path / "a.jpg"]).array.shape == (3, 1, 6, 9)

    @pytest.mark.parametrize("suffix", [".png", ".tif"])
    def test_sixteen_bits(self, tmp_path, suffix):
        deep = RNG.integers(0, 65536, (6, 9), dtype=np.uint16)
        PIL.Image.fromarray(deep).save(tmp_path / f"a{suffix}")
        image = read_image([tmp_path / f"a{suffix}"])
        assert image.array.dtype == np.uint16
        np.testing.assert_array_equal(image.array[0, 0], deep)
        write_mask(tmp_path / f"m{suffix}", image.array[0], image.geometry)
        with PIL.Image.open(tmp_path / f"m{suffix}") as written:
            np.testing.assert_array_equal(np.asarray(written), deep)

    @pytest.mark.parametrize("suffix", [".png", ".tif"])
    def test_sixteen_bit_colour_is_not_cut_to_eight(self, tmp_path, suffix):
        deep = RNG.integers(0, 65536, (6, 9, 3), dtype=np.uint16)
        sitk.WriteImage(sitk.GetImageFromArray(deep, isVector=True), tmp_path / f"a{suffix}")
        image = read_image([tmp_path / f"a{suffix}"])
        np.testing.assert_array_equal(image.array[:, 0], np.moveaxis(deep, -1, 0))

    def test_a_palette_is_colours_in_a_photograph_and_indices_in_a_mask(self, tmp_path):
        picture = PIL.Image.fromarray(GREY % 3)
        picture.putpalette([0, 0, 0, 255, 0, 0, 0, 0, 255])
        for name in ("a.png", "a.tif"):
            picture.save(tmp_path / name)
            np.testing.assert_array_equal(read_mask(tmp_path / name).array[0], GREY % 3)
            image = read_image([tmp_path / name])
            assert image.array.shape == (3, 1, 6, 9)
            np.testing.assert_array_equal(image.array[0, 0] == 255, GREY % 3 == 1)

    def test_a_mask_is_written_in_the_smallest_type(self, tmp_path):
        for high, dtype in ((1, np.uint8), (300, np.uint16)):
            write_mask(tmp_path / "m.png", np.full((1, 2, 2), high, np.int64), Geometry())
            with PIL.Image.open(tmp_path / "m.png") as written:
                assert np.asarray(written).dtype == dtype

    def test_probabilities_are_sixteen_bits_in_png_and_floats_elsewhere(self, tmp_path):
        scores = RNG.random((1, 6, 9), dtype=np.float32)
        for name in ("p.npy", "p.tif"):
            write_probabilities(tmp_path / name, scores, Geometry())
            np.testing.assert_array_equal(read_image([tmp_path / name]).array[0], scores)
        write_probabilities(tmp_path / "p.png", scores, Geometry())
        stored = read_image([tmp_path / "p.png"]).array[0]
        np.testing.assert_allclose(stored / 65535, scores, atol=0.5 / 65535 + 1e-7)


class TestTiff:
    @pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "int16"])
    def test_channels_by_axis_name(self, tmp_path, dtype):
        array = RNG.integers(0, 99, (5, 6, 9)).astype(dtype)
        tifffile.imwrite(
            tmp_path / "c.tif", array, metadata={"axes": "CYX"}, photometric="minisblack"
        )
        tifffile.imwrite(
            tmp_path / "z.tif", array, metadata={"axes": "ZYX"}, photometric="minisblack"
        )
        channels, slices = (read_image([tmp_path / f"{n}.tif"]) for n in "cz")
        np.testing.assert_array_equal(channels.array, array[:, None])
        np.testing.assert_array_equal(slices.array, array[None])
        assert (channels.geometry.dimension, slices.geometry.dimension) == (2, 3)
        assert slices.array.dtype == dtype

    def test_a_stack_keeps_its_spacing(self, tmp_path):
        geometry = Geometry(spacing=(2.0, 0.5, 0.25), dimension=3)
        write_mask(tmp_path / "m.tif", LABELS, geometry)
        mask = read_mask(tmp_path / "m.tif")
        np.testing.assert_array_equal(mask.array, LABELS)
        np.testing.assert_allclose(mask.geometry.spacing, geometry.spacing, rtol=1e-5)
        np.testing.assert_array_equal(tifffile.imread(tmp_path / "m.tif"), LABELS)

    def test_ome_spacing_is_in_micrometres(self, tmp_path):
        tifffile.imwrite(
            tmp_path / "a.ome.tif",
            LABELS,
            metadata={
                "axes": "ZYX",
                "PhysicalSizeX": 0.5,
                "PhysicalSizeY": 0.5,
                "PhysicalSizeZ": 2.0,
            },
        )
        image = read_image([tmp_path / "a.ome.tif"])
        np.testing.assert_allclose(image.geometry.spacing, (2e-3, 5e-4, 5e-4))

    @pytest.mark.parametrize("name", ["grey", "colour", "palette", "deep"])
    def test_lzw_is_read_without_an_extra_package(self, tmp_path, name):
        path = tmp_path / "a.tif"
        palette = PIL.Image.fromarray(GREY % 3)
        palette.putpalette([0, 0, 0, 255, 0, 0, 0, 0, 255])
        deep = RNG.integers(0, 65536, (6, 9), dtype=np.uint16)
        picture, pixels = {
            "grey": (PIL.Image.fromarray(GREY), GREY),
            "colour": (PIL.Image.fromarray(COLOUR), COLOUR),
            "palette": (palette, GREY % 3),
            "deep": (PIL.Image.fromarray(deep), deep),
        }[name]
        picture.save(path, compression="tiff_lzw")
        if name == "palette":
            np.testing.assert_array_equal(read_mask(path).array[0], pixels)
        else:
            array = read_image([path]).array[:, 0]
            np.testing.assert_array_equal(np.moveaxis(array, 0, -1).squeeze(), pixels)

    def test_time_points_are_refused(self, tmp_path):
        tifffile.imwrite(tmp_path / "t.tif", LABELS, imagej=True, metadata={"axes": "TYX"})
        with pytest.raises(ReadError, match="4 time points"):
            read_image([tmp_path / "t.tif"])


class TestNpy:
    @pytest.mark.parametrize(
        ("shape", "read"),
        [
            ((6, 9), (1, 1, 6, 9)),
            ((6, 9, 3), (3, 1, 6, 9)),
            ((2, 6, 9), (2, 1, 6, 9)),
            ((5, 6, 9), (1, 5, 6, 9)),
            ((2, 5, 6, 9), (2, 5, 6, 9)),
        ],
    )
    def test_axes_of_an_image(self, tmp_path, shape, read):
        np.save(tmp_path / "a.npy", np.zeros(shape))
        assert read_image([tmp_path / "a.npy"]).array.shape == read

    def test_masks_round_trip(self, tmp_path):
        for array in (LABELS, LABELS[:3]):
            np.save(tmp_path / "m.npy", array)
            mask = read_mask(tmp_path / "m.npy")
            write_mask(tmp_path / "n.npy", mask.array, mask.geometry)
            np.testing.assert_array_equal(np.load(tmp_path / "n.npy"), array)
        np.save(tmp_path / "m.npy", GREY)
        mask = read_mask(tmp_path / "m.npy")
        write_mask(tmp_path / "n.npy", mask.array, mask.geometry)
        np.testing.assert_array_equal(np.load(tmp_path / "n.npy"), GREY)

    def test_nothing_is_unpickled(self, tmp_path):
        np.save(tmp_path / "a.npy", np.array([{"a": 1}]), allow_pickle=True)
        with pytest.raises(ReadError, match=r"a\.npy"):
            read_image([tmp_path / "a.npy"])
