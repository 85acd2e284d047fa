"""The sections of a recipe: every setting with its type, its limits and what it means."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, PlainValidator, model_validator

from rareseg.errors import UsageError
from rareseg.recipe.section import (
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Probability,
    Section,
)
from rareseg_runner.decision.component_size import ANY_SIZE, Size, as_size

Precision = Annotated[
    Literal["auto", "32", "bf16"],
    BeforeValidator(lambda given: "32" if given == 32 else given),  # a number in YAML
]


def _size(given: object) -> Size:
    """Return the size that a recipe states; ValueError, as pydantic takes it, for what is none."""
    if isinstance(given, bool) or not isinstance(given, Size | str | int | float):
        raise ValueError("give a number of voxels, or a size such as '5 mm3'")
    try:
        return as_size(given)
    except UsageError as error:
        raise ValueError(str(error)) from error


ComponentSize = Annotated[
    Size, PlainValidator(_size), PlainSerializer(lambda size: size.plain, return_type=int | str)
]


class DataSection(Section):
    """How cases are brought to the network's grid and scale."""

    dimension: Literal[2, 3] = Field(default=2, description="2: slices or photographs; 3: volumes")
    target_spacing: tuple[PositiveFloat, PositiveFloat, PositiveFloat] | None = Field(
        default=None,
        description="z, y, x in mm (pixels for photographs); null keeps each file's own",
    )
    normalisation: Literal["zscore", "dataset", "range", "none"] = Field(
        default="zscore",
        description="zscore: per case and channel; dataset: by the whole data set",
    )


class SplitSection(Section):
    """Which share of the groups plays which role."""

    seed: int = 0
    train: Probability = 0.65
    validation: Probability = 0.15
    certify: Probability = 0.0
    test: Probability = 0.2
    folds: NonNegativeInt = Field(
        default=0,
        description="cross-validation: so many networks, each trained without a part of the cases",
    )
    held_out: PositiveInt = Field(
        default=1,
        description="folds that each of these networks leaves out; every case is then scored by "
        "the mean of as many networks that have not seen it",
    )

    @model_validator(mode="after")
    def _sums_to_one(self) -> SplitSection:
        total = self.train + self.validation + self.certify + self.test
        if abs(total - 1.0) > 1e-6:
            raise ValueError(f"the shares train + validation + certify + test are {total:g}, not 1")
        if self.folds == 1:
            raise ValueError("folds is 1; give 0 for none, or 2 or more")
        if self.held_out > 1 and self.held_out >= self.folds:
            left = "there are no folds" if not self.folds else f"of {self.folds} folds"
            raise ValueError(
                f"held_out is {self.held_out}, but {left}; each network must learn from at least "
                f"one, so give folds={self.held_out + 1} or more, or a held_out below folds"
            )
        return self


class Phase(Section):
    """A part of the run in which one strategy holds."""

    strategy: str
    until: Annotated[float, Field(gt=0, le=1)] = Field(
        description="the share of the run after which the next phase begins"
    )
    name: str = Field(default="", description="what reports call it; empty: the strategy's name")

    @property
    def title(self) -> str:
        """What the phase is called."""
        return self.name or self.strategy


class SamplingSection(Section):
    """Where the network looks while it learns."""

    strategy: str = Field(default="balanced", description="the name of a sampling strategy")
    phases: tuple[Phase, ...] | None = Field(
        default=None,
        description="a chain in place of the one strategy: [{strategy: NAME, until: SHARE OF THE "
        "RUN}, ...], the last until 1",
    )
    patch_size: tuple[PositiveInt, ...] = Field(
        default=(256, 256), description="(z,) y, x in voxels"
    )
    batch_size: PositiveInt = 8
    border: Literal["reflect", "background", "shift"] = "reflect"
    weighting: Literal["voxel", "case", "group"] = Field(
        default="case",
        description="voxel: every voxel of a pool alike; case: the case is drawn first; group: "
        "the group, then the case",
    )
    positive_share: Probability = Field(
        default=0.5,
        description="negatives, hard_negative: the share of windows that hold foreground; "
        "minority_mimic: of centres on it",
    )
    exponent: Probability = Field(
        default=0.5, description="inverse_frequency: 0 gives natural shares, 1 balanced ones"
    )
    shares: dict[str, Probability] | None = Field(
        default=None, description="table: the share of each class, {NAME: SHARE, ...}"
    )
    balanced_until: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.8, description="decoupled: the share of the run after which it turns natural"
    )

    @model_validator(mode="after")
    def _patch_has_two_or_three_axes(self) -> SamplingSection:
        if len(self.patch_size) not in (2, 3):
            raise ValueError(f"patch_size has {len(self.patch_size)} values, not 2 or 3")
        return self

    @model_validator(mode="after")
    def _shares_sum_to_one(self) -> SamplingSection:
        if self.shares is not None and abs(sum(self.shares.values()) - 1.0) > 1e-6:
            listed = ", ".join(f"{name} {share:g}" for name, share in self.shares.items())
            total = sum(self.shares.values())
            raise ValueError(f"the shares ({listed or 'none'}) sum to {total:g}, not 1")
        return self

    @model_validator(mode="after")
    def _phases_follow_each_other(self) -> SamplingSection:
        if self.phases is not None:
            ends = [phase.until for phase in self.phases]
            if sorted(set(ends)) != ends or ends[-1:] != [1.0]:
                raise ValueError(
                    f"the phases end at {', '.join(f'{end:g}' for end in ends) or 'nothing'}; each "
                    "must end after the one before it, and the last at 1"
                )
        return self


