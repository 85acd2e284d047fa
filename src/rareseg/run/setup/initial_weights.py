"""Load initial weights, and refuse those that have seen cases kept for a verdict."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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
from rareseg.run.setup.bundle_images import read_bundle_images
from rareseg.run.setup.known_cases import read_known_cases, write_known_cases
from rareseg.run.setup.run_folder import RunFolder
from rareseg.run.setup.seen_images import TAUGHT, image_key, learned_images
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


@dataclass(frozen=True)
class _Origin:
    """Weights that a recipe names: the setting, and the images that they have learned from.

    ``learned`` leads from the digest of an image to the role that it had there, None where nothing
    tells. ``run`` is the run that they lie beside, None for none.
    """

    setting: str
    learned: Mapping[str, Role] | None
    run: RunFolder | None = None


def note_cases(
    folder: RunFolder,
    cases: Sequence[Case],
    recipe: Recipe,
    roles: Mapping[str, Role],
    *,
    say: Callable[[str], None],
) -> None:
    """Note by which images the run is known, with those that its initial weights have learned.

    Of a run that has begun to learn, see that split and folds are still those. Raises
    :class:`RunError` where they are not, and where cases that are to judge had a part in the
    initial weights, whatever they were called there. ``say`` is told of weights of which nothing
    says from which images they have learned.
    """
    begun = folder.recipe.is_file()
    if begun and read_known_cases(folder) is not None:
        return
    inherited: dict[str, Role] = {}
    for origin in _origins(recipe):
        if origin.learned is None:
            say(
                f"{origin.setting}, and nothing says from which images it has learned: whether "
                "cases that judge this run are among them cannot be told."
            )
            continue
        if not begun:
            _require_unseen(origin.setting, origin.learned, cases, roles)
        inherited = {**origin.learned, **inherited}
        known = () if origin.run is None else read_compared(origin.run.look_alikes)
        looks = [look for look in known if look.id in origin.learned]
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


def _origins(recipe: Recipe) -> Iterator[_Origin]:
    """Yield the weights that the recipe names, but for those that a library comes with.

    A run knows more of its images than its bundle, which may have been copied away from it; and
    what lies beside a bundle need not be its run.
    """
    named = {
        "training.initial_weights": recipe.training.initial_weights,
        "network.encoder_weights": getattr(recipe.network, "encoder_weights", None),
    }
    for setting, name in named.items():
        if name in (None, NO_WEIGHTS, PRETRAINED):
            continue
        said = f"{setting} is {name}"
        bundle = bundle_of(weights_file(Path(name), setting=setting))
        if bundle is None:
            yield _Origin(said, None)
            continue
        carried = read_bundle_images(bundle)
        learned = {image: role for image, role in (carried or {}).items() if role in TAUGHT}
        beside = (bundle.parent / "split.csv").is_file()
        run = RunFolder(bundle.parent) if beside else None
        learned |= {} if run is None else learned_images(run)
        yield _Origin(said, None if carried is None and not learned else learned, run)
