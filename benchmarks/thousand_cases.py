"""Does a laptop's memory hold the evaluation of a thousand images of 512²?

Draws 1,000 specks images, trains a small network for a few steps on 60 others, and evaluates once
over a tenth of the images and once over all, each in a process of its own: what grows between them
is what a case costs. Needs no data.

    python benchmarks/thousand_cases.py [--images 1000]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rareseg.data.builtin.specks import SpecksSettings, write_specks

TRAIN = (
    "split.train=0.4", "split.validation=0.3", "split.test=0.3", "training.steps=60",
    "network.width=[8, 16, 16]", "sampling.patch_size=[64, 64]",
)  # fmt: skip

MEASURED = """
import json, resource, sys
from rareseg.run.evaluate import evaluate
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
evaluate(sys.argv[1], sys.argv[2], sys.argv[3])
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"imports": before / 1024, "peak": after / 1024}))
"""


def evaluated(run: Path, data: Path, out: Path) -> dict[str, float]:
    """Evaluate in a process of its own; return seconds and MiB (after the imports, at the peak)."""
    started = time.perf_counter()
    call = [sys.executable, "-c", MEASURED, str(run), str(data), str(out)]
    done = subprocess.run(call, check=True, capture_output=True, encoding="utf-8")
    return {**json.loads(done.stdout.splitlines()[-1]), "seconds": time.perf_counter() - started}


def main() -> None:
    """Draw, train, evaluate twice and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1000)
    images = parser.parse_args().images
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        small = write_specks(root / "small", SpecksSettings(images=60, size=512, seed=1))
        command = [
            sys.executable,
            "-m",
            "rareseg.cli",
            "train",
            str(small),
            "--out",
            str(root / "run"),
        ]
        for setting in TRAIN:
            command += ["--set", setting]
        subprocess.run(command, check=True, capture_output=True)
        rows = []
        for n in (images // 10, images):
            data = write_specks(root / f"{n}", SpecksSettings(images=n, size=512, seed=2))
            rows.append((n, evaluated(root / "run", data, root / f"out_{n}")))
            report = (root / f"out_{n}" / "report.html").stat().st_size / 2**20
            rows[-1][1]["report"] = report
    print("| images of 512² | seconds | MiB after imports | MiB at the peak | report, MiB |")
    print("|---|---|---|---|---|")
    for n, found in rows:
        print(
            f"| {n:,} | {found['seconds']:.0f} | {found['imports']:.0f} | {found['peak']:.0f} | "
            f"{found['report']:.1f} |"
        )
    (few, less), (many, more) = rows
    print(f"\n{1024 * (more['peak'] - less['peak']) / (many - few):.0f} KiB a case")


if __name__ == "__main__":
    main()
