"""Describe what the sampler delivered and what mining found."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rareseg.report.tables.page_tables import ShareRow, pool_rows, prior_rows
from rareseg.report.wording.numbers import count, percent
from rareseg.sampling.mining.label_suspects import MinedSuspect
from rareseg.sampling.patches.composition import Composition, PasteCount
from rareseg.training.mining_round import MiningRecord

MOST_SUSPECTS = 20
"""Rows of label suspects that the page shows; all are in the run."""


@dataclass(frozen=True)
class PhaseView:
    """One phase of the run: its patches by pool and by class, asked beside delivered."""

    name: str
    patches: int
    with_foreground: int
    pools: tuple[ShareRow, ...]
    prior: tuple[ShareRow, ...]


def phase_views(composition: Composition, natural: Mapping[str, float]) -> tuple[PhaseView, ...]:
    """Return one view per phase, or a single one where the run had no phases."""
    return tuple(
        PhaseView(
            part.phase,
            part.patches,
            part.with_foreground,
            pool_rows(part),
            prior_rows(part, natural),
        )
        for part in composition.phases or (composition,)
    )


def seen_sentences(composition: Composition, *, voxel: str = "voxel") -> tuple[str, ...]:
    """Return sentences on how much of the data the patches showed, as far as it was counted."""
    sentences = []
    if composition.windows:
        sentences.append(
            f"{count(composition.windows, 'different window')} in "
            f"{count(composition.patches, 'patch', 'patches')}."
        )
    if composition.pasted is not None:
        sentences.append(_pasted_sentence(composition.pasted))
    cases = composition.cases
    if cases:
        unseen = sum(1 for patches in cases if not patches)
        middle = statistics.median(cases)
        sentences.append(
            f"{count(len(cases), 'case')}: {min(cases):,} to {max(cases):,} patches from each, "
            f"{middle:,.0f} in the median"
            + (f"; {count(unseen, 'case was', 'cases were')} never seen." if unseen else ".")
        )
    covered = [
        f"{percent(share)} of the {voxel}s of {name}"
        for name, share in zip(composition.classes, composition.covered, strict=False)
        if share is not None
    ]
    if covered:
        sentences.append(f"At least once a window held {_listed(covered)}.")
    return tuple(sentences)


def _pasted_sentence(pasted: PasteCount) -> str:
    """Return into how many windows something was pasted, and into how many it could not be."""
    return (
        f"An object was pasted into {count(pasted.objects, 'window')}, background in the shape of "
        f"one into {pasted.textures:,}; for {pasted.failed:,} nothing fitted."
    )


@dataclass(frozen=True)
class MiningView:
    """The rounds of mining as rows of text under ``columns``, and the label suspects."""

    columns: tuple[str, ...]
    rounds: tuple[tuple[str, ...], ...]
    suspects: tuple[tuple[str, ...], ...]
    n_suspects: int


SUSPECT_COLUMNS = ("Case", "Labelled", "Predicted", "Rounds", "Size", "From z, y, x", "To z, y, x")


def mining_view(record: MiningRecord, *, voxel: str = "voxel") -> MiningView | None:
    """Return what the page shows of the rounds of mining; None where there was none."""
    if not record.rounds:
        return None
    return MiningView(
        ("Round", "Step", f"{voxel.capitalize()}s judged", "Hard", "False positives", "Set aside"),
        tuple(
            (
                f"{known.round}",
                f"{known.step:,}",
                f"{sum(known.judged.values()):,}",
                f"{known.hard:,}",
                f"{known.found['false positives']:,}",
                f"{known.set_aside:,}",
            )
            for known in record.rounds
        ),
        tuple(map(_suspect_row, record.suspects[:MOST_SUSPECTS])),
        len(record.suspects),
    )


def _suspect_row(suspect: MinedSuspect) -> tuple[str, ...]:
    return (
        suspect.case,
        suspect.true,
        suspect.predicted,
        f"{suspect.rounds}",
        f"{suspect.voxels:,}",
        ", ".join(str(first) for first, _ in suspect.box),
        ", ".join(str(end - 1) for _, end in suspect.box),
    )


def _listed(parts: Sequence[str]) -> str:
    """Join parts with commas and a last "and"."""
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))