class MiningSection(Section):
    """How the network's errors are looked for between epochs, where a strategy asks for them."""

    every: PositiveInt | None = Field(
        default=None, description="steps between two rounds; null: a tenth of the run, at least 20"
    )
    voxels: Annotated[int, Field(ge=0)] = Field(
        default=1000,
        description="voxels of each class that a round judges, each in the middle of a window; 0: "
        "every voxel of every case",
    )
    confidence: Probability = Field(
        default=0.75,
        description="hard is what is wrong, or right with less than this; 0: wrong alone",
    )
    hard_share: Probability = Field(
        default=1.0, description="the largest share of a class's patches that mined ones may take"
    )
    suspect_confidence: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.95,
        description="a voxel that is wrong with this confidence is suspected to be labelled wrong",
    )
    suspect_rounds: Annotated[int, Field(ge=0, le=200)] = Field(
        default=3,
        description="after so many rounds of suspicion in a row it is set aside; 0: never",
    )


class AugmentationSection(Section):
    """How patches are varied; every probability is per patch, every strength a largest value."""

    labels: Literal["nearest", "votes"] = Field(
        default="nearest",
        description="masks in a warp: the nearest voxel, or the class that most neighbours hold",
    )
    mirror: Probability = Field(default=0.5, description="per axis")
    rotate: Probability = Field(default=0.5, description="probability of a rotation")
    rotate_degrees: Annotated[float, Field(ge=0, le=180)] = Field(
        default=15.0, description="to either side; in 3D about each of the three axes"
    )
    scale: Probability = Field(default=0.5, description="probability of a change of size")
    scale_range: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.2, description="sizes from 1 / (1 + r) to 1 + r"
    )
    crop: Probability = Field(
        default=0.0, description="probability that a patch is cut off its centre"
    )
    crop_shift: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.2, description="how far, as a share of each side"
    )
    elastic: Probability = Field(default=0.0, description="probability of a smooth deformation")
    elastic_shift: NonNegativeFloat = Field(
        default=6.0, description="voxels by which a control point moves on each axis"
    )
    elastic_spacing: PositiveFloat = Field(
        default=32.0, description="voxels between control points; at least 2.5 x elastic_shift"
    )
    brightness: Probability = 0.5
    brightness_range: NonNegativeFloat = Field(
        default=0.2, description="shift, in standard deviations"
    )
    contrast: Probability = 0.5
    contrast_range: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.25, description="factors from 1 - r to 1 + r"
    )
    gamma: Probability = 0.3
    gamma_range: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.3, description="exponents from 1 / (1 + r) to 1 + r"
    )
    noise: Probability = 0.2
    noise_level: NonNegativeFloat = Field(default=0.2, description="standard deviation")
    blur: Probability = 0.1
    blur_sigma: NonNegativeFloat = Field(default=1.0, description="in voxels, at least 0.3")
    low_resolution: Probability = Field(
        default=0.0, description="probability of a loss of resolution"
    )
    low_resolution_share: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.5, description="the smallest share of the voxels of each axis that is left"
    )
    occlusion: Probability = Field(default=0.0, description="probability that a box is hidden")
    occlusion_share: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.3, description="the largest share of each side"
    )
    occlusion_ignores: bool = Field(
        default=False, description="true: what is hidden does not count either"
    )

    paste: Probability = Field(
        default=0.0,
        description="probability that an object of the training cases is pasted into a window, "
        "before all else",
    )
    paste_into: Literal["empty", "any"] = Field(
        default="empty",
        description="empty: windows without foreground alone; any: also beside other objects",
    )
    paste_texture: Probability = Field(
        default=0.3,
        description="share of them that paste background in the shape of an object, and no label",
    )
    paste_turns: bool = Field(
        default=True,
        description="pasted objects are mirrored on each axis, and turned by quarters in the plane",
    )

    @model_validator(mode="after")
    def _does_not_fold(self) -> AugmentationSection:
        if self.elastic_shift > 0.4 * self.elastic_spacing:
            raise ValueError(
                f"elastic_shift is {self.elastic_shift:g}, which can fold a patch over itself; at "
                f"an elastic_spacing of {self.elastic_spacing:g} at most "
                f"{0.4 * self.elastic_spacing:g} is allowed"
            )
        return self


