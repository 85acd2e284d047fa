"""Does the search for look-alikes find what it should, and nothing else, and how long does it take?

Copies of a quarter of the cases are planted in another group, changed in one way at a time, and
searched for among all: in the built-in data set, and where RARESEG_DATA names the real data in
road photographs (crackforest) and in volumes (hippocampus). Of magnetic-tile, photographed up to
six times a tile, pairs are compared with the manifest's groups: on the half of the groups on which
the threshold was chosen, on the other half, and on all. Then 10,000 photographs of textures are
searched, a hundred of which have a copy.

    OMP_NUM_THREADS=1 python benchmarks/look_alikes.py [--only planted,tiles,speed]
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageOps
import SimpleITK as sitk  # noqa: N813 (as its own documentation does)
from joblib.externals.loky import get_reusable_executor
from scipy import ndimage

import rareseg as rs
from rareseg.data.dataset import open_dataset
from rareseg.data.look_alikes import LookAlike
from rareseg.data.records import Case, Dataset

DATA = os.environ.get("RARESEG_DATA")
PLANTED_EVERY = 4
Picture = PIL.Image.Image


def grey(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Picture], Picture]:
    """Make a change of values in [0, 1] one of a picture."""

    def changed(picture: Picture) -> Picture:
        values = np.asarray(picture, np.float64) / 255
        return PIL.Image.fromarray(np.uint8(np.clip(change(values), 0, 1) * 255))

    return changed


def light(values: np.ndarray) -> np.ndarray:
    ramp = np.linspace(0.5, 1.2, values.shape[1])
    return values * (ramp if values.ndim == 2 else ramp[:, None])


def noise(values: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(values.size)
    return values + rng.normal(0, 0.03, values.shape)


def cropped(share: float) -> Callable[[Picture], Picture]:
    """Cut ``share`` of both sides off at the left and at the top, as a camera that moved does."""
    return lambda p: p.crop((round(p.width * share), round(p.height * share), *p.size))


def scaled(factor: float) -> Callable[[Picture], Picture]:
    return lambda p: p.resize(
        (round(p.width * factor), round(p.height * factor)), PIL.Image.Resampling.BICUBIC
    )


def turned(how: PIL.Image.Transpose) -> Callable[[Picture], Picture]:
    return lambda p: p.transpose(how)


def chained(*changes: Callable) -> Callable:
    def all_of(item):
        for change in changes:
            item = change(item)
        return item

    return all_of


T = PIL.Image.Transpose
PHOTO_CHANGES: dict[str, tuple[Callable[[Picture], Picture], int | None]] = {
    "none": (lambda p: p, None),
    "half as bright": (grey(lambda v: v / 2), None),
    "1.6 times as bright, clipped": (grey(lambda v: v * 1.6), None),
    "contrast halved": (grey(lambda v: 0.3 + v / 2), None),
    "gamma 0.5": (grey(lambda v: v**0.5), None),
    "gamma 2": (grey(lambda v: v**2), None),
    "light that falls off": (grey(light), None),
    "noise of 3 % of the range": (grey(noise), None),
    "shifted by 3 %": (cropped(0.03), None),
    "shifted by 6 %": (cropped(0.06), None),
    "shifted by 10 %": (cropped(0.10), None),
    "shifted by 15 %": (cropped(0.15), None),
    "mirrored left to right": (turned(T.FLIP_LEFT_RIGHT), None),
    "mirrored top to bottom": (turned(T.FLIP_TOP_BOTTOM), None),
    "turned by 90°": (turned(T.ROTATE_90), None),
    "turned by 180°": (turned(T.ROTATE_180), None),
    "half the size": (scaled(0.5), None),
    "a quarter of the size": (scaled(0.25), None),
    "twice the size": (scaled(2.0), None),
    "JPEG, quality 50": (lambda p: p, 50),
    "JPEG, quality 15": (lambda p: p, 15),
    "gamma 0.6, shifted by 5 %, mirrored, 0.6 times the size, JPEG 60": (
        chained(grey(lambda v: v**0.6), cropped(0.05), turned(T.FLIP_LEFT_RIGHT), scaled(0.6)),
        60,
    ),
    "half as bright, shifted by 8 %, turned by 90°, half the size, JPEG 40": (
        chained(grey(lambda v: v / 2), cropped(0.08), turned(T.ROTATE_90), scaled(0.5)),
        40,
    ),
    "turned by 3° (not guaranteed)": (lambda p: p.rotate(3, PIL.Image.Resampling.BICUBIC), None),
}


def resampled(factor: tuple[float, float, float]) -> Callable[[sitk.Image], sitk.Image]:
    def change(volume: sitk.Image) -> sitk.Image:
        spacing = [s * f for s, f in zip(volume.GetSpacing(), factor, strict=True)]
        size = [max(1, int(n / f)) for n, f in zip(volume.GetSize(), factor, strict=True)]
        filters = sitk.ResampleImageFilter()
        filters.SetReferenceImage(volume)
        filters.SetOutputSpacing(spacing)
        filters.SetSize(size)
        filters.SetInterpolator(sitk.sitkLinear)
        return filters.Execute(volume)

    return change


def cut(low: tuple[int, int, int], high: tuple[int, int, int]) -> Callable:
    return lambda volume: sitk.Crop(volume, low, high)


def unspaced(volume: sitk.Image) -> sitk.Image:
    volume = sitk.Image(volume)
    volume.SetSpacing((1.0, 1.0, 1.0))
    return volume


def dimmed(volume: sitk.Image) -> sitk.Image:
    noisy = sitk.AdditiveGaussianNoise(sitk.Cast(volume, sitk.sitkFloat32), 3.0, 0.0, seed=1)
    return noisy * 0.4 + 50.0


def mirrored(volume: sitk.Image) -> sitk.Image:
    other = sitk.GetImageFromArray(sitk.GetArrayFromImage(volume)[:, :, ::-1])
    other.CopyInformation(volume)
    return other


VOLUME_CHANGES: dict[str, Callable[[sitk.Image], sitk.Image]] = {
    "none": lambda v: v,
    "another intensity, with noise": dimmed,
    "resampled to 1.5 times the spacing": resampled((1.5, 1.5, 1.5)),
    "resampled to twice the spacing": resampled((2.0, 2.0, 2.0)),
    "slices twice as far apart": resampled((1.0, 1.0, 2.0)),
    "resampled, its spacing lost": chained(resampled((1.5, 1.5, 1.5)), unspaced),
    "cropped by 1 to 4 voxels": cut((2, 3, 1), (1, 4, 2)),
    "mirrored": mirrored,
    "all of these but the lost spacing": chained(
        cut((1, 3, 1), (1, 2, 2)), mirrored, resampled((1.3, 1.3, 1.3)), dimmed
    ),
}


def look_alikes(dataset: Dataset, *, jobs: int, **track: Callable) -> tuple[LookAlike, ...]:
    """Return the pairs that every command speaks of."""
    return rs.inspect_dataset(dataset, jobs=jobs, **track).look_alikes


def told(pairs: Sequence[LookAlike], planted: dict[str, str]) -> str:
    """Return precision and recall: a pair is right where one shows the other's original."""
    right = sum(planted.get(p.b) == p.a or planted.get(p.a) == p.b for p in pairs)
    precision = f"{right / len(pairs):.3f}" if pairs else "none found"
    return f"{precision} | {right / len(planted):.3f}"


