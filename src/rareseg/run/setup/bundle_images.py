"""Carry in a bundle which images its model has seen, for where the bundle lies beside no run."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

from rareseg.data.records import ROLES, Role
from rareseg.errors import BundleError
from rareseg.prediction.bundle import WEIGHTS
from rareseg.run.setup.known_cases import LEARNED, read_known_cases
from rareseg.run.setup.run_folder import RunFolder
from rareseg.run.setup.seen_images import known_images
from rareseg_runner.atomic_files import atomic_write, file_digest
from rareseg_runner.bundle_archive import DESCRIPTION
from rareseg_runner.text_files import read_json

NAME = "seen_images.json"

_DIGEST = "weights_sha256"


def write_bundle_images(folder: RunFolder) -> None:
    """Write the digests of the images that a run's model was trained, chosen or certified on.

    By role, those that its initial weights have learned among them, and the digest of the weights
    that this is about. Writes nothing of a run of an earlier version, which noted no images, nor
    where the file says this already.
    """
    if read_known_cases(folder) is None:
        return
    images: defaultdict[Role, list[str]] = defaultdict(list)
    for digest, known in sorted(known_images(folder).items()):
        if known.role in LEARNED:
            images[known.role].append(digest)
    about = {_DIGEST: _weights_digest(folder.bundle), "images": images}
    text, path = json.dumps(about, separators=(",", ":")) + "\n", folder.bundle / NAME
    if not path.is_file() or path.read_bytes() != text.encode():
        with atomic_write(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


def read_bundle_images(bundle: Path) -> dict[str, Role] | None:
    """Return the role of each image that a bundle's model has seen, by the image's digest.

    None for a bundle of an earlier version. Raises :class:`BundleError` where the file is damaged
    or is about other weights.
    """
    path = bundle / NAME
    if not path.is_file():
        return None
    try:
        content = read_json(path)
        weights = str(content[_DIGEST])
        found = {
            str(digest): role for role in ROLES for digest in list(content["images"].get(role, ()))
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{path} is damaged ({error}); copy the bundle again.") from error
    if weights != _weights_digest(bundle):
        raise BundleError(
            f"{path} is about other weights than {WEIGHTS} beside it; copy the bundle again."
        )
    return found


def _weights_digest(bundle: Path) -> str:
    """Return the digest of a bundle's weights; of an exported model those that it was made of."""
    path = bundle / WEIGHTS
    return file_digest(path) if path.is_file() else str(read_json(bundle / DESCRIPTION)[_DIGEST])
