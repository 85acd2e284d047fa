"""Networks: one section of the recipe in, one torch module out.

Each network is a :class:`~rareseg.prediction.networks.network_spec.NetworkSpec`, registered by
``@network``; importing this package registers those that come with rareseg. May import
``prediction.encoders``, ``prediction.weights`` and the recipe.
"""

from rareseg.prediction.networks import (  # noqa: F401 - registers the networks
    basic_unet,
    encoder_unet,
    plain_unet,
    residual_unet,
    segresnet,
)
from rareseg.prediction.networks.network_spec import (
    Builder,
    NetworkParts,
    NetworkSpec,
    build_network,
    deepest,
    encoder,
    first_weights,
    network,
    networks,
    require_fitting_windows,
    spec_of,
    stride,
)

__all__ = [
    "Builder",
    "NetworkParts",
    "NetworkSpec",
    "build_network",
    "deepest",
    "encoder",
    "first_weights",
    "network",
    "networks",
    "require_fitting_windows",
    "spec_of",
    "stride",
]
