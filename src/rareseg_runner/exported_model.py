"""Open an exported model: its description, its networks' files, its decisions.

``bundle.json`` describes the model as that of a run does, with ``scoring`` and ``engine`` beside;
``decisions.json`` says where each region is cut. All are plain data, and a file of a network is
opened only where its bytes are those that the description names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rareseg_runner.atomic_files import file_digest
from rareseg_runner.bundle_archive import DECISIONS, DESCRIPTION, unpacked
from rareseg_runner.decision.cut_point import CutPoint
from rareseg_runner.errors import BundleError, DataError, ScoreError, UsageError
from rareseg_runner.file_names import require_names
from rareseg_runner.image_detector import ImageDetector
from rareseg_runner.image_records import Classes
from rareseg_runner.preprocessing.image_facts import ImageFacts
from rareseg_runner.preprocessing.preprocess import Preprocessing
from rareseg_runner.scoring.cascade_model import Cascade
from rareseg_runner.scoring.engine_windows import score_with_engine
from rareseg_runner.scoring.engines import Engine, engine_named
from rareseg_runner.scoring.engines.engine import Precision
from rareseg_runner.scoring.image_scorer import ArrayScorer, ImageScorer
from rareseg_runner.scoring.model_description import ModelDescription, ScoringSettings
from rareseg_runner.scoring.presence_scaling import PresenceScaling
from rareseg_runner.text_files import read_json

_DAMAGE = (AttributeError, KeyError, TypeError, ValueError, ScoreError, DataError, UsageError)
"""What reading a damaged description raises."""


@dataclass(frozen=True)
class Fidelity:
    """How an exported model differs from the one that it came from, on its validation cases.

    ``largest_difference`` is that of any score; ``pixels_differ`` the share of pixels whose masks
    differ, of any region; ``flags_differ`` how many of ``n_cases`` have another flag. No case is
    named: the model may be handed on.
    """

    n_cases: int
    largest_difference: float
    pixels_differ: float
    flags_differ: int = 0


@dataclass(frozen=True)
class EngineFiles:
    """Which engine computes an exported model, from which files.

    ``name`` and ``version`` are those of the engine that it was written with, ``precision`` what it
    computes in where the processor can. ``networks`` are the first files of the members in their
    order, ``digests`` the SHA-256 of every file by name. ``tells_presence`` says whether the
    networks say anything of whole images.
    """

    name: str
    version: str
    precision: Precision
    networks: tuple[str, ...]
    digests: Mapping[str, str]
    tells_presence: bool
    fidelity: Fidelity | None = None

    @property
    def engine(self) -> Engine:
        """The engine; raises :class:`UsageError` where it is not known."""
        return engine_named(self.name)

    @property
    def backend(self) -> str:
        """Return what computes here, in the words of certificates."""
        return f"{self.name} {self.engine.version} on cpu"

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> EngineFiles:
        """Make the record from plain JSON values; TypeError, KeyError, DataError for others."""
        fidelity = record.get("fidelity")
        require_names(record["digests"], "file")
        return cls(
            **{
                **record,
                "networks": tuple(record["networks"]),
                "digests": dict(record["digests"]),
                "fidelity": None if fidelity is None else Fidelity(**fidelity),
            }
        )

    def open(
        self, folder: Path, settings: ScoringSettings, *, threads: int | None = None
    ) -> list[ArrayScorer]:
        """Return the members of the model with their windows.

        Raises :class:`BundleError` where a file is missing or not the one that was written,
        :class:`WorkError` where the engine is not installed.
        """
        for name, digest in self.digests.items():
            path = folder / name
            if not path.is_file() or file_digest(path) != digest:
                raise BundleError(
                    f"{path} is missing, or is not the file that {DESCRIPTION} describes (its "
                    "checksum differs); copy the folder again or export anew."
                )
        engine = self.engine
        engine.module()
        precision = engine.computes_in(self.precision)
        return [
            partial(
                score_with_engine,
                _opened(engine, folder / name, precision, threads),
                settings=settings,
            )
            for name in self.networks
        ]


def _opened(engine: Engine, path: Path, precision: Precision, threads: int | None) -> Any:
    try:
        return engine.open(path, precision, threads)
    except Exception as error:  # engines raise what they like
        raise BundleError(
            f"{path} cannot be opened by {engine.name} {engine.version} "
            f"({str(error).splitlines()[0] if str(error) else type(error).__name__}); export anew."
        ) from error


class ExportedModel(ImageDetector):
    """An exported model with its decisions; call it on an image, or on a list of them.

    ``files`` say what computes it. ``certificates`` are those of each region as plain values: what
    is guaranteed, on which cases, and in which arithmetic it holds.
    """

    def __init__(
        self,
        description: ModelDescription,
        files: EngineFiles,
        networks: Sequence[ArrayScorer],
        points: Mapping[str, CutPoint],
        certificates: Mapping[str, Sequence[Mapping[str, Any]]],
    ) -> None:
        super().__init__(ImageScorer(description, networks), points)
        self.files = files
        self.certificates = certificates

    @property
    def computes_in(self) -> str:
        """What computes here: engine, version, and the precision that this processor has."""
        precision = self.files.engine.computes_in(self.files.precision)
        return f"{self.files.backend}, {'bfloat16' if precision == 'bf16' else 'float32'}"


def load(folder: Path | str, *, threads: int | None = None) -> ExportedModel:
    """Return an exported model, from its folder or from one file (a zip of the folder).

    ``threads`` are those of the engine, None as many as it chooses. A region without an operating
    point is cut at 0.5. Raises :class:`BundleError` where the folder holds no exported model or is
    damaged, :class:`WorkError` where its engine is not installed.
    """
    place = Path(folder)
    if place.is_file():
        with unpacked(place) as inside:
            return _load(inside, threads)
    return _load(place, threads)


def _load(folder: Path, threads: int | None) -> ExportedModel:
    path = folder / DESCRIPTION
    if not path.is_file():
        raise BundleError(
            f"{folder} holds no exported model: {DESCRIPTION} is missing; name the folder that "
            "`rareseg export RUN --out DIR` wrote."
        )
    try:
        content = read_json(path)
        if "engine" not in content:
            raise BundleError(
                f"{folder} is the model of a run, which torch computes: `pip install rareseg` and "
                "rareseg.load open it, or `rareseg export` writes one for this package."
            )
        files = EngineFiles.from_dict(content["engine"])
        description = describe(content)
    except _DAMAGE as error:
        raise BundleError(f"{path} is damaged ({error}); copy the folder again.") from error
    if len(files.networks) != description.members:
        raise BundleError(
            f"{path} names {len(files.networks)} files of networks, and the model has "
            f"{description.members}; copy the folder again."
        )
    points, certificates = _decisions(folder / DECISIONS, description.classes)
    networks = files.open(folder, description.settings, threads=threads)
    return ExportedModel(description, files, networks, points, certificates)


def _decisions(
    path: Path, classes: Classes
) -> tuple[dict[str, CutPoint], dict[str, list[Mapping[str, Any]]]]:
    """Return the cut of every region, one half where none was chosen, and its certificates."""
    points = {region: CutPoint(region, 0.5) for region in classes.regions}
    certificates: dict[str, list[Mapping[str, Any]]] = {region: [] for region in classes.regions}
    if not path.is_file():
        return points, certificates
    try:
        for region, own in read_json(path)["regions"].items():
            if region not in points:
                raise ValueError(f"it names the region '{region}', which the model does not have")
            certificates[region] = [one for one in own["statements"] if one["is"] == "certificate"]
            found = own["found"]
            if "infeasible" not in found:
                points[region] = _point(region, found)
    except (*_DAMAGE, OSError) as error:
        raise BundleError(f"{path} is damaged ({error}); copy the folder again.") from error
    return points, certificates


def _point(region: str, found: Mapping[str, Any]) -> CutPoint:
    point = CutPoint(
        region, float(found["threshold"]), float(found["gate"]), found["smallest_component"]
    )
    if not (0.0 <= point.threshold <= 1.0 and 0.0 <= point.gate <= 1.0):
        raise ValueError(f"the point of region '{region}' lies outside [0, 1]")
    return point


def describe(content: Mapping[str, Any]) -> ModelDescription:
    """Return what ``bundle.json`` says of an exported model, as plain values.

    Raises KeyError, TypeError, ValueError or DataError for anything else.
    """
    classes = Classes.from_dict(content["classes"])
    require_names(classes.names, "class")
    require_names(classes.regions, "region")
    cascade, images = content.get("cascade"), content["trained"].get("images")
    return ModelDescription(
        classes=classes,
        channels=int(content["channels"]),
        preprocessing=Preprocessing.from_dict(content["preprocessing"]),
        settings=ScoringSettings.from_dict(content["scoring"]),
        members=int(content.get("members", 1)),
        cascade=None if cascade is None else Cascade.from_dict(cascade),
        presence={
            region: PresenceScaling.from_dict(own)
            for region, own in content.get("presence", {}).items()
        },
        images=None if images is None else ImageFacts.from_dict(images),
    )
