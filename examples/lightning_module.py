"""The sampler in Lightning: mining between epochs, and a checkpoint in mid-epoch to resume from.

Needs the package lightning. python examples/lightning_module.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import lightning as L
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import ModelCheckpoint

import rareseg as rs

EPOCHS, STEPS, SAVED_AT = 2, 12, 18


class Segmenter(L.LightningModule):
    """A tiny network that learns from batches of patches."""

    def __init__(self, sampler: rs.PatchSampler) -> None:
        super().__init__()
        self.sampler = sampler
        self.network = torch.nn.Sequential(
            torch.nn.Conv2d(1, 8, 7, padding=3), torch.nn.ReLU(), torch.nn.Conv2d(8, 2, 1)
        )

    def training_step(self, batch, index):
        """Learn from one batch, which Lightning has moved to the device."""
        return F.cross_entropy(self.network(batch.images), batch.labels, ignore_index=255)

    def on_train_epoch_end(self) -> None:
        """Look for what the network finds hard; the next epoch draws from it."""
        if self.sampler.mining_due:
            found = self.sampler.mine(
                lambda images: self.network(images.to(self.device)).softmax(1)
            )
            print("voxels found hard:", {name: pool.size for name, pool in found.pools.items()})

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimiser."""
        return torch.optim.AdamW(self.parameters(), lr=1e-2)


def train(store: rs.Store, folder: Path, resume: Path | None = None) -> Segmenter:
    """Train for two epochs, from a checkpoint on where one is given."""
    L.seed_everything(0, verbose=False)
    sampler = rs.PatchSampler(
        store, strategy="hard", patch_size=(48, 48), batch_size=16, seed=0, epoch_length=STEPS
    )
    # A loader has what Lightning asks for: a length, and a state that goes into checkpoints.
    loader = rs.PatchLoader(sampler, workers=2)
    model = Segmenter(sampler)
    saving = ModelCheckpoint(folder, filename="{step}", every_n_train_steps=SAVED_AT)
    trainer = L.Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        callbacks=[saving],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, loader, ckpt_path=resume)
    return model


def main(folder: Path) -> None:
    """Train on specks below ``folder`` at one go, then again from the middle of the last epoch."""
    rs.write_specks(folder / "data", rs.SpecksSettings(images=12, size=96, contrast=4.0))
    store = rs.build_store(rs.open_dataset(folder / "data"), folder / "cache")
    whole = train(store, folder / "whole")
    resumed = train(store, folder / "resumed", folder / "whole" / f"step={SAVED_AT}.ckpt")
    same = all(map(torch.equal, whole.parameters(), resumed.parameters()))
    print(f"resumed after step {SAVED_AT} of {EPOCHS * STEPS}, the same weights: {same}")
    print("the same account:", resumed.sampler.delivered() == whole.sampler.delivered())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
