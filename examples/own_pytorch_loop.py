"""Only the sampler, the score table and the decision, in a plain PyTorch loop of one's own.

python examples/own_pytorch_loop.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.nn.functional as F

import rareseg as rs


def main(folder: Path, steps: int = 60) -> None:
    """Train a tiny network on specks below ``folder`` and choose where to cut its scores."""
    rs.write_specks(folder / "data", rs.SpecksSettings(images=24, size=96, contrast=4.0))
    store = rs.build_store(rs.open_dataset(folder / "data"), folder / "cache")
    learning, held_out = store.cases.ids[:16], store.cases.ids[16:]

    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 16, 7, padding=3),
        torch.nn.ReLU(),
        torch.nn.Conv2d(16, 16, 5, padding=2),
        torch.nn.ReLU(),
        torch.nn.Conv2d(16, 2, 1),
    )
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    sampler = rs.PatchSampler(
        store.subset(learning),
        strategy="balanced",
        patch_size=(48, 48),
        batch_size=16,
        seed=0,
        epoch_length=steps,
    )
    for batch in sampler:
        optimizer.zero_grad()
        loss = F.cross_entropy(network(batch.images), batch.labels, ignore_index=255)
        loss.backward()
        optimizer.step()
    asked = dict(zip(sampler.delivered().pools, sampler.delivered().asked, strict=True))
    print("asked for", asked, "delivered", sampler.delivered().centres)

    probabilities, references = {}, {}
    with torch.inference_mode():
        for case in held_out:
            row = store.row(case)
            scores = network(torch.from_numpy(store.values(row)[:, 0])[None]).softmax(1)
            probabilities[case] = scores[0, 1].numpy()
            references[case] = store.label(row)[0] == 1
    table = rs.score_cases(probabilities, references)
    point = rs.choose_operating_point(table, region="foreground", maximize="dice")
    print(point)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
