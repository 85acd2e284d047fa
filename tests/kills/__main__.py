"""`PYTHONPATH=tests python -m kills --kills 60 --seed 0`."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from kills.killing_runs import Killing, Report
from kills.scenarios import SCENARIOS


def main() -> int:
    """Kill every command in turn until so many kills are done, then run each twice at once."""
    parser = argparse.ArgumentParser(prog="kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="names of scenarios, with commas")
    parser.add_argument("--no-pairs", action="store_true", help="do not run two at once")
    asked = parser.parse_args()
    chosen = [one for one in SCENARIOS if not asked.only or one.name in asked.only.split(",")]
    rng, report, pairs = random.Random(asked.seed), Report(), Report()
    with tempfile.TemporaryDirectory() as place:
        killing = Killing(Path(place))
        turn = 0
        while report.kills < asked.kills and turn < 4 * asked.kills:
            scenario = chosen[turn % len(chosen)]
            own = Report()
            killing.kill(scenario, rng, own)
            report.add(own)
            turn += 1
            print(f"{scenario.name}: {own.line()}", *own.faults, sep="\n  ", flush=True)  # noqa: T201
        for scenario in [] if asked.no_pairs else chosen:
            own = Report()
            codes = killing.twice_at_once(scenario, own)
            pairs.add(own)
            told = f"{scenario.name}, two at once: exit codes {codes}"
            print(told, *own.faults, sep="\n  ", flush=True)  # noqa: T201
        killing.close()
    print(report.line())  # noqa: T201
    print(f"two at once: {pairs.line()}")  # noqa: T201
    return 1 if report.faults or pairs.faults else 0


if __name__ == "__main__":
    sys.exit(main())
