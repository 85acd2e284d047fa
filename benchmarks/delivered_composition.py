"""The composition asked for beside the one delivered, for every registered strategy, as pictures.

Each strategy draws 6,000 patches of 64² from all cases of a data set; those that mine do so once in
the middle, with a small network that has made 60 steps. Delivered is what the sampler counted in
the patches that it cut. One picture for each data set, in colours that colour-blind readers tell
apart (Okabe and Ito's).

    RARESEG_DATA=data python benchmarks/delivered_composition.py --out docs
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
import torch
import torch.nn.functional as F

import rareseg as rs
from rareseg.recipe import MiningSection
from rareseg.sampling.patches.composition import Composition
from rareseg.sampling.pools.mined_pools import MinedPools
from rareseg.sampling.strategies.strategy import strategies
from rareseg_runner.image_records import IGNORE

DATA = ("magnetic-tile", "brats2013")
PATCH, BATCH, BATCHES, STEPS = (64, 64), 120, 50, 60

ASKED, DELIVERED = (230, 159, 0), (0, 114, 178)
PAPER, INK, PALE, RULE = (255, 255, 255), (20, 20, 20), (95, 95, 95), (225, 225, 225)
WIDTH, LEFT, RIGHT, ROW, TITLE, GAP = 900, 300, 650, 24, 26, 14


def make_sampler(store: rs.Store, strategy: str) -> rs.PatchSampler:
    """Return the sampler of a strategy; those that need settings of their own get plain ones."""
    names = store.classes.names
    rest = 0.5 / (len(names) - 1)
    return rs.PatchSampler(
        store,
        strategy=strategy,
        patch_size=PATCH,
        batch_size=BATCH,
        seed=0,
        shares=dict.fromkeys(names[:-1], rest) | {names[-1]: 0.5},
        steps=BATCHES,
        epoch_length=BATCHES // 2,
        mining=MiningSection(voxels=2000),
    )


def learn_a_little(store: rs.Store) -> torch.nn.Module:
    """Return a small network that errs to both sides: in its loss all classes weigh the same."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(store.channels, 8, 5, padding=2),
        torch.nn.ReLU(),
        torch.nn.Conv2d(8, 8, 5, padding=4, dilation=2),
        torch.nn.ReLU(),
        torch.nn.Conv2d(8, store.classes.count, 1),
    )
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    sampler = rs.PatchSampler(
        store, strategy="balanced", patch_size=PATCH, batch_size=16, seed=1, epoch_length=STEPS
    )
    for batch in sampler:
        optimizer.zero_grad()
        counts = torch.from_numpy(batch.voxels[: store.classes.count]).clamp(min=1)
        weight = 1 / counts.float()
        loss = F.cross_entropy(network(batch.images), batch.labels, weight, ignore_index=IGNORE)
        loss.backward()
        optimizer.step()
    return network.eval()


def find_hard(store: rs.Store) -> MinedPools:
    """Return what a round of mining finds in the middle of the run."""
    network = learn_a_little(store)
    sampler = make_sampler(store, "hard")
    for _ in sampler:
        pass
    found = sampler.mine(lambda images: network(images).softmax(1))
    print({name: pool.size for name, pool in found.pools.items()}, file=sys.stderr)
    return found


def deliver(store: rs.Store, strategy: str, mined: MinedPools) -> Composition:
    """Draw the patches of a strategy and return what was delivered."""
    sampler = make_sampler(store, strategy)
    for _ in sampler:
        pass
    if sampler.mining_due:
        sampler.use(mined)
    for _ in sampler:
        pass
    return sampler.delivered()


def differences(report: Composition) -> list[float]:
    """Return for each pool how many patches it got beyond those asked for."""
    return [
        centres - report.patches * asked
        for centres, asked in zip(report.centres, report.asked, strict=True)
    ]


def draw(heading: str, reports: dict[str, Composition]) -> PIL.Image.Image:
    """Return the picture: a block for each strategy, two bars for each of its pools."""
    heights = [TITLE + ROW * len(report.pools) + ROW + GAP for report in reports.values()]
    picture = PIL.Image.new("RGB", (WIDTH, 74 + sum(heights)), PAPER)
    pen = PIL.ImageDraw.Draw(picture)
    large, plain, small = (PIL.ImageFont.load_default(size) for size in (17, 14, 12))
    pen.text((16, 10), heading, INK, large)
    for x, colour, word in ((LEFT, ASKED, "asked for"), (LEFT + 110, DELIVERED, "delivered")):
        pen.rectangle((x, 42, x + 22, 52), fill=colour)
        pen.text((x + 28, 38), word, INK, small)
    top = 66
    for (name, report), height in zip(reports.items(), heights, strict=True):
        pen.line((16, top, WIDTH - 16, top), RULE)
        pen.text((16, top + 5), name, INK, plain)
        rows = zip(report.pools, report.asked, report.centres, strict=True)
        for number, (pool, asked, centres) in enumerate(rows):
            y = top + TITLE + number * ROW
            share = centres / report.patches
            pen.text((28, y + 2), pool, INK, small)
            for line, (value, colour) in enumerate(((asked, ASKED), (share, DELIVERED))):
                begin = y + 2 + 8 * line
                pen.rectangle(
                    (LEFT, begin, LEFT + round(value * (RIGHT - LEFT)), begin + 6), fill=colour
                )
            pen.text(
                (RIGHT + 16, y + 2),
                f"{_percent(asked)} asked · {_percent(share)} delivered",
                PALE,
                small,
            )
        held = ", ".join(
            f"{name} {_percent(part)}"
            for name, part in zip(report.classes, report.prior, strict=True)
        )
        pen.text((28, top + height - ROW - GAP + 4), f"their voxels: {held}", PALE, small)
        top += height
    return picture


def table(reports: dict[str, Composition]) -> str:
    """Return what was drawn as a Markdown table."""
    rows: list[Sequence[str]] = [("strategy", "pool", "asked for", "delivered"), ("---",) * 4]
    for name, report in reports.items():
        for pool, asked, centres in zip(report.pools, report.asked, report.centres, strict=True):
            rows.append((name, pool, _percent(asked), _percent(centres / report.patches)))
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def main() -> None:
    """Draw from each data set, print the table and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path())
    parser.add_argument("--stores", type=Path, help="folder that keeps the stores")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    stores = arguments.stores or Path(tempfile.mkdtemp(prefix="stores-"))
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in DATA:
        dataset = rs.open_dataset(Path(os.environ["RARESEG_DATA"]) / name)
        store = rs.build_store(dataset, stores / name)
        mined = find_hard(store)
        reports = {found: deliver(store, found, mined) for found in strategies()}
        most = max(abs(gap) for report in reports.values() for gap in differences(report))
        patches = BATCH * BATCHES
        print(f"## {name}\n\n{table(reports)}\n")
        print(f"No pool is further than {most:.2f} of {patches:,} patches from what was asked.\n")
        heading = f"{name}: {patches:,} patches of each strategy, by the pool of their centre"
        # Few colours make a small file.
        picture = draw(heading, reports).quantize(64)
        picture.save(arguments.out / f"delivered-{name}.png", optimize=True)


if __name__ == "__main__":
    main()