def plant_photographs(dataset: Dataset, title: str, jobs: int) -> None:
    """Print precision and recall of each change of photographs."""
    print(f"\n{title}\n\n| copies | precision | recall |\n|---|---|---|")
    originals = dataset.cases[::PLANTED_EVERY]
    for name, (change, quality) in PHOTO_CHANGES.items():
        with tempfile.TemporaryDirectory() as folder:
            copies, planted = [], {}
            for case in originals:
                picture = change(PIL.Image.open(case.images[0]))
                path = Path(folder) / f"copy-{case.id}.{'jpg' if quality else 'png'}"
                picture.save(path, **({"quality": quality} if quality else {}))
                copies.append(Case(path.stem, (path,), None, "planted"))
                planted[path.stem] = case.id
            mixed = replace(dataset, cases=(*dataset.cases, *copies))
            print(f"| {name} | {told(look_alikes(mixed, jobs=jobs), planted)} |", flush=True)


def plant_volumes(dataset: Dataset, title: str, jobs: int) -> None:
    """Print precision and recall of each change of volumes."""
    print(f"\n{title}\n\n| copies | precision | recall |\n|---|---|---|")
    originals = dataset.cases[::PLANTED_EVERY]
    for name, change in VOLUME_CHANGES.items():
        with tempfile.TemporaryDirectory() as folder:
            copies, planted = [], {}
            for case in originals:
                path = Path(folder) / f"copy-{case.id}.nii.gz"
                sitk.WriteImage(change(sitk.ReadImage(str(case.images[0]))), str(path))
                copies.append(Case(f"copy-{case.id}", (path,), None, "planted"))
                planted[f"copy-{case.id}"] = case.id
            mixed = replace(dataset, cases=(*dataset.cases, *copies))
            print(f"| {name} | {told(look_alikes(mixed, jobs=jobs), planted)} |", flush=True)


