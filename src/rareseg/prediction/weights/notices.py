"""Write the licence notices of the weights that a model began with beside the model.

``NOTICE`` names each source and repeats what came with it; ``LICENSES/`` (as the REUSE
specification 3.3 names it) holds the full text of every licence that is known here.
"""

from __future__ import annotations

import textwrap
from importlib.resources import files
from pathlib import Path

from rareseg.prediction.training_facts import TrainingFacts
from rareseg.prediction.weights.weights_origin import Attribution, attributions_of
from rareseg_runner.atomic_files import atomic_write

NOTICE = "NOTICE"
LICENCES = "LICENSES"

FULL_TEXTS = ("Apache-2.0",)
"""The licences whose text comes with rareseg, by their SPDX identifiers."""

_HEAD = (
    "The weights of the model in this folder were made from the weights named below, which "
    "training has changed."
)


def write_notices(folder: Path, training: TrainingFacts) -> None:
    """Write ``NOTICE`` and the texts of its licences into a bundle; no file where nothing is owed.

    Raises :class:`WorkError` where that fails.
    """
    owed = attributions_of(training.encoder_weights, training.initial_weights)
    if not owed:
        (folder / NOTICE).unlink(missing_ok=True)
        return
    for licence in sorted({part.licence for part in owed} & set(FULL_TEXTS)):
        with atomic_write(folder / LICENCES / f"{licence}.txt") as temporary:
            temporary.write_text(licence_text(licence), encoding="utf-8")
    parts = [textwrap.fill(_HEAD, 80), *(_described(part) for part in owed)]
    with atomic_write(folder / NOTICE) as temporary:
        temporary.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def licence_text(licence: str) -> str:
    """Return the full text of one of :data:`FULL_TEXTS`."""
    place = files("rareseg.prediction").joinpath("licences", f"{licence}.txt")
    return place.read_text(encoding="utf-8")


def _described(part: Attribution) -> str:
    where = ""
    if part.licence in FULL_TEXTS:
        where = f" (full text: {LICENCES}/{part.licence}.txt)"
    lines = [part.source, f"Licence: {part.licence}{where}", f"SHA-256 of the file: {part.sha256}"]
    if part.notice:
        lines += [
            "The notice that came with them:",
            "",
            textwrap.indent(part.notice.strip(), "    "),
        ]
    return "\n".join(lines)
