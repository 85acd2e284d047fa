"""Load initial weights, and refuse those that have seen cases kept for a verdict."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch

from rareseg.data.identity import identify
from rareseg.data.look_alikes import read_compared, write_compared
from rareseg.data.records import Case, Role
from rareseg.errors import RunError
from rareseg.prediction.encoders.encoder_weights import PRETRAINED
from rareseg.prediction.weights.weight_transfer import Transfer, bundle_of, transfer, weights_file
from rareseg.prediction.weights.weights_origin import WeightsOrigin
from rareseg.recipe import Recipe
from rareseg.recipe.network_sections import NO_WEIGHTS
from rareseg.run.setup.known_cases import read_known_cases, write_known_cases
from rareseg.run.setup.run_folder import RunFolder
from rareseg.run.setup.seen_images import image_key, learned_images
from rareseg_runner.atomic_files import atomic_write
from rareseg_runner.text_files import read_json

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


def note_cases(
    folder: RunFolder, cases: Sequence[Case], recipe: Recipe, roles: Mapping[str, Role]
) -> None:
    """Note by which images the run is known, with those that its initial weights have learned.

    Of a run that has begun to learn, see that split and folds are still those. Raises
    :class:`RunError` where they are not, and where cases that are to judge had a part in the
    initial weights, whatever they were called there; of weights that lie beside no run that cannot
    be told.
    """
    begun = folder.recipe.is_file()
    if begun and read_known_cases(folder) is not None:
        return
    inherited: dict[str, Role] = {}
    for setting, origin in _origins(recipe):
        learned = learned_images(origin)
        if not begun:
            _require_unseen(setting, learned, cases, roles)
        inherited = {**learned, **inherited}
        looks = [look for look in read_compared(origin.look_alikes) if look.id in learned]
        if looks:
            own = read_compared(folder.look_alikes)
            every = {look.id: look for look in (*looks, *own)}
            write_compared(folder.look_alikes, list(every.values()))
    write_known_cases(folder, cases, inherited=inherited)


def _require_unseen(
    setting: str, learned: Mapping[str, Role], cases: Sequence[Case], roles: Mapping[str, Role]
) -> None:
    seen = [
        name
        for name, identity in identify(cases).items()
        if roles.get(name) in ("certify", "test") and image_key(name, identity) in learned
    ]
    if seen:
        raise RunError(
            f"{setting}, which has learned from {len(seen)} of the cases that are to judge this "
            f"run (the first is {min(seen)}); split as it did, with the same "
            "split.seed and shares, or begin with other weights."
        )


def _origins(recipe: Recipe) -> Iterator[tuple[str, RunFolder]]:
    """Yield the settings that name the weights of a run, and that run."""
    named = {
        "training.initial_weights": recipe.training.initial_weights,
        "network.encoder_weights": getattr(recipe.network, "encoder_weights", None),
    }
    for setting, name in named.items():
        if name in (None, NO_WEIGHTS, PRETRAINED):
            continue
        bundle = bundle_of(weights_file(Path(name), setting=setting))
        if bundle is not None and (bundle.parent / "split.csv").is_file():
            yield f"{setting} is {name}", RunFolder(bundle.parent)
