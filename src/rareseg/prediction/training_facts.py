"""Record of how a model was trained: steps, data, versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rareseg.data.records import role_named
from rareseg.prediction.weights.weights_origin import WeightsOrigin
from rareseg.sampling.patches.composition import Composition
from rareseg_runner.preprocessing.image_facts import ImageFacts

_EARLIER_NAMES = {"select_score": "validation_score"}
"""Names that a bundle of format 1 has for fields."""


@dataclass(frozen=True)
class TrainingFacts:
    """How the weights of a model came about.

    ``steps`` were made, and the weights of ``best_step`` kept, at which validation reached
    ``validation_score``; ``waiting_share`` of the time went into waiting for data. ``cases`` counts
    the cases by role, ``data`` is the digest of the data set, ``files_per_case`` how many files an
    image has. ``rareseg`` is the version, ``finished`` the date (ISO 8601); "" where not recorded.
    ``delivered`` is what the sampler showed, None of several stages, where that is no share of
    anything in whole images. ``encoder_weights`` and ``initial_weights`` say what the encoder and
    the network began with, None at random. ``images`` say what the images of the training were
    like, None in bundles of earlier versions.
    """

    steps: int
    best_step: int
    data: str
    files_per_case: int = 1
    validation_score: float = 0.0
    waiting_share: float = 0.0
    cases: Mapping[str, int] | None = None
    rareseg: str = ""
    finished: str = ""
    delivered: Composition | None = None
    encoder_weights: WeightsOrigin | None = None
    initial_weights: WeightsOrigin | None = None
    images: ImageFacts | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> TrainingFacts:
        """Return what :meth:`to_dict` wrote, or a bundle of format 1 holds.

        TypeError or KeyError for anything else.
        """
        values = {_EARLIER_NAMES.get(name, name): value for name, value in record.items()}
        if values.get("delivered") is not None:
            values["delivered"] = Composition.from_dict(values["delivered"])
        if values.get("cases") is not None:
            values["cases"] = {role_named(role): n for role, n in values["cases"].items()}
        for name in ("encoder_weights", "initial_weights"):
            if values.get(name) is not None:
                values[name] = WeightsOrigin.from_dict(values[name])
        if values.get("images") is not None:
            values["images"] = ImageFacts.from_dict(values["images"])
        return cls(**values)