class CascadeSettings(Section):
    """Two stages: one finds what is there, the other says within that what it is."""

    folds: Annotated[int, Field(ge=2, le=10)] = Field(
        default=3, description="networks of stage one; each is asked about cases it has not seen"
    )
    share: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.5, description="of the steps that stage one takes, all folds together"
    )
    recall: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.98, description="share of the foreground voxels that stage one is cut to keep"
    )
    margin: Annotated[int, Field(ge=0)] = Field(
        default=8, description="voxels around what was found that stage two looks at too"
    )

    def first_steps(self, steps: int) -> int:
        """Return the steps of each fold of stage one out of ``steps`` for everything."""
        return max(1, round(self.share * steps / self.folds))


class TrainingSection(Section):
    """How long and how fast to learn."""

    seed: int = 0
    steps: PositiveInt = 1000
    learning_rate: PositiveFloat = 1e-3
    encoder_rate: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0, description="the encoder's learning rate, as a share of learning_rate"
    )
    weight_decay: NonNegativeFloat = 1e-2
    warmup_share: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.05, description="share of the steps in which the learning rate rises"
    )
    gradient_clip: PositiveFloat = Field(default=5.0, description="largest norm of the gradient")
    average: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.99,
        description="decay of the running average of the weights that is kept; 0: none",
    )
    validations: PositiveInt = Field(
        default=4, description="times that whole validation cases are scored"
    )
    checkpoint: Literal["best", "last"] = Field(
        default="best",
        description="which weights are kept: those of the best validation, or the last ones",
    )
    validation_cases: PositiveInt = Field(
        default=100, description="at most so many of them, positives and negatives alike"
    )
    patience: Annotated[int, Field(ge=0)] = Field(
        default=0, description="stop after so many validations without a better one; 0: never"
    )
    cascade: CascadeSettings | None = Field(
        default=None,
        description="{folds: 3}: two stages in as many steps; null: one network does it all",
    )
    initial_weights: str | None = Field(
        default=None,
        description="begin with these, as far as they fit: a run, a bundle, safetensors, or a "
        "state_dict of torch; null: at random",
    )
    freeze_encoder: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0, description="share of the steps, from the first, that spares the encoder"
    )
    precision: Precision = Field(
        default="auto",
        description="32: float32; bf16: bfloat16 where it does no harm; auto: both are tried at "
        "the first start, and the faster is written down",
    )
    threads: Annotated[int, Field(ge=0)] = Field(
        default=0,
        description="CPU threads; 0: as many as the machine has, written down at the first start",
    )
    workers: Annotated[int, Field(ge=0)] = Field(
        default=0,
        description="processes that cut patches ahead; 0: a thread does. They change no patch",
    )


class PredictionSection(Section):
    """How whole cases are scored. A certificate holds for these values alone."""

    tile: tuple[PositiveInt, ...] | None = Field(
        default=None, description="window in voxels; null: the whole image at once"
    )
    overlap: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.5, description="share by which neighbouring windows overlap"
    )
    mirror: bool = Field(default=False, description="average over mirrored images as well")
    mean_of: Literal["probabilities", "log_odds"] = Field(
        default="probabilities",
        description="what several networks are averaged in, presences as well; log_odds: a point "
        "that is chosen on few of them suits the mean of all better",
    )
    precision: Precision = Field(
        default="auto",
        description="as training.precision, tried apart; operating points and certificates belong "
        "to the arithmetic in which their cases were scored",
    )


class DecisionSection(Section):
    """What the operating point is chosen for."""

    maximize: Literal["dice"] = "dice"
    smallest_component: ComponentSize = Field(
        default=ANY_SIZE,
        description="smaller ones are removed: 5 mm3, of photographs 5 mm2, or a number of voxels",
    )

    @property
    def sizes(self) -> tuple[Size] | None:
        """The one size to choose from; None where components of any size stay."""
        return (self.smallest_component,) if self.smallest_component.removes else None
