"""Load initial weights, and refuse those that have seen cases kept for a verdict."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch

from rareseg.data.atomic_files import atomic_write
from rareseg.data.checks.fingerprint import Fingerprint
from rareseg.data.records import Role
from rareseg.errors import RunError
from rareseg.prediction.bundle import load_model
from rareseg.prediction.weights.weight_transfer import Transfer, bundle_of, transfer, weights_file
from rareseg.prediction.weights.weights_origin import WeightsOrigin
from rareseg.recipe import Recipe
from rareseg.run.setup.run_folder import RunFolder, read_split
from rareseg.text_files import read_json

INITIAL_NOTE = "initial_weights.json"
ENCODER_NOTE = "encoder_weights.json"
"""Files of a training's folder that say where its weights began."""


def initial_weights(recipe: Recipe, network: torch.nn.Module) -> Transfer | None:
    """Return the weights that the recipe begins with, as far as they fit; or ``None``.

    Raises as :func:`rareseg.prediction.weights.weight_transfer.transfer`.
    """
    name = recipe.training.initial_weights
    return None if name is None else transfer(weights_file(Path(name)), network, source=name)


def write_origin(file: Path, origin: WeightsOrigin) -> None:
    """Note in a training's folder where some of its weights began."""
    with atomic_write(file) as temporary:
        temporary.write_text(json.dumps(origin.to_dict(), indent=1) + "\n", encoding="utf-8")


def read_origin(file: Path) -> WeightsOrigin | None:
    """Return what :func:`write_origin` noted, or None where weights began at random.

    Raises :class:`RunError` where the note is damaged.
    """
    if not file.is_file():
        return None
    try:
        return WeightsOrigin.from_dict(read_json(file))
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{file} is damaged ({error}); train into another --out.") from error


def require_unseen(recipe: Recipe, fingerprint: Fingerprint, roles: Mapping[str, Role]) -> None:
    """Raise :class:`RunError` where cases that are to judge had a part in the initial weights.

    Those of a run of the very same data are known by its split; of any other file it cannot be
    told.
    """
    name = recipe.training.initial_weights
    bundle = None if name is None else bundle_of(weights_file(Path(name)))
    if bundle is None or load_model(bundle).training.data != fingerprint.content_hash:
        return
    split = RunFolder(bundle.parent).split
    if not split.is_file():
        return
    learned = {case for case, role in read_split(split).items() if role in ("train", "validation")}
    seen = [case for case in sorted(learned) if roles.get(case) in ("certify", "test")]
    if seen:
        raise RunError(
            f"training.initial_weights is {name}, which has learned from {len(seen)} of the cases "
            f"that are to judge this run (the first is {seen[0]}); split as it did, with the same "
            "split.seed and shares, or begin with other weights."
        )
