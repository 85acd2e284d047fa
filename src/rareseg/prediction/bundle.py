"""A trained model on disk: one folder that says everything needed to use it again.

``bundle.json`` holds the recipe, the classes and regions, the preprocessing, the operating points
and the arithmetic in which cases were scored; ``weights.safetensors`` holds the weights. Both are
plain data: loading a bundle never unpickles anything. ``NOTICE`` stands beside them where the
weights were made from others that come under a licence.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
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
from rareseg.decision.calibration import Calibration
from rareseg.decision.guarantees import Statement, statement_from_dict
from rareseg.decision.operating_point import OperatingPoint
from rareseg.decision.presence import PresenceScaling
from rareseg.errors import BundleError, ScoreError
from rareseg.prediction.cascade import Cascade
from rareseg.prediction.notices import write_notices
from rareseg.recipe import Recipe, recorded_recipe

FORMAT = 1
"""Raised whenever a bundle of the old kind could be misread."""

IMAGE_HEAD = "image_head."
"""What the names of a network's image head begin with among its weights."""


@dataclass(frozen=True)
class Bundle:
    """A model and all that its scores depend on.

    ``weights`` are those of one network, or of ``members`` networks (:func:`join_members`) whose
    probabilities are averaged, or joined as ``cascade`` says. ``channels`` is the number of image
    channels; ``precision`` (``"32"`` or ``"bf16"``) the arithmetic in which cases are scored;
    ``points`` the operating point of each region for which one was chosen; ``trained`` states how
    the weights came about (steps, seed, split). ``certificates`` are the statements made for each
    region, the newest last; ``spent`` says which cases (by their digest) were asked to stand for
    what in each region, since they can do so once. ``calibration`` says what the scores of a region
    mean; points and certificates are about the scores as they are. ``presence`` says how what the
    networks tell of whole images becomes each region's presence, which gates and tables read.
    """

    recipe: Recipe
    classes: Classes
    channels: int
    preprocessing: Preprocessing
    precision: str
    weights: Mapping[str, Tensor]
    points: Mapping[str, OperatingPoint]
    trained: Mapping[str, Any]
    certificates: Mapping[str, tuple[Statement, ...]] = field(default_factory=dict)
    spent: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    members: int = 1
    calibration: Mapping[str, Calibration] = field(default_factory=dict)
    cascade: Cascade | None = None
    presence: Mapping[str, PresenceScaling] = field(default_factory=dict)

    @property
    def tells_presence(self) -> bool:
        """Whether the networks say which regions an image holds: gates then cut √(q·m)."""
        of_one = (name.removeprefix(f"{name.split('.', 1)[0]}.") for name in self.weights)
        names = self.weights if self.members == 1 else of_one
        return any(name.startswith(IMAGE_HEAD) for name in names)


def join_members(members: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return the weights of several networks as one mapping; of one, its own."""
    if len(members) == 1:
        return dict(members[0])
    return {f"{k}.{name}": t for k, weights in enumerate(members) for name, t in weights.items()}


def split_members(bundle: Bundle) -> list[dict[str, Tensor]]:
    """Return the weights of every network of a bundle: what :func:`join_members` joined."""
    if bundle.members == 1:
        return [dict(bundle.weights)]
    parts: list[dict[str, Tensor]] = [{} for _ in range(bundle.members)]
    for name, tensor in bundle.weights.items():
        member, own = name.split(".", 1)
        parts[int(member)][own] = tensor
    return parts


def save_bundle(folder: Path, bundle: Bundle) -> None:
    """Write ``bundle`` to ``folder``, the weights first, so that a reader never sees half of it."""
    weights_path = folder / "weights.safetensors"
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in bundle.weights.items()}
    with atomic_write(weights_path) as temporary:
        temporary.write_bytes(serialise(tensors))
    write_notices(folder, bundle.trained)
    _write_description(folder, bundle, _digest(weights_path))


def save_points(folder: Path, points: Mapping[str, OperatingPoint]) -> None:
    """Replace the operating points of the bundle in ``folder``; the weights stay as they are."""
    bundle = load_bundle(folder)
    _rewrite(folder, replace(bundle, points={**bundle.points, **points}))


def save_calibration(folder: Path, calibration: Mapping[str, Calibration]) -> None:
    """Store what the scores of some regions mean; of others what was known stays."""
    bundle = load_bundle(folder)
    _rewrite(folder, replace(bundle, calibration={**bundle.calibration, **calibration}))


def save_statements(
    folder: Path,
    points: Mapping[str, OperatingPoint],
    statements: Mapping[str, Statement],
    spent: Mapping[str, tuple[str, str]],
) -> None:
    """Store points with what is promised of them, and which cases were asked for it, in one write.

    ``spent`` leads from a region to (digest of the cases, what they were asked to stand for).
    """
    bundle = load_bundle(folder)
    merged = {**bundle.points, **points}
    certificates, used = add_statements(bundle.certificates, bundle.spent, statements, spent)
    _rewrite(folder, replace(bundle, points=merged, certificates=certificates, spent=used))


def add_statements(
    certificates: Mapping[str, tuple[Statement, ...]],
    used: Mapping[str, Mapping[str, str]],
    statements: Mapping[str, Statement],
    spent: Mapping[str, tuple[str, str]],
) -> tuple[dict[str, tuple[Statement, ...]], dict[str, dict[str, str]]]:
    """Return certificates and used-up cases with new ones added, the newest statement last."""
    added = dict(certificates)
    for region, statement in statements.items():
        others = [s for s in added.get(region, ()) if s != statement]
        added[region] = (*others, statement)
    known = {region: dict(by_digest) for region, by_digest in used.items()}
    for region, (digest, asked) in spent.items():
        # What cases were first asked for stays: whatever came after it had seen the answer.
        known.setdefault(region, {}).setdefault(digest, asked)
    return added, known


def weights_digest(folder: Path) -> str:
    """Return the SHA-256 of a bundle's weights, which tells one model from another."""
    return _digest(folder / "weights.safetensors")


def _rewrite(folder: Path, bundle: Bundle) -> None:
    _write_description(folder, bundle, weights_digest(folder))


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
        cascade = content.get("cascade")
        return Bundle(
            recipe=recorded_recipe(content["recipe"], source=str(description_path)),
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
            certificates={
                region: tuple(statement_from_dict(record) for record in records)
                for region, records in content.get("certificates", {}).items()
            },
            spent=content.get("spent", {}),
            calibration={
                region: Calibration.from_dict(record)
                for region, record in content.get("calibration", {}).items()
            },
            members=int(content.get("members", 1)),
            cascade=None if cascade is None else Cascade.from_dict(cascade),
            presence={
                region: PresenceScaling.from_dict(record)
                for region, record in content.get("presence", {}).items()
            },
        )
    except (
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
        SafetensorError,
        ScoreError,
    ) as error:
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
        "certificates": {
            region: [statement.to_dict() for statement in statements]
            for region, statements in bundle.certificates.items()
        },
        "spent": {region: dict(used) for region, used in bundle.spent.items()},
        "calibration": {
            region: calibration.to_dict() for region, calibration in bundle.calibration.items()
        },
        "trained": dict(bundle.trained),
        "torch": torch.__version__,
        "members": bundle.members,
        "cascade": None if bundle.cascade is None else bundle.cascade.to_dict(),
        "presence": {region: own.to_dict() for region, own in bundle.presence.items()},
        "weights_sha256": digest,
    }
    with atomic_write(folder / "bundle.json") as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
