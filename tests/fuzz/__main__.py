"""`PYTHONPATH=tests python -m fuzz --inputs 2000 --out FOLDER`; see CONTRIBUTING.md."""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
from pathlib import Path

from corpus.finished_run import make_run
from fuzz.campaign import run_campaign
from fuzz.targets import inputs
from fuzz.worker import Worker


def main() -> int:
    """Run the fuzzer, print the counts and write the smallest failing inputs."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=None, help="drawn and printed if not given")
    parser.add_argument("--out", type=Path, default=Path("fuzz-failures"))
    asked = parser.parse_args()
    first_seed = secrets.randbelow(1 << 31) if asked.seed is None else asked.seed
    with tempfile.TemporaryDirectory() as place:
        data, run = make_run(Path(place))
        worker = Worker(run, data)
        campaign = run_campaign(asked.inputs, inputs(run), worker, first_seed=first_seed)
    campaign.save(asked.out)
    for line in (f"seed {first_seed}", *campaign.lines()):
        print(line)  # noqa: T201
    return 1 if campaign.faults else 0


if __name__ == "__main__":
    sys.exit(main())
