"""Labels in picture formats: the values as they stand in the file.

The files of few bits a sample are written byte by byte, since Pillow writes none.
"""

import struct
import zlib

import numpy as np
import PIL.EpsImagePlugin
import PIL.Image
import pytest

from rareseg.errors import ReadError
from rareseg_runner.formats import read_image, read_mask

RNG = np.random.default_rng(1)
GREY, PALETTE = 0, 3
COLOURS = RNG.integers(0, 256, (256, 3), dtype=np.uint8)


def packed(values: np.ndarray, depth: int) -> list[bytes]:
    """Return the rows of (y, x) with ``depth`` bits a sample, each filled up to whole bytes."""
    bits = np.unpackbits(values.astype(np.uint8)[..., None], axis=-1)[..., 8 - depth :]
    return [np.packbits(row).tobytes() for row in bits.reshape(len(values), -1)]


def write_png(path, values, depth, colour):
    def chunk(name, content):
        check = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)

    height, width = values.shape
    body = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    if colour == PALETTE:
        body += chunk(b"PLTE", COLOURS[: 2**depth].tobytes())
    body += chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in packed(values, depth))))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b""))


def lzw(content: bytes) -> bytes:
    """Return TIFF's LZW of few bytes: codes of 9 bits; 256 begins, 257 ends."""
    codes = np.array([256, *content, 257], ">u2")
    assert len(codes) < 250, "the codes would grow to 10 bits"
    bits = np.unpackbits(codes.view(np.uint8)).reshape(-1, 16)[:, 7:]
    return np.packbits(bits).tobytes()


def write_tiff(path, values, depth, photometric, *, rows_per_strip=None, compress=lzw):
    """Write (y, x) as one strip, also where the tags guarantee more of them."""
    content = compress(b"".join(packed(values, depth)))
    height, width = values.shape
    entries = {256: width, 257: height, 258: depth, 259: 5 if compress is lzw else 1}
    entries |= {262: photometric, 273: 0, 277: 1, 278: rows_per_strip or height, 279: len(content)}
    entries |= {320: 0} if photometric == PALETTE else {}
    start = 8 + 2 + 12 * len(entries) + 4
    entries[273] = start
    body = struct.pack("<2sHIH", b"II", 42, 8, len(entries))
    for tag, value in entries.items():
        if tag == 320:
            body += struct.pack("<HHII", tag, 3, 3 * 2**depth, start + len(content))
        else:
            body += struct.pack("<HHII", tag, 4, 1, value)
    colours = COLOURS[: 2**depth].T.astype("<u2") * 257 if photometric == PALETTE else b""
    path.write_bytes(body + struct.pack("<I", 0) + content + bytes(colours))


