"""The sampler in MONAI's own training loop, where half of the patches hold nothing.

Needs the package pytorch-ignite. python examples/monai_training.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from monai.engines import SupervisedTrainer
from monai.handlers import StatsHandler, from_engine
from monai.losses import DiceCELoss
from monai.networks.nets import BasicUNet

import rareseg as rs


def prepare(batch, device, non_blocking, **_):
    """Return what MONAI trains with: images (B, C, *patch) and labels (B, 1, *patch)."""
    batch = batch.to(device, non_blocking=non_blocking)
    return batch.images, batch.labels.unsqueeze(1)


def main(folder: Path, epochs: int = 2, steps: int = 10) -> None:
    """Train a small U-Net on specks below ``folder``."""
    rs.write_specks(folder / "data", rs.SpecksSettings(images=12, size=96, contrast=4.0))
    store = rs.build_store(rs.open_dataset(folder / "data"), folder / "cache")
    sampler = rs.PatchSampler(
        store,
        strategy="negatives",
        patch_size=(48, 48),
        batch_size=8,
        seed=0,
        epoch_length=steps,
        # MONAI's losses know no voxels to ignore: no patch is to reach beyond its image.
        border="shift",
    )
    torch.manual_seed(0)
    network = BasicUNet(2, in_channels=1, out_channels=2, features=(8, 8, 8, 16, 16, 8))
    loader = rs.PatchLoader(sampler, workers=2)
    SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=epochs,
        train_data_loader=loader,
        epoch_length=len(loader),
        prepare_batch=prepare,
        network=network,
        optimizer=torch.optim.AdamW(network.parameters(), lr=1e-2),
        loss_function=DiceCELoss(softmax=True, to_onehot_y=True),
        train_handlers=[StatsHandler(output_transform=from_engine("loss", first=True))],
    ).run()
    report = sampler.delivered()
    for name, centres in zip(report.pools, report.centres, strict=True):
        print(f"{centres} of {report.patches} patches from {name}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
