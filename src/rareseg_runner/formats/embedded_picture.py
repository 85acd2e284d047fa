"""Read the picture that stands as text in an annotation file: LabelMe's ``imageData``."""

from __future__ import annotations

import base64
import binascii
import tempfile
from pathlib import Path

from rareseg_runner.errors import ReadError
from rareseg_runner.formats.photo import read_photo
from rareseg_runner.image_records import Image
from rareseg_runner.text_files import read_json

KEY = "imageData"


def embedded_bytes(path: Path) -> bytes:
    """Return the bytes of the picture file that a JSON file holds in base64.

    Raises ReadError where it is no JSON, or holds no picture.
    """
    try:
        content = read_json(path)
        text = content.get(KEY) if isinstance(content, dict) else None
        found = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except (OSError, ValueError, binascii.Error) as error:
        raise ReadError(
            f"{path} cannot be read ({error}); export it again, or put the picture beside it."
        ) from error
    if not found:
        raise ReadError(f"{path} holds no picture ({KEY}); put the picture beside it.")
    return found


def read_embedded(path: Path) -> Image:
    """Read the picture in a JSON file as (channel, 1, y, x), as if it were a file of its own.

    Raises ReadError as :func:`embedded_bytes` and
    :func:`~rareseg_runner.formats.photo.read_photo` do.
    """
    content = embedded_bytes(path)
    # Decoders look at a file in several ways, by its name.
    with tempfile.TemporaryDirectory(prefix="rareseg-") as folder:
        picture = Path(folder) / "picture"
        picture.write_bytes(content)
        try:
            return read_photo(picture)
        except ReadError as error:
            said = str(error).replace(str(picture), f"{path} ({KEY})")
            raise ReadError(said) from error