class TestFewBits:
    @pytest.mark.parametrize("depth", [1, 2, 4, 8])
    @pytest.mark.parametrize("colour", [GREY, PALETTE])
    def test_png(self, tmp_path, depth, colour):
        labels = RNG.integers(0, 2**depth, (5, 7))
        write_png(tmp_path / "a.png", labels, depth, colour)
        np.testing.assert_array_equal(read_mask(tmp_path / "a.png").array[0], labels)
        image = read_image([tmp_path / "a.png"]).array[:, 0]
        if colour == GREY:
            np.testing.assert_array_equal(image[0], labels * (255 // (2**depth - 1)))
        else:
            np.testing.assert_array_equal(np.moveaxis(image, 0, -1), COLOURS[labels])

    @pytest.mark.parametrize("depth", [1, 2, 4])
    def test_pillow_writes_palettes_of_few_bits(self, tmp_path, depth):
        labels = RNG.integers(0, 2**depth, (5, 7), dtype=np.uint8)
        picture = PIL.Image.fromarray(labels)
        picture.putpalette(COLOURS[: 2**depth].tobytes())
        picture.save(tmp_path / "a.png", bits=depth)
        assert (tmp_path / "a.png").read_bytes()[24] == depth
        np.testing.assert_array_equal(read_mask(tmp_path / "a.png").array[0], labels)

    @pytest.mark.parametrize("depth", [2, 4, 8])
    @pytest.mark.parametrize("photometric", [0, 1, PALETTE])
    def test_lzw_tiff(self, tmp_path, depth, photometric):
        most = 2**depth - 1
        labels = RNG.integers(0, most + 1, (5, 8))
        stored = most - labels if photometric == 0 else labels
        write_tiff(tmp_path / "a.tif", stored, depth, photometric)
        np.testing.assert_array_equal(read_mask(tmp_path / "a.tif").array[0], labels)
        image = read_image([tmp_path / "a.tif"]).array[:, 0]
        if photometric == PALETTE:
            np.testing.assert_array_equal(np.moveaxis(image, 0, -1), COLOURS[labels])
        else:
            np.testing.assert_array_equal(image[0], labels * (255 // most))

    def test_a_tiff_with_missing_strips_is_not_filled_with_zeros(self, tmp_path):
        labels = RNG.integers(1, 9, (6, 8))
        write_tiff(tmp_path / "whole.tif", labels, 8, 1, compress=bytes)
        np.testing.assert_array_equal(read_mask(tmp_path / "whole.tif").array[0], labels)
        write_tiff(tmp_path / "a.tif", labels[:2], 8, 1, compress=bytes)
        content = bytearray((tmp_path / "a.tif").read_bytes())
        struct.pack_into("<I", content, 8 + 2 + 12 + 8, 6)  # the height
        (tmp_path / "a.tif").write_bytes(content)
        with pytest.raises(ReadError, match=r"a\.tif .*1 of 3 strips"):
            read_mask(tmp_path / "a.tif")


class TestGif:
    def test_indices_of_a_coloured_palette_are_labels_and_its_colours_an_image(self, tmp_path):
        labels = RNG.integers(0, 4, (5, 7), dtype=np.uint8)
        picture = PIL.Image.fromarray(labels)
        picture.putpalette(COLOURS[:4].tobytes())
        picture.save(tmp_path / "a.gif", optimize=False)
        np.testing.assert_array_equal(read_mask(tmp_path / "a.gif").array[0], labels)
        image = read_image([tmp_path / "a.gif"]).array[:, 0]
        np.testing.assert_array_equal(np.moveaxis(image, 0, -1), COLOURS[labels])

    def test_a_grey_palette_that_was_renumbered_is_refused_unless_it_is_black_and_white(
        self, tmp_path
    ):
        labels = np.array([[0, 1, 2, 255]], np.uint8)
        PIL.Image.fromarray(labels).save(tmp_path / "a.gif")  # Pillow makes an index 3 of 255
        with pytest.raises(ReadError, match=r"a\.gif is a mask .*grey 255 to the index 3"):
            read_mask(tmp_path / "a.gif")
        spot = np.array([[255, 0, 255]], np.uint8)
        PIL.Image.fromarray(spot).save(tmp_path / "b.gif")
        np.testing.assert_array_equal(read_mask(tmp_path / "b.gif").array[0], spot)

    @pytest.mark.parametrize("suffix", [".gif", ".webp"])
    def test_several_frames_are_refused(self, tmp_path, suffix):
        frames = [PIL.Image.fromarray(np.full((8, 8), v, np.uint8)) for v in (0, 99, 200)]
        options = {"lossless": True} if suffix == ".webp" else {}
        path = tmp_path / f"a{suffix}"
        frames[0].save(path, save_all=True, append_images=frames[1:], **options)
        for read in (lambda path: read_image([path]), read_mask):
            with pytest.raises(ReadError, match=r"a\..* is an animation"):
                read(path)


class TestWebp:
    @pytest.mark.parametrize("exif", [None, 6])
    def test_lossless_is_a_mask_and_lossy_is_none(self, tmp_path, exif):
        """With an EXIF note the frame stands in an extended file, behind other chunks."""
        labels = RNG.integers(0, 4, (5, 7), dtype=np.uint8)
        note = PIL.Image.Exif()
        if exif:
            note[274] = exif
        options = {"exif": note} if exif else {}
        picture = PIL.Image.fromarray(labels)
        picture.save(tmp_path / "a.webp", lossless=True, **options)
        picture.save(tmp_path / "b.webp", **options)
        shown = np.rot90(labels, -1) if exif else labels
        np.testing.assert_array_equal(read_mask(tmp_path / "a.webp").array[0], shown)
        assert read_image([tmp_path / "b.webp"]).array.shape == (3, 1, *shown.shape)
        with pytest.raises(ReadError, match=r"b\.webp is a mask stored as WEBP, whose lossy"):
            read_mask(tmp_path / "b.webp")


class TestNetpbm:
    @pytest.mark.parametrize("largest", [1, 3, 200, 255, 256, 4095, 65535])
    @pytest.mark.parametrize("kind", [2, 3, 5, 6])
    def test_values_are_those_of_the_file(self, tmp_path, kind, largest):
        channels = 3 if kind in (3, 6) else 1
        array = RNG.integers(0, largest + 1, (4, 5, channels))
        body = (
            " ".join(map(str, array.ravel())).encode()
            if kind in (2, 3)
            else array.astype(">u2" if largest > 255 else "u1").tobytes()
        )
        header = f"P{kind}\n# made by hand\n5 4\n{largest}\n"
        (tmp_path / "a.ppm").write_bytes(header.encode() + body)
        image = read_image([tmp_path / "a.ppm"])
        np.testing.assert_array_equal(image.array[:, 0], np.moveaxis(array, -1, 0))
        assert image.array.dtype == (np.uint16 if largest > 255 else np.uint8)
        if channels == 1:
            np.testing.assert_array_equal(read_mask(tmp_path / "a.ppm").array[0], array[..., 0])

    def test_pillow_reads_the_same_where_it_does_not_stretch(self, tmp_path):
        for array in (RNG.integers(0, 256, (4, 5, 3)), RNG.integers(0, 256, (4, 5))):
            PIL.Image.fromarray(array.astype(np.uint8)).save(tmp_path / "a.ppm")
            read = np.moveaxis(read_image([tmp_path / "a.ppm"]).array[:, 0], 0, -1).squeeze()
            np.testing.assert_array_equal(read, array)
            np.testing.assert_array_equal(read, np.asarray(PIL.Image.open(tmp_path / "a.ppm")))

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"P4\n8 1\n\xff", "no header of PGM or PPM"),
            (b"P5 2 1 3 \x00\x04", "holds 4 where its largest value is 3"),
            (b"P5 2 1 3 \x00\x01P5 2 1 3 \x00\x01", "holds several images"),
            (b"P5 2 1 70000 \x00\x01\x00\x01", "up to 70000; .* 1 to 65535"),
            (b"P5 0 1 3 ", "0 × 1 pixels"),
            (b"P5 999999999 999999999 3 \x00", "truncated"),
            (b"P2 2 1 3 0", "truncated"),
            (b"P2 2 1 3 0 x", "truncated, damaged"),
            (b"P2 2 1 3 0 -1", "truncated, damaged"),
        ],
    )
    def test_what_is_wrong_is_one_sentence(self, tmp_path, content, said):
        (tmp_path / "a.pgm").write_bytes(content)
        with pytest.raises(ReadError, match=said) as error:
            read_mask(tmp_path / "a.pgm")
        assert str(tmp_path / "a.pgm") in str(error.value)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
def test_postscript_is_never_interpreted(tmp_path, monkeypatch, name):
    def interpret(*_args, **_kwargs):
        pytest.fail("the file was handed to Ghostscript")

    monkeypatch.setattr(PIL.EpsImagePlugin, "Ghostscript", interpret)
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
    (tmp_path / name).write_bytes(script)
    with PIL.Image.open(tmp_path / name) as picture, pytest.raises(pytest.fail.Exception):
        picture.load()  # what an open without named formats would do
    with pytest.raises(ReadError, match=name):
        read_image([tmp_path / name])
