"""A trained model on disk: one folder that says everything needed to use it again.

``bundle.json`` holds the recipe, the classes and regions, the preprocessing, the operating points
and the arithmetic in which cases were scored; ``weights.safetensors`` holds the weights. Both are
plain data: loading a bundle never unpickles anything.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialise
from torch import Tensor

from rareseg.data.files import atomic_write
from rareseg.data.preprocess import Preprocessing
from rareseg.data.records import Classes
from rareseg.decision.operating_point import OperatingPoint
from rareseg.errors import BundleError
from rareseg.recipe import Recipe, make_recipe

FORMAT = 1
"""Raised whenever a bundle of the old kind could be misread."""


@dataclass(frozen=True)
class Bundle:
    """A model and all that its scores depend on.

    ``channels`` is the number of image channels; ``precision`` (``"32"`` or ``"bf16"``) the
    arithmetic in which cases are scored; ``points`` the operating point of each region for which
    one was chosen; ``trained`` states how the weights came about (steps, seed, split).
    """

    recipe: Recipe
    classes: Classes
    channels: int
    preprocessing: Preprocessing
    precision: str
    weights: Mapping[str, Tensor]
    points: Mapping[str, OperatingPoint]
    trained: Mapping[str, Any]


def save_bundle(folder: Path, bundle: Bundle) -> None:
    """Write ``bundle`` to ``folder``, the weights first, so that a reader never sees half of it."""
    weights_path = folder / "weights.safetensors"
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in bundle.weights.items()}
    with atomic_write(weights_path) as temporary:
        temporary.write_bytes(serialise(tensors))
    _write_description(folder, bundle, _digest(weights_path))


def save_points(folder: Path, points: Mapping[str, OperatingPoint]) -> None:
    """Replace the operating points of the bundle in ``folder``; the weights stay as they are."""
    bundle = load_bundle(folder)
    merged = {**bundle.points, **points}
    _write_description(
        folder, replace(bundle, points=merged), _digest(folder / "weights.safetensors")
    )


def load_bundle(folder: Path) -> Bundle:
    """Read a bundle; raises :class:`BundleError` where it is missing, incomplete or damaged."""
    description_path, weights_path = folder / "bundle.json", folder / "weights.safetensors"
    for path in (description_path, weights_path):
        if not path.is_file():
            raise BundleError(
                f"{folder} is not a model bundle: {path.name} is missing; name the folder that "
                "`rareseg train --out RUN` wrote, or its bundle/."
            )
    try:
        content = json.loads(description_path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise BundleError(
                f"{description_path} is of format {content['format']}, this version of rareseg "
                f"reads format {FORMAT}; use the version that wrote it."
            )
        if content["weights_sha256"] != _digest(weights_path):
            raise BundleError(
                f"{weights_path} is not the file that {description_path.name} describes "
                "(its checksum differs); copy the bundle again or train anew."
            )
        return Bundle(
            recipe=make_recipe(content["recipe"], source=str(description_path)),
            classes=Classes.from_dict(content["classes"]),
            channels=int(content["channels"]),
            preprocessing=Preprocessing.from_dict(content["preprocessing"]),
            precision=str(content["precision"]),
            weights=load_file(weights_path),
            points={
                region: OperatingPoint.from_dict(point)
                for region, point in content["points"].items()
            },
            trained=content["trained"],
        )
    except (AttributeError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise BundleError(
            f"{folder} is damaged ({type(error).__name__}: {error}); train anew or copy it again."
        ) from error


def _write_description(folder: Path, bundle: Bundle, digest: str) -> None:
    content = {
        "format": FORMAT,
        "recipe": bundle.recipe.model_dump(mode="json"),
        "classes": bundle.classes.to_dict(),
        "channels": bundle.channels,
        "preprocessing": bundle.preprocessing.to_dict(),
        "precision": bundle.precision,
        "points": {region: point.to_dict() for region, point in bundle.points.items()},
        "trained": dict(bundle.trained),
        "torch": torch.__version__,
        "weights_sha256": digest,
    }
    with atomic_write(folder / "bundle.json") as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
