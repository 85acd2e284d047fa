"""Record of a finding: its kind, how bad it is, and in which cases it shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from rareseg.errors import UsageError, nearest

Severity = Literal["must be fixed", "worth a look", "note"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""From what stops a training to what is merely good to know."""

Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
"""Half-open ranges of z, y and x on the image's own grid."""


@dataclass(frozen=True)
class FindingKind:
    """What findings of one name are: how bad, and what they are called on a page."""

    severity: Severity
    title: str


KINDS: Mapping[str, FindingKind] = {
    "data-problems": FindingKind("must be fixed", "Files that cannot be used"),
    "group-in-two-splits": FindingKind("must be fixed", "A group on both sides of the split"),
    "leak-across-splits": FindingKind("must be fixed", "Look-alikes on both sides of the split"),
    "identical-images": FindingKind("must be fixed", "The same pixels in two groups"),
    "contradicting-masks": FindingKind("must be fixed", "The same pixels, other labels"),
    "flipped-masks": FindingKind("worth a look", "Masks that fit when mirrored or turned"),
    "shifted-masks": FindingKind("worth a look", "Masks that fit elsewhere"),
    "differing-masks": FindingKind("worth a look", "The same content, other masks"),
    "look-alikes-across-groups": FindingKind("worth a look", "Look-alikes in different groups"),
    "stray-values": FindingKind("worth a look", "Mask values that hardly occur"),
    "parts-outside-their-whole": FindingKind("worth a look", "Parts without what surrounds them"),
    "class-by-one-annotator": FindingKind("worth a look", "A class that one annotator alone draws"),
    "class-in-few-groups": FindingKind("worth a look", "A class too rare to be learned and judged"),
    "drawn-frames": FindingKind("worth a look", "Frames along the image's border"),
    "one-voxel-islands": FindingKind("worth a look", "Islands of one voxel"),
    "small-holes": FindingKind("worth a look", "Small holes in objects"),
    "negatives-without-variety": FindingKind("worth a look", "Empty images that show too little"),
    "unseen-background": FindingKind("worth a look", "Background that the model never sees"),
    "outlying-cases": FindingKind("worth a look", "Cases unlike all others"),
    "touching-border": FindingKind("note", "Objects cut by the image's border"),
    "no-negatives": FindingKind("note", "No empty image"),
    "look-alikes-of-one-kind": FindingKind("note", "Different things of one kind that look alike"),
    "few-cases": FindingKind("note", "Few cases"),
    "ungrouped-cases": FindingKind("note", "Cases of no known group"),
}
"""Every finding by its name, in the order in which a page shows them."""

NEVER_ALLOWED = "data-problems"
"""Training refuses such data, whatever an audit says."""


@dataclass(frozen=True)
class Move:
    """Where a mask would fit: y and x exchanged, then mirrored along ``flips``, then shifted.

    Axes are 0, 1 and 2 for z, y and x; ``shift`` is in voxels.
    """

    shift: tuple[int, int, int] = (0, 0, 0)
    flips: tuple[int, ...] = ()
    transposed: bool = False

    def apply(self, mask: NDArray[Any]) -> NDArray[Any]:
        """Return a mask (z, y, x) where it would fit; what comes in at the border is 0."""
        turned = np.flip(np.swapaxes(mask, 1, 2) if self.transposed else mask, self.flips)
        moved = np.zeros_like(turned)
        there = tuple(
            slice(max(0, s), n + min(0, s)) for s, n in zip(self.shift, turned.shape, strict=True)
        )
        here = tuple(
            slice(max(0, -s), n - max(0, s)) for s, n in zip(self.shift, turned.shape, strict=True)
        )
        moved[there] = turned[here]
        return moved

    def words(self) -> str:
        """Return the movement in words, such as ``mirrored left to right``."""
        parts = ["with y and x exchanged"] if self.transposed else []
        sides = ("front to back", "top to bottom", "left to right")
        if self.flips:
            parts.append("mirrored " + " and ".join(sides[axis] for axis in self.flips))
        ways = (("back", "front"), ("down", "up"), ("right", "left"))
        moved = [
            f"{abs(step)} {ways[axis][step < 0]}" for axis, step in enumerate(self.shift) if step
        ]
        if moved:
            parts.append("moved by " + " and ".join(moved))
        return ", ".join(parts) or "as it is"


@dataclass(frozen=True)
class Example:
    """One case that a finding is about: what is to be seen there, and where.

    ``boxes`` are places on the case's own grid, ``other`` is the case that it is compared with.
    """

    case_id: str
    note: str = ""
    boxes: tuple[Box, ...] = ()
    other: str = ""
    move: Move | None = None


@dataclass(frozen=True)
class Finding:
    """One finding: its name (a key of :data:`KINDS`), a sentence with figures, and the cases.

    ``sights`` come with the plainest first. ``allowed`` says that somebody looked and wants it so.
    """

    name: str
    text: str
    examples: tuple[Example, ...] = ()
    details: tuple[str, ...] = field(default=())
    allowed: bool = False

    @property
    def kind(self) -> FindingKind:
        """How bad it is, and what it is called."""
        return KINDS[self.name]

    @property
    def stops(self) -> bool:
        """Whether it must be fixed before training."""
        return self.kind.severity == "must be fixed" and not self.allowed

    @property
    def cases(self) -> tuple[str, ...]:
        """The ids of all cases concerned, each once."""
        named = (
            name for example in self.examples for name in (example.case_id, example.other) if name
        )
        return tuple(dict.fromkeys(named))


def check_allowed(names: Iterable[str]) -> frozenset[str]:
    """Return the names of findings to allow; raises UsageError for a name that is none."""
    names = frozenset(names)
    for name in sorted(names):
        if name == NEVER_ALLOWED:
            raise UsageError(
                f"--allow {NEVER_ALLOWED} is not possible, since training refuses such data; mend "
                "what it lists."
            )
        if name not in KINDS:
            allowed = ", ".join(known for known in KINDS if known != NEVER_ALLOWED)
            raise UsageError(
                f"--allow {name!r} is no finding{nearest(name, KINDS)}; allowed are {allowed}."
            )
    return names


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings by severity, the worst first, and among equals as :data:`KINDS` has them."""
    order = list(KINDS)
    return tuple(
        sorted(
            findings,
            key=lambda found: (SEVERITIES.index(found.kind.severity), order.index(found.name)),
        )
    )


def some(names: Sequence[str], *, most: int = 3) -> str:
    """Return a list of names for a sentence: the first few, and how many more."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return ``1 case`` or ``1,234 cases``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def per_cent(share: float) -> str:
    """Return a share in [0, 1] as ``12 %``."""
    return f"{100 * share:.0f} %"
