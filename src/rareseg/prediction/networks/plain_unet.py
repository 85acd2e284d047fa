"""Plain U-Nets: nnU-Net's, and the same at half resolution with a light head at full."""

from __future__ import annotations

import torch
from monai.networks.nets import DynUNet
from torch import Tensor

from rareseg.prediction.networks.network_spec import NetworkParts, network
from rareseg.prediction.networks.norms import monai_norm
from rareseg.recipe.network_sections import DynUNetSection, HalfUNetSection


def _core(
    settings: DynUNetSection | HalfUNetSection, *, dimension: int, channels: int, outputs: int
) -> torch.nn.Module:
    levels = len(settings.width)
    core: torch.nn.Module = DynUNet(
        spatial_dims=dimension,
        in_channels=channels,
        out_channels=outputs,
        kernel_size=(3,) * levels,
        strides=(1, *(2,) * (levels - 1)),
        upsample_kernel_size=(2,) * (levels - 1),
        filters=settings.width,
        norm_name=monai_norm(settings.norm, settings.width),
        dropout=settings.dropout or None,
        res_block=settings.residual,
    )
    return core


@network(
    DynUNetSection,
    stride=lambda s: 2 ** (len(s.width) - 1),
    parts=lambda s: NetworkParts(
        ("input_block", "downsamples", "bottleneck"), "bottleneck", s.width[-1]
    ),
)
def dynunet(
    settings: DynUNetSection, /, *, dimension: int, channels: int, classes: int
) -> torch.nn.Module:
    """The plain U-Net that nnU-Net configures (Isensee et al. 2021), without deep supervision."""
    return _core(settings, dimension=dimension, channels=channels, outputs=classes)


@network(
    HalfUNetSection,
    stride=lambda s: 2 ** len(s.width),
    parts=lambda s: NetworkParts(
        ("core.input_block", "core.downsamples", "core.bottleneck"), "core.bottleneck", s.width[-1]
    ),
)
def half_unet(
    settings: HalfUNetSection, /, *, dimension: int, channels: int, classes: int
) -> torch.nn.Module:
    """The plain U-Net at half resolution, with a light head at full resolution."""
    outputs = settings.width[0]
    core = _core(settings, dimension=dimension, channels=channels * 2**dimension, outputs=outputs)
    return HalfResolution(
        core, outputs=outputs, dimension=dimension, channels=channels, classes=classes
    )


class HalfResolution(torch.nn.Module):
    """All the work at half resolution, the outline at full resolution.

    The image is folded 2 x 2 (x 2) voxels into channels (Shi et al. 2016, the inverse of their
    sub-pixel layer), goes through ``core``, which gives ``outputs`` channels, is unfolded by a
    transposed convolution, joined with the image itself and refined by one convolution. About four
    (eight) times cheaper than the same U-Net at full resolution.
    """

    FEATURES = 8

    def __init__(
        self,
        core: torch.nn.Module,
        *,
        outputs: int,
        dimension: int,
        channels: int,
        classes: int,
    ) -> None:
        super().__init__()
        convolution = torch.nn.Conv2d if dimension == 2 else torch.nn.Conv3d
        transposed = torch.nn.ConvTranspose2d if dimension == 2 else torch.nn.ConvTranspose3d
        self.core = core
        self.unfold = transposed(outputs, self.FEATURES, kernel_size=2, stride=2)
        self.refine = torch.nn.Sequential(
            convolution(self.FEATURES + channels, self.FEATURES, 3, padding=1),
            torch.nn.GroupNorm(1, self.FEATURES),
            torch.nn.LeakyReLU(0.01, inplace=True),
            convolution(self.FEATURES, classes, 1),
        )

    def forward(self, images: Tensor) -> Tensor:
        """From (B, C, *space), every side even, to logits (B, classes, *space)."""
        features = self.unfold(self.core(fold(images)))
        logits: Tensor = self.refine(torch.cat([features, images], dim=1))
        return logits


def fold(images: Tensor) -> Tensor:
    """Move 2 x 2 (x 2) neighbours into channels: (B, C, *space) to (B, C·2**D, *space / 2).

    What is returned lies channels last, as the convolution that follows wants it.
    """
    batch, channels, *space = images.shape
    axes = len(space)
    split = images.reshape(batch, channels, *(n for side in space for n in (side // 2, 2)))
    inner = [3 + 2 * axis for axis in range(axes)]
    outer = [2 + 2 * axis for axis in range(axes)]
    folded = split.permute(0, *outer, 1, *inner)
    last = folded.reshape(batch, *(side // 2 for side in space), channels * 2**axes)
    return last.movedim(-1, 1)
