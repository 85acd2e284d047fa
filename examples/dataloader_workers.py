"""Patches cut by the worker processes of a PyTorch ``DataLoader``.

python examples/dataloader_workers.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.nn.functional as F

import rareseg as rs


def train(store: rs.Store, workers: int) -> tuple[list[float], rs.PatchSampler]:
    """Train a tiny network for 30 steps; returns the losses and the sampler with its account."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 8, 7, padding=3), torch.nn.ReLU(), torch.nn.Conv2d(8, 2, 1)
    )
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    sampler = rs.PatchSampler(
        store, strategy="balanced", patch_size=(48, 48), batch_size=16, seed=0, epoch_length=30
    )
    losses = []
    for batch in rs.PatchLoader(sampler, workers=workers):
        optimizer.zero_grad()
        loss = F.cross_entropy(network(batch.images), batch.labels, ignore_index=255)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, sampler


def main(folder: Path) -> None:
    """Train on specks below ``folder`` with two workers, and without any for comparison."""
    rs.write_specks(folder / "data", rs.SpecksSettings(images=12, size=96, contrast=4.0))
    store = rs.build_store(rs.open_dataset(folder / "data"), folder / "cache")
    losses, sampler = train(store, workers=2)
    alone, _ = train(store, workers=0)
    print(
        "delivered", dict(zip(sampler.delivered().pools, sampler.delivered().centres, strict=True))
    )
    print(f"last loss {losses[-1]:.4f} with two workers, {alone[-1]:.4f} with none")
    print("the same batches in the same order:", losses == alone)


# Where worker processes are spawned, they import this file: nothing may happen when they do.
if __name__ == "__main__":
    main(Path(sys.argv[1]))
