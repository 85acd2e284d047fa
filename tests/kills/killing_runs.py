"""Kill calls at seeded moments, call again, and compare with a call that was never killed."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corpus.finished_run import make_run
from kills.comparing import differences, half_files
from kills.scenarios import Scenario, confirmed_are_kept

PRECIOUS = "the only copy\n"


@dataclass
class Report:
    """What kills did: each list is empty where nothing was lost."""

    kills: int = 0
    different: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    halves: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    @property
    def faults(self) -> list[str]:
        return self.different + self.lost + self.halves + self.refused

    def add(self, other: Report) -> None:
        """Count another report's kills and faults too."""
        self.kills += other.kills
        self.different += other.different
        self.lost += other.lost
        self.halves += other.halves
        self.refused += other.refused

    def line(self) -> str:
        return (
            f"{self.kills} kills, {len(self.different)} differences, {len(self.lost)} files lost, "
            f"{len(self.halves)} half files, {len(self.refused)} calls that did not go on"
        )


class Killing:
    """One warm process, a finished run, and the outcomes of calls that were never killed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._template = folder / "template"
        self._template.mkdir(parents=True)
        self.place = folder / "place"
        make_run(self.place)  # where it will lie, since a run notes where its data are
        self.place.rename(self._template / "made")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "kills.killer"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
        )
        self._whole: dict[str, tuple[Path, int]] = {}

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)

    def ask(self, *calls: dict[str, Any]) -> list[dict[str, Any]]:
        """Run calls at once, and return what became of each."""
        request = {"calls": calls, "place": str(self.place), "scratch": str(self._folder / "said")}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        found: list[dict[str, Any]] = json.loads(self._process.stdout.readline())
        return found

    def lay_out(self, scenario: Scenario) -> dict[str, bytes]:
        """Lay out what a scenario begins with; returns the user's files, which must stay."""
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self._template / "made", self.place)
        scenario.prepare(self.place)
        (self.place / "thesis.txt").write_text(PRECIOUS, encoding="utf-8")
        (self.place / ".retired-x").mkdir()
        (self.place / ".retired-x" / "data.txt").write_text(PRECIOUS, encoding="utf-8")
        own = ("data", "new", "unseen", ".retired-x", "thesis.txt", "annotated.csv")
        return {
            path.relative_to(self.place).as_posix(): path.read_bytes()
            for path in sorted(self.place.rglob("*"))
            if path.is_file() and path.relative_to(self.place).parts[0] in own
        }

    def never_killed(self, scenario: Scenario) -> tuple[Path, int]:
        """Return what a whole call leaves, and how many acts on files it makes."""
        if scenario.name not in self._whole:
            self.lay_out(scenario)
            (done,) = self.ask(scenario.call(self.place))
            assert done["code"] == 0, f"{scenario.name}: {done}"
            kept = self._folder / "whole" / scenario.name
            kept.parent.mkdir(exist_ok=True)
            self.place.rename(kept)
            self._whole[scenario.name] = kept, int(done["acts"])
        return self._whole[scenario.name]

    def kill(self, scenario: Scenario, rng: random.Random, report: Report) -> None:
        """Kill a call at a random act on files, perhaps once more, and let the next one end."""
        expected, acts = self.never_killed(scenario)
        own = self.lay_out(scenario)
        moments = [rng.randint(1, acts) for _ in range(rng.choice((1, 1, 2)))]
        where = f"{scenario.name} before act {moments} of {acts}"
        for moment in moments:
            (done,) = self.ask(scenario.call(self.place) | {"kill_before": moment})
            if done["signal"] == 0:
                continue  # what was done before was not done again
            report.kills += 1
            report.halves += [f"{where}: {name}" for name in half_files(self.place)]
            report.lost += [f"{where}: {name}" for name in confirmed_are_kept(self.place)]
        self._go_on(scenario, where, expected, own, report)

    def twice_at_once(self, scenario: Scenario, report: Report) -> list[int]:
        """Run a call twice at once, then once more; returns the exit codes of the two."""
        expected, _ = self.never_killed(scenario)
        own = self.lay_out(scenario)
        call = scenario.call(self.place)
        where = f"{scenario.name}, two at once"
        both = self.ask(call, call)
        codes = [one["code"] for one in both]
        for one in both:
            if one["code"] not in (0, 1, 2) or "Traceback" in one["said"]:
                report.refused.append(f"{where}: {one}")
        if 0 not in codes:
            report.refused.append(f"{where}: none worked: {both}")
        if scenario.name != "answers":
            self._go_on(scenario, where, expected, own, report)
        return codes

    def _go_on(
        self,
        scenario: Scenario,
        where: str,
        expected: Path,
        own: dict[str, bytes],
        report: Report,
    ) -> None:
        (done,) = self.ask(scenario.call(self.place))
        different = differences(self.place, expected)
        report.different += [f"{where}: {one}" for one in different]
        # Where all was done, a command may refuse to do it again.
        if (
            done["code"] not in (0, 2)
            or "Traceback" in done["said"]
            or (done["code"] and different)
        ):
            report.refused.append(f"{where}: {done['code']}: {done['said'][-600:]}")
        for name, content in own.items():
            path = self.place / name
            if not path.is_file() or path.read_bytes() != content:
                report.lost.append(f"{where}: {name}")
        left = [p.name for p in self.place.rglob(".writing-*")]
        report.different += [f"{where}: {name} is left" for name in left]
