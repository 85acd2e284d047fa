"""Plan the network: in 2D one with a pretrained encoder."""

from __future__ import annotations

from pathlib import Path

from rareseg.prediction.bundle import load_model
from rareseg.prediction.weights.weight_transfer import bundle_of, weights_file
from rareseg.recipe import NETWORK_SECTIONS
from rareseg.recipe.network_sections import NO_ENCODER
from rareseg.training.plan.recipe_draft import Draft


def plan_network(draft: Draft, dimension: int) -> None:
    """Choose the network: that of the weights to begin with, a pretrained one, or from random.

    Raises :class:`RecipeError` for weights that are not there.
    """
    weights = draft.overrides.get("training", {}).get("initial_weights")
    bundle = None if weights is None else bundle_of(weights_file(Path(weights)))
    if bundle is not None:
        earlier = load_model(bundle).recipe.network.model_dump(mode="json")
        name = draft.overrides.get("network", {}).get("name", earlier["name"])
        for key, value in NETWORK_SECTIONS.keep_readable(earlier, name).items():
            draft.choose(f"network.{key}", value, "as in the weights to begin with")
        return
    name, reason = _network_name(draft, dimension)
    draft.choose("network.name", name, reason)
    if name == "half_unet":
        width = [16, 32, 64, 128, 192] if dimension == 2 else [32, 64, 128]
        reason = "channels per level; twice as wide is about 4 x as slow"
        draft.choose("network.width", width, reason)


def _network_name(draft: Draft, dimension: int) -> tuple[str, str]:
    """Return the network to plan, and why: in 2D one with a pretrained encoder."""
    given = NETWORK_SECTIONS.current(draft.overrides.get("network", {}))
    if "name" in given:
        return str(given["name"]), "set by you"
    without = draft.overrides.get("network", {}).get("encoder") == NO_ENCODER
    readers = NETWORK_SECTIONS.readers(given)
    if "encoder_unet" in readers and dimension == 2 and not without:
        return "encoder_unet", (
            "its encoder has learned from a million photographs (ImageNet), which finds far more "
            "with few labels (docs/few-labels.md); network.encoder=none plans one without"
        )
    if "half_unet" not in readers and not without:
        return readers[0], "the first network that reads what you set"
    reason = (
        "a U-Net at half resolution with a light head at full: 4 to 8 times the steps in a time"
    )
    if without:
        reason = f"no pretrained encoder, as set by you: {reason}"
    elif dimension == 2:
        keys = ", ".join(f"network.{key}" for key in given)
        reason = f"it reads what you set ({keys}): {reason}"
    return "half_unet", reason
