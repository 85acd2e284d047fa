"""Registry of losses, found by their section of the recipe.

A loss is one section (what it reads) and one function (how it is built)::

    class MineSection(LossSection):
        name: Literal["mine"] = "mine"
        power: float = 2.0

    @loss(MineSection, proper=False)
    def mine(settings, classes):
        def cost(logits, labels):
            return ...
        return cost
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from torch import Tensor

from rareseg.errors import RecipeError
from rareseg.recipe import LOSS_SECTIONS, LossSection
from rareseg.sampling.patches.window_components import Components, Regions, components_in
from rareseg.training.losses.class_weights import require_weights_of
from rareseg_runner.image_records import Classes

Loss = Callable[[Tensor, Tensor], Tensor]
"""From logits (B, classes, *space), float32 or float64, and labels (B, *space) int64 to a scalar.

Labels are class indices, or ``IGNORE`` where nothing is known. A batch in which all is ignored
costs 0 and has a gradient of 0.
"""


@dataclass(frozen=True)
class ComponentLoss:
    """A loss that reads, beside the labels, which component each voxel belongs to.

    ``cost`` takes logits, labels and
    :class:`~rareseg.sampling.patches.window_components.Components`. A run gives it those of whole
    images, for which its sampler looks because the loss is one of these. Called with logits and
    labels alone, as any other, it takes the components that each patch shows.
    """

    cost: Callable[[Tensor, Tensor, Components], Tensor]
    regions: Regions

    def __call__(
        self, logits: Tensor, labels: Tensor, components: Components | None = None
    ) -> Tensor:
        """Return the scalar that a batch costs."""
        if components is None:
            components = components_in(labels, self.regions)
        return self.cost(logits, labels, components)


S = TypeVar("S", bound=LossSection)

Builder = Callable[[S, Classes], Loss]
"""Makes a loss from its section of the recipe and the classes with their regions."""


@dataclass(frozen=True)
class LossSpec(Generic[S]):
    """Everything that the package knows of a loss.

    ``section`` is its part of the recipe, ``build`` makes it. It is ``proper`` where, with its
    usual settings, it is a proper scoring rule in each voxel: its expectation is least where the
    softmax is the probability of the label (Gneiting and Raftery 2007). Only then can the prior
    that the sampler delivered be undone (Elkan 2001; Saerens et al. 2002). One that is proper and
    has ``class_weights`` w is least at probabilities in proportion to p·w.
    """

    section: type[S]
    build: Builder[S]
    proper: bool

    @property
    def name(self) -> str:
        """The loss's name in a recipe."""
        return str(self.section.model_fields["name"].default)


_SPECS: dict[type[LossSection], LossSpec[Any]] = {}


def loss(section: type[S], *, proper: bool) -> Callable[[Builder[S]], Builder[S]]:
    """Register the decorated function as the builder of the loss that ``section`` describes.

    The section is entered in the recipe where it is not yet known there. Raises
    :class:`RecipeError` where it has no name, or another section has its name already.
    """

    def register(build: Builder[S]) -> Builder[S]:
        LOSS_SECTIONS.register(section)
        _SPECS[section] = LossSpec(section, build, proper)
        return build

    return register


def losses() -> Mapping[str, LossSpec[Any]]:
    """Return every registered loss by its name."""
    return {spec.name: spec for spec in _SPECS.values()}


def spec_of(settings: LossSection) -> LossSpec[Any]:
    """Return the record of the loss that a section of a recipe describes.

    Raises :class:`RecipeError` where the section is not registered.
    """
    spec = _SPECS.get(type(settings))
    if spec is None:
        raise RecipeError(
            f"loss.name {settings.name!r} has no builder for {type(settings).__name__}; register "
            "one with @loss(SECTION, proper=...) in a module that is imported before the run, or "
            f"name one of {', '.join(losses())}."
        )
    return spec


def make_loss(settings: LossSection, classes: Classes) -> Loss:
    """Return the loss that ``settings`` describe.

    Raises :class:`RecipeError` where nothing builds it, and where it weighs another number of
    classes than there are.
    """
    spec = spec_of(settings)
    require_weights_of(settings, classes)
    built: Loss = spec.build(settings, classes)
    return built