def planted(jobs: int) -> None:
    """Plant copies in the built-in data set and in real ones."""
    with tempfile.TemporaryDirectory() as folder:
        drawn = rs.write_specks(Path(folder) / "specks", rs.SpecksSettings(images=120, size=256))
        plant_photographs(open_dataset(drawn), "Built-in specks, 120 plates and 30 copies", jobs)
    if DATA:
        roads = open_dataset(Path(DATA) / "crackforest")
        plant_photographs(roads, "Crackforest, 80 photographs and 20 copies", jobs)
        brains = open_dataset(Path(DATA) / "hippocampus")
        few = replace(brains, cases=brains.cases[:100])
        plant_volumes(few, "Hippocampus, 100 volumes and 25 copies", jobs)


def chosen_on(group: str) -> bool:
    """Whether a group of magnetic-tile belongs to the half on which the threshold was chosen."""
    return int(hashlib.sha256(group.encode()).hexdigest(), 16) % 2 == 0


def draw_pairs(pairs: Sequence[LookAlike], dataset: Dataset, path: Path) -> None:
    """Draw pairs, four in a row, each picture with its contrast spread."""
    files = {case.id: case.images[0] for case in dataset.cases}
    side = 150
    sheet = PIL.Image.new("L", (4 * (2 * side + 20), -(-len(pairs) // 4) * (side + 24)), 255)
    pen = PIL.ImageDraw.Draw(sheet)
    for k, pair in enumerate(pairs):
        x, y = k % 4 * (2 * side + 20), k // 4 * (side + 24)
        for place, name in enumerate((pair.a, pair.b)):
            picture = PIL.ImageOps.autocontrast(PIL.Image.open(files[name]).convert("L"), 1)
            picture.thumbnail((side - 4, side - 4))
            sheet.paste(picture, (x + place * side, y + 14))
            pen.text((x + place * side, y), name[:24], fill=0)
    sheet.save(path)


def tiles(jobs: int, picture: Path | None) -> None:
    """Hold the pairs of magnetic-tile against its groups."""
    if not DATA:
        print("\nRARESEG_DATA is not set: magnetic-tile is left out.")
        return
    dataset = open_dataset(Path(DATA) / "magnetic-tile")
    halves = {
        "half of the groups, on which the threshold was chosen": chosen_on,
        "the other half": lambda group: not chosen_on(group),
        "all": lambda group: True,
    }
    print("\nmagnetic-tile\n\n| groups | photographs | pairs found | precision | recall |")
    print("|---|---|---|---|---|")
    for name, wanted in halves.items():
        cases = tuple(case for case in dataset.cases if wanted(case.group))
        groups = {case.id: case.group for case in cases}
        pairs = look_alikes(replace(dataset, cases=cases), jobs=jobs)
        same = sum(n * (n - 1) // 2 for n in Counter(groups.values()).values())
        right = sum(groups[p.a] == groups[p.b] for p in pairs)
        shares = f"{right / len(pairs):.4f} | {right / same:.4f}"
        print(f"| {name} | {len(cases)} | {len(pairs)} | {shares} |")
    across = Counter(
        tuple(sorted((groups[p.a], groups[p.b]))) for p in pairs if groups[p.a] != groups[p.b]
    )
    lowest = min(p.similarity for p in pairs if groups[p.a] != groups[p.b])
    print(f"\nPairs between groups (none less alike than {lowest:.2f}):")
    for (a, b), count in across.most_common():
        print(f"  {a} and {b}: {count}")
    if picture:
        least = {tuple(sorted((groups[p.a], groups[p.b]))): p for p in pairs}
        draw_pairs([least[pair] for pair, _ in across.most_common()], dataset, picture)
    found = {(p.a, p.b) for p in pairs}
    missed = Counter(
        groups[a]
        for a in groups
        for b in groups
        if a < b and groups[a] == groups[b] and (a, b) not in found
    )
    print("Pairs within a group that were not found:")
    for group, count in missed.most_common():
        print(f"  {group}: {count}")


def speed(jobs: int, count: int) -> None:
    """Search textures drawn on the fly, every hundredth of which has a darker, shifted copy."""
    with tempfile.TemporaryDirectory() as folder:
        planted, cases = {}, []
        for k in range(count):
            rng = np.random.default_rng(k - 1 if k % 100 == 1 else k)
            texture = sum(
                ndimage.gaussian_filter(rng.normal(size=(128, 128)), s, mode="wrap") * s
                for s in (1, 3, 8)
            )
            values = np.clip(128 + 60 * texture, 0, 255)
            if k % 100 == 1:
                values = values[5:, 4:] * 0.6
                planted[f"{k:05d}"] = f"{k - 1:05d}"
            path = Path(folder) / f"{k:05d}.png"
            PIL.Image.fromarray(values.astype(np.uint8)).save(path)
            cases.append(Case(path.stem, (path,), None))
        print(f"\n{count:,} photographs are drawn", flush=True)
        dataset = open_dataset(cases)
        started, here = time.perf_counter(), seconds_used()
        stages: list[tuple[str, float]] = []

        def track(items: Iterator, description: str, total: int) -> Iterator:
            stages.append((f"{description} ({total})", time.perf_counter() - started))
            return iter(items)

        pairs = look_alikes(dataset, jobs=jobs, track=track)
        took = time.perf_counter() - started
        print(f"\n{count:,} photographs of 128², {jobs} processes: {took:.0f} s")
        for stage, at in stages:
            print(f"  from {at:.0f} s: {stage}")
        get_reusable_executor().shutdown()  # its use is counted once its processes have ended
        used = [u - h for u, h in zip(seconds_used(), here, strict=True)]
        print(f"  processor time here {used[0]:.0f} s, in its workers {used[1]:.0f} s")
        print(f"  precision | recall of the {len(planted)} copies: {told(pairs, planted)}")
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        each = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(f"  most memory: {own:.0f} MiB here, {each:.0f} MiB in the largest worker")


def seconds_used() -> tuple[float, float]:
    """Return the processor seconds of this process, and of its children that have ended."""
    own, workers = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return own.ru_utime + own.ru_stime, workers.ru_utime + workers.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="planted,tiles,speed")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--count", type=int, default=10_000, help="photographs for speed")
    parser.add_argument(
        "--picture", type=Path, help="draws of each two groups of tiles the least alike pair here"
    )
    options = parser.parse_args()
    for part in options.only.split(","):
        if part == "planted":
            planted(options.jobs)
        elif part == "tiles":
            tiles(options.jobs, options.picture)
        elif part == "speed":
            speed(options.jobs, options.count)
        else:
            parser.error(f"{part} is none of planted, tiles, speed")


if __name__ == "__main__":
    main()
