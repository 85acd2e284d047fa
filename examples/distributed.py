"""Two processes that share one plan of patches, train one network and mine its errors together.

python examples/distributed.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F

import rareseg as rs
from rareseg.sampling.patches.batch import Batch

Patch = tuple[int, ...]
RANKS, EPOCHS, STEPS = 2, 2, 10


def make_sampler(store: rs.Store, rank: int, ranks: int) -> rs.PatchSampler:
    """Make the sampler of one rank; ``batch_size`` is that of all ranks together."""
    return rs.PatchSampler(
        store,
        strategy="hard",
        patch_size=(48, 48),
        batch_size=16,
        seed=0,
        epoch_length=STEPS,
        rank=rank,
        world_size=ranks,
    )


def patches_of(batch: Batch) -> list[Patch]:
    """Name a batch's patches: its number, and the case, the corner and the pool of each."""
    places = batch.places
    corners = map(tuple, places.corner.tolist())
    return [
        (batch.number, case, *corner, pool)
        for case, corner, pool in zip(places.case, corners, places.pool, strict=True)
    ]


def average_gradients(network: torch.nn.Module) -> None:
    """Give every rank the mean of all ranks' gradients.

    DistributedDataParallel does this while the gradients are still computed. It is not used here
    since it keeps the process group, and with it gloo's threads, alive until the interpreter ends,
    and a thread that gives a finished tensor back at that moment aborts the process (torch 2.13).
    """
    for parameter in network.parameters():
        dist.all_reduce(parameter.grad)
        parameter.grad /= RANKS


def run(rank: int, folder: Path) -> None:
    """Be one of the processes."""
    torch.set_num_threads(1)
    meeting = (folder / "meeting").as_uri()
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=RANKS)
    store = rs.open_store(folder / "cache")
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 8, 7, padding=3), torch.nn.ReLU(), torch.nn.Conv2d(8, 2, 1)
    )
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    sampler = make_sampler(store, rank, RANKS)
    alone = make_sampler(store, 0, 1)
    for epoch in range(EPOCHS):
        own: list[Patch] = []
        for batch in sampler:
            optimizer.zero_grad()
            loss = F.cross_entropy(network(batch.images), batch.labels, ignore_index=255)
            loss.backward()
            average_gradients(network)
            optimizer.step()
            own += patches_of(batch)

        gathered: list[list[Patch]] = [[] for _ in range(RANKS)]
        dist.all_gather_object(gathered, own)
        drawn = [patch for part in gathered for patch in part]
        planned = [patch for batch in alone for patch in patches_of(batch)]
        if rank == 0:
            counts = [len(part) for part in gathered]
            equal = sorted(drawn) == sorted(planned)
            print(f"epoch {epoch}: {counts} patches, together the plan of one process: {equal}")

        # One process mines and tells the others, so that all go on drawing from the same pools.
        found = [None]
        if rank == 0:
            found = [sampler.mine(lambda images: network(images).softmax(1))]
            print("voxels found hard:", {name: p.size for name, p in found[0].pools.items()})
        dist.broadcast_object_list(found)
        if rank:
            sampler.use(found[0])
        alone.use(found[0])
    dist.destroy_process_group()


def main(folder: Path) -> None:
    """Write specks and their store below ``folder`` once, then start the processes."""
    rs.write_specks(folder / "data", rs.SpecksSettings(images=12, size=96, contrast=4.0))
    rs.build_store(rs.open_dataset(folder / "data"), folder / "cache")
    torch.multiprocessing.spawn(run, args=(folder.resolve(),), nprocs=RANKS)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
