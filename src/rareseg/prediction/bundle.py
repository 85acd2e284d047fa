"""Read and write a bundle: a model and its decisions in one folder.

``weights.safetensors`` holds the weights, ``bundle.json`` what else makes the :class:`Model`, and
``decisions.json`` the :class:`~rareseg.decision.decisions.Decisions` about its scores. All are
plain data: loading a bundle never unpickles anything. ``NOTICE`` stands beside them where the
weights were made from others that come under a licence.

Format 1 kept the decisions in ``bundle.json``; it is read, and no longer written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialise

from rareseg.decision.decisions import Decisions
from rareseg.decision.decisions_format_1 import decisions_of_format_1
from rareseg.errors import BundleError, DataError, ScoreError
from rareseg.prediction.model import IMAGE_HEAD, Model
from rareseg.prediction.training_facts import TrainingFacts
from rareseg.prediction.weights.notices import write_notices
from rareseg.recipe import recorded_recipe
from rareseg_runner.atomic_files import atomic_write, file_digest
from rareseg_runner.bundle_archive import DECISIONS, DESCRIPTION, unpacked
from rareseg_runner.exported_model import EngineFiles
from rareseg_runner.file_names import require_names
from rareseg_runner.image_records import Classes
from rareseg_runner.preprocessing.preprocess import Preprocessing
from rareseg_runner.scoring.cascade_model import Cascade
from rareseg_runner.scoring.presence_scaling import PresenceScaling
from rareseg_runner.text_files import read_json

FORMAT = 2
"""Raised whenever a bundle of the old kind could be misread."""

READS = (1, FORMAT)

WEIGHTS = "weights.safetensors"

FORMAT_1_REASONS = "decision.json"
"""Where a run of format 1, beside its bundle, says why a region has no point."""

_PRESENCES = f"{IMAGE_HEAD}linear.bias"
"""Ends the name of a tensor with one value for each region."""

_DAMAGE = (AttributeError, KeyError, TypeError, ValueError, SafetensorError, ScoreError, DataError)
"""What reading a damaged description raises."""


def save_model(folder: Path, model: Model) -> Model:
    """Write a model, the weights first, so that a reader never sees half of it.

    Returns it with the digest of its weights. Decisions that lie there stay.
    """
    path = folder / WEIGHTS
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.weights.items()}
    with atomic_write(path) as temporary:
        temporary.write_bytes(serialise(tensors))
    write_notices(folder, model.training)
    saved = replace(model, digest=file_digest(path))
    with atomic_write(folder / DESCRIPTION) as temporary:
        temporary.write_text(as_text(model_record(saved)), encoding="utf-8")
    return saved


def model_record(model: Model) -> dict[str, Any]:
    """Return everything of a model but its weights, as plain JSON values."""
    return {
        "format": FORMAT,
        "recipe": model.recipe.model_dump(mode="json"),
        "classes": model.classes.to_dict(),
        "channels": model.channels,
        "preprocessing": model.preprocessing.to_dict(),
        "precision": model.precision,
        "trained": model.training.to_dict(),
        "torch": torch.__version__,
        "members": model.members,
        "cascade": None if model.cascade is None else model.cascade.to_dict(),
        "presence": {region: own.to_dict() for region, own in model.presence.items()},
        "weights_sha256": model.digest,
    }


def as_text(record: Mapping[str, Any]) -> str:
    """Return a record as it stands in ``bundle.json``."""
    return json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def load_model(folder: Path) -> Model:
    """Read a model; raises :class:`BundleError` where it is missing, incomplete or damaged.

    The networks of an exported model are opened where it first scores.
    """
    content = _read_description(folder)
    try:
        cascade, members = content.get("cascade"), int(content.get("members", 1))
        engine = None if "engine" not in content else EngineFiles.from_dict(content["engine"])
        tensors = {} if engine is not None else _weights(folder, content, members)
        classes = _classes(content)
        model = Model(
            recipe=recorded_recipe(content["recipe"], source=str(folder / DESCRIPTION)),
            classes=classes,
            channels=int(content["channels"]),
            preprocessing=Preprocessing.from_dict(content["preprocessing"]),
            precision=str(content["precision"]),
            weights=tensors,
            training=TrainingFacts.from_dict(content["trained"]),
            members=members,
            cascade=None if cascade is None else Cascade.from_dict(cascade),
            presence={
                region: PresenceScaling.from_dict(record)
                for region, record in content.get("presence", {}).items()
            },
            digest=content["weights_sha256"],
            engine=engine,
            folder=folder,
        )
        _check_counts(folder / DESCRIPTION, model)
        return model
    except _DAMAGE as error:
        raise _damaged(folder, error) from error


def _weights(folder: Path, content: Mapping[str, Any], members: int) -> dict[str, torch.Tensor]:
    """Return the weights of all networks, which are those that the description names."""
    path = folder / WEIGHTS
    if content["weights_sha256"] != file_digest(path):
        raise BundleError(
            f"{path} is not the file that {DESCRIPTION} describes (its checksum differs); copy the "
            "bundle again or train anew."
        )
    tensors: dict[str, torch.Tensor] = load_file(path)
    held = {name.partition(".")[0] for name in tensors}
    if members != 1 and held != {str(number) for number in range(min(members, len(held) + 1))}:
        raise BundleError(
            f"{folder / DESCRIPTION} says that the model has {members} networks, and {path} holds "
            f"the weights of {len(held)}; copy the bundle again or train anew."
        )
    return tensors


def _check_counts(path: Path, model: Model) -> None:
    """Raise :class:`BundleError` where stages or regions are not as many as the weights are for.

    Channels and classes are compared where the networks are built.
    """
    if model.cascade is not None and not 1 <= model.cascade.first_stage < model.members:
        raise BundleError(
            f"{path} says that {model.cascade.first_stage} networks are of the first stage, and "
            f"the model has {model.members}; copy the bundle again or train anew."
        )
    if model.engine is not None and len(model.engine.networks) != model.members:
        raise BundleError(
            f"{path} names {len(model.engine.networks)} files of networks, and the model has "
            f"{model.members}; copy the folder again or export anew."
        )
    told = {len(t) for name, t in model.weights.items() if name.endswith(_PRESENCES)}
    regions = model.classes.regions
    if model.cascade is None and (told - {len(regions)} or set(model.presence) - set(regions)):
        raise BundleError(
            f"{path} names {len(regions)} regions, and the weights tell the presence of "
            f"{', '.join(map(str, told)) or 'none'}; copy the bundle again or train anew."
        )


@contextmanager
def bundle_at(place: Path) -> Iterator[Path]:
    """Give the folder of a bundle: of a run, of a bundle alone, or unpacked where it is one file.

    Whether one is there is found where it is read.
    """
    if place.is_file():
        with unpacked(place) as folder:
            yield folder
    else:
        yield place if (place / DESCRIPTION).is_file() else place / "bundle"


def load_decisions(folder: Path) -> Decisions:
    """Read what is decided about the scores of the model in ``folder``, of every region.

    Raises :class:`BundleError` where the folder holds no model, or is damaged.
    """
    content = _read_description(folder)
    try:
        regions = _classes(content).regions
        if content["format"] == 1 and not (folder / DECISIONS).is_file():
            return decisions_of_format_1(content, regions, folder.parent / FORMAT_1_REASONS)
    except _DAMAGE as error:
        raise _damaged(folder, error) from error
    return Decisions.load(folder, regions)


def _read_description(folder: Path) -> dict[str, Any]:
    """Return ``bundle.json``; BundleError where a file is missing or the format is not known."""
    path = folder / DESCRIPTION
    _require_file(path)
    try:
        content: dict[str, Any] = read_json(path)
        written = content["format"]
    except _DAMAGE as error:
        raise _damaged(folder, error) from error
    if "engine" not in content:
        _require_file(folder / WEIGHTS)
    if written not in READS:
        raise BundleError(
            f"{path} is of format {written}, this version of rareseg reads formats 1 and "
            f"{FORMAT}; use the version that wrote it."
        )
    return content


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise BundleError(
            f"{path.parent} is not a model bundle: {path.name} is missing; name the folder that "
            "`rareseg train --out RUN` wrote, or its bundle/."
        )


def _classes(content: Mapping[str, Any]) -> Classes:
    """Return the classes, whose names become names of folders; DataError for those that cannot."""
    classes = Classes.from_dict(content["classes"])
    require_names(classes.names, "class")
    require_names(classes.regions, "region")
    return classes


def _damaged(folder: Path, error: Exception) -> BundleError:
    return BundleError(
        f"{folder} is damaged ({type(error).__name__}: {error}); train anew or copy it again."
    )
