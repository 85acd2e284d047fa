"""Write the licence notices of the weights that a model began with beside the model.

``NOTICE`` names each source and repeats what came with it; ``LICENSES/`` (as the REUSE
specification 3.3 names it) holds the full text of every licence that is known here.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from rareseg.data.files import atomic_write

NOTICE = "NOTICE"
LICENCES = "LICENSES"

FULL_TEXTS = ("Apache-2.0",)
"""The licences whose text comes with rareseg, by their SPDX identifiers."""

_HEAD = (
    "The weights of the model in this folder were made from the weights named below, which "
    "training has changed."
)


@dataclass(frozen=True)
class Attribution:
    """Weights that a model was made from, and the terms under which they may be handed on.

    ``source`` is what they are and the package that they came with, ``sha256`` the digest of their
    file, ``licence`` an SPDX identifier, ``notice`` the licence file that the package ships.
    """

    source: str
    sha256: str
    licence: str
    notice: str = ""


def attributions_of(trained: Mapping[str, Any]) -> tuple[Attribution, ...]:
    """Return the attributions that a model owes, each once; none where no licence is known.

    ``trained`` is that of a :class:`rareseg.prediction.bundle.Bundle`: what its encoder and its
    network began with, and what those were made from in turn.
    """
    found: dict[Attribution, None] = {}
    for key in ("encoder_weights", "initial_weights"):
        record = trained.get(key) or {}
        for inherited in record.get("inherited", ()):
            found[Attribution(**inherited)] = None
        if record.get("licence"):
            found[
                Attribution(
                    source=record["source"],
                    sha256=record["sha256"],
                    licence=record["licence"],
                    notice=record.get("notice") or "",
                )
            ] = None
    return tuple(found)


def write_notices(folder: Path, trained: Mapping[str, Any]) -> None:
    """Write ``NOTICE`` and the texts of its licences into a bundle; no file where nothing is owed.

    Raises :class:`WorkError` where that fails.
    """
    owed = attributions_of(trained)
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
