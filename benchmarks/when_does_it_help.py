"""When does which sampling strategy help? The knobs of the built-in data set, one at a time.

Every variation of the built-in data departs from one base in one knob. In each, every strategy is
trained with the same steps, network and cases, over a few seeds, by `rareseg compare`, and judged
on whole test images that neither training nor choosing a point has seen. Resumable: call it again.

    python benchmarks/when_does_it_help.py --out results [--steps 300] [--seeds 3] [--parallel 2]

It writes the maps, and `measured_datasets.json`, from which `inspect` and `plan` advise (a copy is
src/rareseg/training/measured_datasets.json).
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import rareseg as rs
from rareseg.run.setup.prepare import TrainingOptions
from rareseg.run.setup.run_folder import DataOptions
from rareseg.study.compare import ComparisonOptions, compare
from rareseg.study.comparison_rows import make_rows
from rareseg.study.shared_data import StudyOptions

STRATEGIES = ("random", "balanced", "negatives", "hard", "hard_negative", "decoupled")
BASE = rs.SpecksSettings(images=200, size=128, contrast=1.8, foreground_share=0.012, seed=11)
KNOBS: dict[str, tuple[float | int, ...]] = {
    "foreground_share": (0.004, 0.012, 0.04),
    "empty_share": (0.1, 0.5, 0.9),
    "contrast": (1.3, 1.8, 3.0),
    "missed_share": (0.0, 0.15, 0.3),
    "images": (60, 200, 500),
}
TITLES = {
    "foreground_share": "foreground in positive images",
    "empty_share": "empty images",
    "contrast": "contrast (deviations of the texture)",
    "missed_share": "specks missing in the masks",
    "images": "images",
}
SHARED = (
    "split.train=0.4",
    "split.validation=0.25",
    "split.test=0.35",
    "data.target_spacing=null",
    "sampling.patch_size=[64, 64]",
    "sampling.batch_size=16",
    "network.width=[12, 24, 48]",
    "training.learning_rate=0.003",
    "training.validations=2",
    "training.validation_cases=40",
)


@dataclass(frozen=True)
class Variation:
    """One data set: the knob that was turned, and to what."""

    knob: str
    value: float | int
    settings: rs.SpecksSettings

    @property
    def title(self) -> str:
        """What advice calls it."""
        kind = TITLES[self.knob].split(" (")[0]
        turned = f"{self.value:.3g}" if self.value >= 1 else f"{self.value:.2g}"
        if self.knob.endswith("_share"):
            turned = f"{100 * self.value:.3g} %"
        if self.settings != BASE:
            return f"specks with {turned} {kind}"
        return (
            f"specks with {100 * BASE.foreground_share:.3g} % foreground in positive images, "
            f"{BASE.empty_share:.0%} of {BASE.images} images empty"
        )

    @property
    def name(self) -> str:
        """A folder's name."""
        return "base" if self.settings == BASE else f"{self.knob}-{self.value:g}"


def variations() -> list[Variation]:
    """Return every variation; the base stands once under each knob."""
    return [
        Variation(knob, value, replace(BASE, **{knob: value}))
        for knob, values in KNOBS.items()
        for value in values
    ]


def judged(variation: Variation, out: Path, *, steps: int, seeds: int, parallel: int) -> list[dict]:
    """Return the table of a variation, trained where it was not before."""
    folder = out / variation.name
    table = folder / "table" / "table.json"
    if not table.is_file():
        data = folder / "data"
        if not (data / "manifest.csv").is_file():
            rs.write_specks(data, variation.settings)
        options = StudyOptions(
            DataOptions(str(data)),
            training_options=TrainingOptions(settings=(*SHARED, f"training.steps={steps}")),
            parallel=parallel,
        )
        asked = ComparisonOptions(options, make_rows(STRATEGIES, []), seeds=seeds)
        compare(asked, folder / "table", say=print)
    return json.loads(table.read_text(encoding="utf-8"))["table"]


def reached(table: list[dict], strategy: str, measure: str) -> dict[str, Any]:
    """Return one strategy's entry at its own chosen point."""
    return next(
        line
        for line in table
        if (line["cut"], line["row"], line["measure"]) == ("chosen point", strategy, measure)
    )


