"""Describe the most suspicious labels of each kind."""

from __future__ import annotations

from collections.abc import Sequence

from rareseg.quality.suspects import KINDS, Suspect

TITLES = {
    "missed object": "Likely missed objects",
    "spurious label": "Likely spurious labels",
    "wrong boundary": "Likely wrong boundaries",
    "wrong class": "Likely wrong classes",
    "worst case": "Cases that the model does worst on",
    "random pick": "Images that were drawn at random to be labelled",
}


def suspect_lines(suspects: Sequence[Suspect], *, most: int) -> list[str]:
    """Return a title for each kind that there is, and at most ``most`` of it, in their order."""
    lines = []
    for kind in KINDS:
        found = [suspect for suspect in suspects if suspect.kind == kind]
        if not found:
            continue
        shown = f", the first {most}" if len(found) > most else ""
        lines.append(f"{TITLES[kind]} ({len(found)}{shown}):")
        lines += [f"  {suspect_line(suspect)}" for suspect in found[:most]]
    return lines or ["No place in the labels is suspected."]


def suspect_line(suspect: Suspect) -> str:
    """Return where to look and why: score, case, slice of a volume, box, reason."""
    (z0, z1), (y0, y1), (x0, x1) = suspect.box
    volume = f"z {suspect.plane} (of {z0}–{z1 - 1}), " if z1 > 1 else ""
    aside = " Mining had set part of it aside." if suspect.aside else ""
    return (
        f"{suspect.score:.2f}  {suspect.case_id}, {volume}y {y0}–{y1 - 1}, x {x0}–{x1 - 1}: "
        f"{suspect.reason}{aside}"
    )
