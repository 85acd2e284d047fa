"""Losses: one section of the recipe in, a function (logits, labels) → scalar out.

Each loss is a :class:`~rareseg.training.losses.loss_spec.LossSpec`, registered by ``@loss``;
importing this package registers those that come with rareseg. Two rules hold for all of them.
Voxels labelled ``IGNORE`` cost nothing. A class that is absent from the batch still costs when it
is predicted: losses that are blind to it (dice, Tversky) are always joined with the cross-entropy,
whose gradient there is of order one.
"""

from rareseg.training.losses import (  # noqa: F401 - registers the losses
    component_loss,
    cross_entropy,
    focal,
    hard,
    overlap_losses,
)
from rareseg.training.losses.class_weights import frequency_weights
from rareseg.training.losses.loss_spec import (
    Builder,
    ComponentLoss,
    Loss,
    LossSpec,
    loss,
    losses,
    make_loss,
    spec_of,
)
from rareseg.training.losses.training_output import Output, training_loss

__all__ = [
    "Builder",
    "ComponentLoss",
    "Loss",
    "LossSpec",
    "Output",
    "frequency_weights",
    "loss",
    "losses",
    "make_loss",
    "spec_of",
    "training_loss",
]