def write_measured_datasets(
    path: Path, found: list[tuple[Variation, list[dict]]], *, steps: int, seeds: int
) -> None:
    """Write what advice is read from: the knobs that a fingerprint shows, each variation once."""
    records: dict[str, dict] = {}
    for variation, table in found:
        if variation.knob not in ("foreground_share", "empty_share", "images"):
            continue
        settings = variation.settings
        records[variation.name] = {
            "title": variation.title,
            "likeness": {
                "foreground": settings.foreground_share,
                "empty": settings.empty_share,
                "images": settings.images,
            },
            "dice": {name: reached(table, name, "dice")["value"] for name in STRATEGIES},
            "alarms": {name: reached(table, name, "false alarm")["value"] for name in STRATEGIES},
        }
    record = {"steps": steps, "seeds": seeds, "datasets": list(records.values())}
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def draw(path: Path, found: list[tuple[Variation, list[dict]]], measure: str, title: str) -> None:
    """Draw a map as SVG: a block of columns for each knob, a line for each strategy."""
    cell, left, top, gap = 62, 118, 74, 18
    parts, x = [], left
    for knob, values in KNOBS.items():
        width = cell * len(values)
        parts.append(_text(x + width / 2, top - 34, TITLES[knob], size=11, anchor="middle"))
        for value in values:
            table = next(t for w, t in found if (w.knob, w.value) == (knob, value))
            entries = [reached(table, name, measure) for name in STRATEGIES]
            numbers = [float(entry["value"]) for entry in entries]
            best = max(numbers) if measure == "dice" else min(numbers)
            parts.append(_text(x + cell / 2, top - 10, f"{value:g}", size=12, anchor="middle"))
            for row, number in enumerate(numbers):
                far = min(1.0, abs(number - best) / (0.15 if measure == "dice" else 0.5))
                shade = f"hsl(205,{60 - 45 * far:.0f}%,{58 + 36 * far:.0f}%)"
                y = top + row * 30
                parts.append(
                    f'<rect x="{x}" y="{y}" width="{cell - 2}" height="28" fill="{shade}"/>'
                )
                bold = ' font-weight="700"' if number == best else ""
                text = f"{number:.2f}" if measure == "dice" else f"{100 * number:.0f} %"
                parts.append(_text(x + cell / 2, y + 19, text, anchor="middle", more=bold))
            x += cell
        x += gap
    for row, name in enumerate(STRATEGIES):
        parts.append(_text(left - 10, top + row * 30 + 19, name, anchor="end"))
    height = top + 30 * len(STRATEGIES) + 14
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {x} {height}" width="{x}" '
        'font-family="system-ui, sans-serif" font-size="13"><rect width="100%" height="100%" '
        'fill="#ffffff"/>'
    )
    parts.append(_text(left, 20, title, size=14, more=' font-weight="700"'))
    path.write_text("\n".join([head, *parts, "</svg>"]) + "\n", encoding="utf-8")


def _text(
    x: float, y: float, text: str, *, size: int = 13, anchor: str = "start", more: str = ""
) -> str:
    return f'<text x="{x}" y="{y}" font-size="{size}" text-anchor="{anchor}"{more}>{text}</text>'


def main() -> None:
    """Judge every variation, print the table and draw both maps."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--parallel", type=int, default=2)
    given = parser.parse_args()
    found = []
    for variation in variations():
        print(f"== {variation.knob} = {variation.value:g}", flush=True)
        table = judged(
            variation, given.out, steps=given.steps, seeds=given.seeds, parallel=given.parallel
        )
        found.append((variation, table))
    print("| knob | value | strategy | dice, positive | against random | false alarms |")
    print("|---|---|---|---|---|---|")
    for variation, table in found:
        for name in STRATEGIES:
            dice, alarm = (reached(table, name, m) for m in ("dice", "false alarm"))
            change = dice["difference"]
            against = (
                "" if change is None else f"{change['value']:+.2f} ({change['low']:+.2f} to "
                f"{change['high']:+.2f})"
            )  # fmt: skip
            print(
                f"| {variation.knob} | {variation.value:g} | {name} | {dice['value']:.2f} | "
                f"{against} | "
                f"{100 * alarm['value']:.0f} % |"
            )
    write_measured_datasets(
        given.out / "measured_datasets.json", found, steps=given.steps, seeds=given.seeds
    )
    about = f"{given.steps} steps, {given.seeds} seeds, at each one's chosen point"
    draw(given.out / "dice.svg", found, "dice", f"Dice of positive images: {about}")
    draw(given.out / "alarms.svg", found, "false alarm", f"False alarms: {about}")


if __name__ == "__main__":
    main()
