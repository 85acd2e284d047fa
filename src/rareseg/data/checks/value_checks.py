"""Check what masks hold, all together: inverted, blurred, numbered, of several palettes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rareseg.data.checks.mask_facts import BRIGHT, DARK, VOID, MaskFacts
from rareseg.data.checks.problems import Findings
from rareseg.data.records import Dataset

TOO_MUCH = 0.5
"""The share of foreground above which masks may be the wrong way round."""
FULL = 0.1
"""The share of masks, none of them empty, that may be foreground throughout."""
BRIGHT_ENOUGH = 0.25
"""The least share of drawn voxels that are white in a blurred mask; half of it is so by values."""
BLURRED_FROM = 5
"""From so many values on, values alone tell blurred masks; below, where they lie does."""
NUMBERED_FROM = 4
"""From so many values in a mask on, numbered objects may touch."""


@dataclass(frozen=True)
class MaskRead:
    """One mask that was read: its file, its values (value to voxel count), and what is found."""

    file: str
    values: Mapping[int, int]
    facts: MaskFacts

    @property
    def drawn(self) -> list[int]:
        """The values other than 0, ascending."""
        return sorted(set(self.values) - {0})


def check_values(dataset: Dataset, masks: Sequence[MaskRead], findings: Findings) -> None:
    """Add what the values of all masks together say.

    What the rules of the data set answer is not asked. Where classes are declared, their values
    are taken at their word, and only the share of foreground is looked at.
    """
    if not masks:
        return
    rules = dataset.rules
    if rules.colours == ():
        _check_palettes(masks, findings)
    if rules.overlap is None:
        _check_overlap(masks, findings)
    _note_changes(masks, findings)
    odd = False
    if dataset.labels is None:
        odd = _check_blurred(masks, findings) if rules.binarize is None else False
        if not odd and rules.values_are is None:
            odd = _check_numbered(masks, findings)
        if not odd and dataset.ignore_value is None:
            _check_void(masks, findings)
    if not odd and rules.invert is None:
        _check_inverted(dataset, masks, findings)


def _check_inverted(dataset: Dataset, masks: Sequence[MaskRead], findings: Findings) -> None:
    ignored = dataset.ignore_value
    values = {value for mask in masks for value in mask.drawn} - {ignored}
    if len(values) != 1:
        return  # several classes may well fill their images
    shares, voxels, foreground = [], 0, 0
    for mask in masks:
        counted = sum(n for value, n in mask.values.items() if value != ignored)
        on = sum(n for value, n in mask.values.items() if value not in (0, ignored))
        voxels, foreground = voxels + counted, foreground + on
        shares.append(on / counted if counted else 0.0)
    most = masks[max(range(len(masks)), key=shares.__getitem__)].file
    full = sum(share == 1.0 for share in shares)
    more = sum(share > TOO_MUCH for share in shares)
    share = foreground / max(1, voxels)
    if share > TOO_MUCH:
        findings.problem(
            f"{share:.1%} of all voxels are foreground, more than half in {more} of {len(masks)} "
            f"masks, such as {most}: are they inverted? If 0 marks what is to be found, "
            "--invert-masks reads them so; if they are right, say --no-invert-masks.",
            kind="inverted masks",
            option="--invert-masks",
        )
    elif full and full >= FULL * len(masks) and min(shares) > 0:
        findings.warn(
            f"{full} of {len(masks)} masks are foreground throughout, such as {most}, and none is "
            "empty: are those inverted? Correct them, or say --no-invert-masks if they are right.",
            kind="inverted masks",
            option="--no-invert-masks",
        )


def _check_blurred(masks: Sequence[MaskRead], findings: Findings) -> bool:
    """Look for masks of two values whose edges hold all others."""
    total: Counter[int] = Counter()
    for mask in masks:
        total.update(mask.values)
    total.pop(0, None)
    most = max(total, default=0)
    if len(total) < 3 or most < 16:
        return False
    between = {v: n for v, n in total.items() if DARK * most < v < BRIGHT * most}
    white = sum(n for v, n in total.items() if v >= BRIGHT * most)
    drawn = white + sum(between.values())
    several = [mask for mask in masks if len(mask.drawn) > 2]
    thin = [mask for mask in several if mask.facts.thin_between]
    by_place = bool(several) and len(thin) == len(several) and white >= BRIGHT_ENOUGH * drawn
    by_values = len(total) >= BLURRED_FROM and white >= 2 * BRIGHT_ENOUGH * drawn
    if not by_place and not by_values:
        return False
    example = max(masks, key=lambda mask: len(mask.values))
    edge = 1 - white / max(1, sum(total.values()))
    findings.problem(
        f"{len(several)} masks look blurred, as by JPEG, smoothing or interpolation, such as "
        f"{example.file} with {len(example.drawn)} values: {edge:.0%} of what is drawn lies "
        f"between 0 and {most}. --binarize {_middle(most)} cuts them into two values; if the "
        "values are classes, declare them in a dataset.json.",
        kind="blurred masks",
        option=f"--binarize {_middle(most)}",
    )
    return True


def _middle(most: int) -> int:
    return (most + 1) // 2


def _check_numbered(masks: Sequence[MaskRead], findings: Findings) -> bool:
    """Look for masks whose values count objects: each is connected, and how many there are differs.

    Numbers that touch may be parts of one organ, unless there are many in a mask.
    """
    several = [mask for mask in masks if len(mask.drawn) > 1]
    drawn = [mask for mask in masks if mask.drawn]
    counts = {len(mask.drawn) for mask in drawn}
    if len(several) < 2 or len(counts) < 2 or not all(mask.facts.connected for mask in several):
        return False
    apart = all(mask.facts.apart for mask in several)
    as_counted = all(mask.drawn == list(range(1, len(mask.drawn) + 1)) for mask in drawn)
    many = max(counts) >= NUMBERED_FROM
    if not ((apart and (as_counted or many)) or (as_counted and many)):
        return False
    example = max(several, key=lambda mask: len(mask.drawn))
    findings.problem(
        f"The values in masks look like numbered objects (instances), not classes: each is one "
        f"connected object, and a mask holds between {min(counts)} and {max(counts)} of them, such "
        f"as {example.file}. --values-are objects takes all of them for one class, --values-are "
        "classes takes them as they are.",
        kind="numbered objects",
        option="--values-are objects",
    )
    return True


def _check_void(masks: Sequence[MaskRead], findings: Findings) -> None:
    beside = [mask for mask in masks if VOID in mask.values and len(mask.drawn) > 1]
    rims = [mask for mask in beside if mask.facts.void_rim]
    if beside and len(rims) == len(beside):
        findings.warn(
            f"The value {VOID} is a thin rim beside other values in {len(rims)} masks, such as "
            f"{rims[0].file}: does it mark voxels that count nowhere? --ignore-value {VOID} says "
            "so; if it is a class, declare the classes in a dataset.json.",
            kind="void rim",
            option=f"--ignore-value {VOID}",
        )


def _check_palettes(masks: Sequence[MaskRead], findings: Findings) -> None:
    """Look for one value in two colours, or one colour under two values."""
    colours: defaultdict[int, dict[tuple[int, int, int], str]] = defaultdict(dict)
    values: defaultdict[tuple[int, int, int], dict[int, str]] = defaultdict(dict)
    for mask in masks:
        for value, colour in mask.facts.palette or ():
            colours[value].setdefault(colour, mask.file)
            values[colour].setdefault(value, mask.file)
    clashes = [
        (f"the value {value} is {_hex(a)} in {first} and {_hex(b)} in {second}")
        for value, seen in sorted(colours.items())
        if len(seen) > 1
        for (a, first), (b, second) in [list(seen.items())[:2]]
    ]
    clashes += [
        (f"{_hex(colour)} is the value {a} in {first} and {b} in {second}")
        for colour, found in values.items()
        if len(found) > 1
        for (a, first), (b, second) in [list(found.items())[:2]]
    ]
    if clashes:
        named = ",".join(_hex(colour) for colour in values if colour != (0, 0, 0)) or "ff0000"
        findings.problem(
            f"Masks have palettes that differ: {clashes[0]}. --colours {named} reads the colours, "
            "--colours index the numbers as they are.",
            kind="palettes",
            option=f"--colours {named}",
        )


def _check_overlap(masks: Sequence[MaskRead], findings: Findings) -> None:
    found = [mask for mask in masks if mask.facts.overlap]
    if found:
        voxels = sum(mask.facts.overlap for mask in found)
        findings.warn(
            f"{voxels} voxels in {len(found)} masks are drawn as more than one class, such as in "
            f"{found[0].file}; --overlap later lets the later class count there, as here, "
            "--overlap earlier the earlier.",
            kind="overlap",
            option="--overlap later",
        )


def _note_changes(masks: Sequence[MaskRead], findings: Findings) -> None:
    changed: defaultdict[str, list[str]] = defaultdict(list)
    for mask in masks:
        for change in mask.facts.changes:
            changed[change].append(mask.file)
    for change, files in changed.items():
        noun = "mask was" if len(files) == 1 else "masks were"
        findings.warn(f"{len(files)} {noun} {change}, such as {files[0]}.", kind="changed masks")


def _hex(colour: tuple[int, int, int]) -> str:
    return "{:02x}{:02x}{:02x}".format(*colour)
