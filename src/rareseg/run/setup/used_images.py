"""Note which images were evaluated, or stood for a guarantee, and can certify nothing any more."""

from __future__ import annotations

import json
from collections.abc import Iterable

from rareseg.errors import RunError
from rareseg.run.setup.run_folder import RunFolder
from rareseg_runner.atomic_files import atomic_write
from rareseg_runner.text_files import read_json


def note_evaluated(folder: RunFolder, digests: Iterable[str]) -> None:
    """Note the images on which an evaluation has shown how the model does, by their digests."""
    known = read_evaluated(folder)
    merged = list(dict.fromkeys([*known, *digests]))
    if len(merged) > len(known):
        with atomic_write(folder.evaluated) as temporary:
            temporary.write_text(json.dumps(merged, indent=1) + "\n", encoding="utf-8")


def read_evaluated(folder: RunFolder) -> tuple[str, ...]:
    """Return the digests of all images that were evaluated; RunError where the file is damaged.

    Those of earlier versions are of whole data sets.
    """
    if not folder.evaluated.is_file():
        return ()
    try:
        return tuple(map(str, read_json(folder.evaluated)))
    except (OSError, ValueError, TypeError) as error:
        raise RunError(f"{folder.evaluated} is damaged ({error}); copy the run again.") from error


def note_certified(folder: RunFolder, images: Iterable[str], digest: str) -> None:
    """Note images that were asked to stand for a guarantee, and the digest of their data."""
    known = read_certified(folder)
    merged = {**dict.fromkeys(images, digest), **known}
    if len(merged) > len(known):
        with atomic_write(folder.certified) as temporary:
            temporary.write_text(json.dumps(merged, indent=1) + "\n", encoding="utf-8")


def read_certified(folder: RunFolder) -> dict[str, str]:
    """Return what :func:`note_certified` noted; RunError where the file is damaged."""
    if not folder.certified.is_file():
        return {}
    try:
        content = read_json(folder.certified)
        return {str(image): str(digest) for image, digest in content.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise RunError(f"{folder.certified} is damaged ({error}); copy the run again.") from error
