"""Write the part of a model card on the network and its weights."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from rareseg.prediction.encoders.efficientnet_lite import NAMES as OWN_ENCODERS
from rareseg.prediction.model import Model
from rareseg.prediction.training_facts import TrainingFacts
from rareseg.prediction.weights.notices import LICENCES, NOTICE
from rareseg.prediction.weights.weights_origin import Attribution, attributions_of
from rareseg.recipe import TrainingSection
from rareseg.report.model_card.card_content import CardContent
from rareseg.report.wording.numbers import count
from rareseg_runner.preprocessing.preprocess import Preprocessing

_NORMALISATION = {
    "zscore": "each channel of each image less its mean, over its standard deviation",
    "range": "the range of the file's number type onto 0 to 1 (floating point as it is)",
    "none": "intensities as they stand in the file",
}


def details(content: CardContent) -> list[str]:
    """Return what the model is and how it came about."""
    model = content.model
    classes, recipe, training = model.classes, model.recipe, model.training
    named = [f"{name} ({k})" for name, k in zip(classes.names, classes.values, strict=True)]
    regions = [
        f"{region} = {' + '.join(classes.names[k] for k in members)}"
        for region, members in classes.regions.items()
    ]
    numbers = sum(tensor.numel() for tensor in model.weights.values())
    phases = [phase.title for phase in recipe.sampling.phases or ()]
    owed = attributions_of(training.encoder_weights, training.initial_weights)
    return [
        f"- Task: say of each {content.element} which class it belongs to. Classes and their mask "
        f"values: {', '.join(named)}.",
        f"- Regions, unions of classes with a mask of their own: {'; '.join(regions)}.",
        f"- Network: {_network(model)}; {numbers:,} numbers in weights.safetensors, SHA-256 "
        f"{model.digest}.",
        *_initial_weights(training),
        f"- Training: {count(training.steps, 'step')}, of which the weights of step "
        f"{training.best_step:,} were kept"
        + (", as their running average" if recipe.training.average else "")
        + f"; batches of {recipe.sampling.batch_size} windows of "
        f"{_extent(recipe.sampling.patch_size)}; sampling "
        f"{', then '.join(phases) or recipe.sampling.strategy}; loss {recipe.loss.name}; learning "
        f"rate {_rate(recipe.training)}; seed {recipe.training.seed}. The whole recipe is in "
        "bundle.json.",
        f"- Trained with rareseg {training.rareseg or '(version not recorded)'}, finished on "
        f"{training.finished or '(date not recorded)'}.",
        f"- Licence: the weights were made from weights under {' and '.join(_licences(owed))}, see "
        f"{NOTICE} and {LICENCES}/, which go with every copy."
        if owed
        else "- Licence: for the makers of the model to state.",
    ]


def intended_use(content: CardContent) -> list[str]:
    """Return what the model is for, what it takes, and how it is called."""
    model = content.model
    files = model.training.files_per_case
    kinds = sorted({case.dtype for case in content.fingerprint.cases})
    taken = "plane by plane" if model.recipe.data.dimension == 2 else "as volumes"
    lines = [
        f"For {content.images} like those that it learned from; of others nothing was measured.",
        "",
        f"- Input: {content.images} with {count(model.channels, 'channel')}"
        + (f" in {files} files, in the order of training" if files > 1 else "")
        + f", number type {' or '.join(kinds)}"
        + ("." if content.of_photographs else f", taken {taken}."),
        f"- Resolution: {_resolution(model.preprocessing, content.element)}.",
        f"- Normalisation: {_normalisation(model.preprocessing)}.",
        f"- Arithmetic: {_arithmetic(model)}. Under another, scores differ and certificates are "
        "void.",
        "- Output: for each image a label map, and a mask for each region.",
        "",
        "```sh",
        "rareseg predict BUNDLE IMAGES --out masks",
        "```",
        "",
        "BUNDLE is the folder of this card; nothing else of the run is needed, and nothing is "
        "downloaded.",
    ]
    if getattr(model.recipe.network, "encoder", OWN_ENCODERS[0]) not in OWN_ENCODERS:
        lines.append("The encoder is one of timm's: `pip install 'rareseg[encoders]'`.")
    return lines


def _rate(training: TrainingSection) -> str:
    share = training.encoder_rate
    rate = f"{training.learning_rate:g}"
    return rate if share == 1.0 else f"{rate}, {share:g} of it in the encoder"


def _network(model: Model) -> str:
    """Return the network with its settings, and how several are joined."""
    section = model.recipe.network.model_dump(mode="json")
    # Where the encoder's weights came from stands on a line of its own, without a folder.
    settings = {key: own for key, own in section.items() if key not in ("name", "encoder_weights")}
    told = ", ".join(f"{key} {json.dumps(own)}" for key, own in settings.items()).replace('"', "")
    name = f"{section['name']} ({told})"
    if model.cascade is not None:
        return f"two stages, {model.cascade.first_stage} networks and then one, each {name}"
    return name if model.members == 1 else f"the mean of {model.members} networks, each {name}"


def _initial_weights(training: TrainingFacts) -> list[str]:
    """Return which earlier weights the network began with, whatever folder they lay in."""
    lines = []
    for what, origin in (
        ("Encoder", training.encoder_weights),
        ("Network", training.initial_weights),
    ):
        if origin is None:
            continue
        # Without a licence the source is a path of the machine that trained.
        source = origin.source if origin.licence else re.split(r"[\\/]", origin.source)[-1]
        lines.append(
            f"- {what} began with {source}, licence {origin.licence or 'not known'}: "
            f"{len(origin.taken)} of {origin.n_tensors} tensors; file SHA-256 {origin.sha256}."
        )
    return lines or ["- All weights began at random."]


def _licences(owed: Sequence[Attribution]) -> list[str]:
    return sorted({part.licence for part in owed})


def _resolution(preprocessing: Preprocessing, element: str) -> str:
    target = preprocessing.target_spacing
    if target is None:
        return "each image's own"
    return (
        f"resampled to a spacing of {_extent(target)} (z, y, x; mm, or {element}s where the file "
        "states none), and scores back to the image's own grid"
    )


def _normalisation(preprocessing: Preprocessing) -> str:
    clip = ""
    if preprocessing.clip is not None:
        spans = ", ".join(f"{low:g} to {high:g}" for low, high in preprocessing.clip)
        clip = f"channels limited to {spans}; then "
    if preprocessing.method != "dataset":
        return clip + _NORMALISATION[preprocessing.method]
    means = ", ".join(f"{value:.6g}" for value in preprocessing.mean or ())
    spreads = ", ".join(f"{value:.6g}" for value in preprocessing.std or ())
    return f"{clip}channels less {means}, over {spreads}"


def _arithmetic(model: Model) -> str:
    """Return what scores depend on beside weights and image."""
    settings = model.recipe.prediction
    tile = "the whole image at once"
    if settings.tile is not None:
        tile = f"windows of {_extent(settings.tile)} that overlap by {settings.overlap:g}"
    mirrored = ", averaged over mirrored images" if settings.mirror else ""
    mean = ""
    if model.members > 1 and settings.mean_of == "log_odds":
        mean = f", the mean of the log-odds of {model.members} networks"
    return f"precision {model.precision}, {tile}{mirrored}{mean}"


def _extent(sides: Sequence[float]) -> str:
    return " x ".join(f"{side:g}" for side in sides)
