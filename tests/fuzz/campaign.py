"""Draw inputs with Hypothesis, count what becomes of them, and shrink each new fault."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky

from fuzz.targets import Tried
from fuzz.worker import Outcome, Worker


class FoundFaultError(Exception):
    """An input with a fault that was not known yet; Hypothesis shrinks it."""


@dataclass
class Campaign:
    """Counts of outcomes, and the smallest input of every fault."""

    counts: Counter[str] = field(default_factory=Counter)
    by_target: Counter[tuple[str, str]] = field(default_factory=Counter)
    smallest: dict[str, tuple[Tried, Outcome]] = field(default_factory=dict)

    @property
    def tried(self) -> int:
        return sum(self.counts.values())

    @property
    def faults(self) -> int:
        return sum(n for kind, n in self.counts.items() if kind not in ("read", "refused"))

    def lines(self) -> list[str]:
        """Return the counts, and one line for each distinct fault."""
        said = [f"{self.tried} inputs: {dict(sorted(self.counts.items()))}"]
        for key, (tried, outcome) in self.smallest.items():
            said.append(f"{key}: {tried!r}; {outcome.detail.strip().splitlines()[-1:]}")
        return said

    def save(self, folder: Path) -> None:
        """Write the smallest failing inputs, each with what it does."""
        for number, (key, (tried, outcome)) in enumerate(self.smallest.items()):
            place = folder / f"{number:02d}-{re.sub(r'[^a-zA-Z0-9.]+', '-', key)[:60]}"
            place.mkdir(parents=True, exist_ok=True)
            (place / Path(tried.name).name).write_bytes(tried.content)
            about = {"target": tried.target, "file": tried.name, "fault": key}
            (place / "about.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
            (place / "what_happened.txt").write_text(outcome.detail, encoding="utf-8")


def run_campaign(
    number: int, strategy: st.SearchStrategy[Tried], worker: Worker, *, first_seed: int
) -> Campaign:
    """Try so many inputs. The same seed draws the same ones as long as none fails.

    Inputs that are tried while a fault is shrunk are not counted. A fault that is known already is
    counted and not shrunk again. Ends early where a strategy has no further inputs.
    """
    campaign = Campaign()
    rounds = 0
    while campaign.tried < number:
        before = campaign.tried
        _one_round(campaign, worker, strategy, number - before, first_seed + rounds)
        if campaign.tried == before:
            break
        rounds += 1
    worker.close()
    return campaign


def _one_round(
    campaign: Campaign,
    worker: Worker,
    strategy: st.SearchStrategy[Tried],
    left: int,
    number: int,
) -> None:
    """Draw inputs until a new fault is found and shrunk, or none is left to draw."""
    shrinking = ""

    @seed(number)
    @settings(
        max_examples=left,
        deadline=None,
        database=None,
        print_blob=False,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    @given(strategy)
    def search(tried: Tried) -> None:
        nonlocal shrinking
        outcome = worker.try_input(tried)
        key = f"{outcome.kind}: {outcome.where}"
        if not shrinking:
            campaign.counts[outcome.kind] += 1
            campaign.by_target[tried.target, outcome.kind] += 1
        is_new = outcome.is_fault and key not in campaign.smallest
        if (is_new and not shrinking) or key == shrinking:
            shrinking = key
            campaign.smallest[key] = tried, outcome
            raise FoundFaultError(key)

    try:
        search()
    except (FoundFaultError, Flaky):  # what does not fail again is counted, and kept as it was
        return
