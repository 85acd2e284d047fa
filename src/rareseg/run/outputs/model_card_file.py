"""Write the model card of a run's bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rareseg.data.checks.fingerprint import Fingerprint
from rareseg.errors import ScoreError
from rareseg.evaluation.measures.scorecard_reading import scorecard_from_json
from rareseg.prediction.bundle import load_decisions, load_model
from rareseg.prediction.model import Model
from rareseg.report.model_card import CardContent, CardFigures, model_card
from rareseg.report.report_content import Sentence
from rareseg.run.setup.run_folder import RunFolder
from rareseg.run.setup.split_files import read_split
from rareseg_runner.atomic_files import atomic_write
from rareseg_runner.text_files import read_json

CARD = "MODEL_CARD.md"
"""The file in a bundle's folder, as the field names it."""


def write_model_card(folder: RunFolder, model: Model | None = None) -> Path:
    """Write ``MODEL_CARD.md`` into the bundle of a finished run, in place of what stands there.

    ``model`` is the run's own, where it is loaded already.

    It is made from the run's records alone: bundle, fingerprint, split, and the newest
    scorecards of the test cases. Equal records give an equal card. Raises :class:`BundleError`,
    :class:`DataError` or :class:`RunError` where one of the first three cannot be read.
    """
    content = CardContent(
        model=model or load_model(folder.bundle),
        decisions=load_decisions(folder.bundle),
        fingerprint=Fingerprint.from_json(folder.fingerprint),
        roles=read_split(folder.split),
        in_folds=folder.folds.is_file(),
        figures=_figures(folder),
    )
    card = folder.bundle / CARD
    with atomic_write(card) as temporary:
        temporary.write_text(model_card(content), encoding="utf-8")
    return card


def _figures(folder: RunFolder) -> CardFigures | None:
    """Return the newest figures of the test cases; None where there are none of this version.

    Runs of earlier versions have those that training ended with, whose verdicts may name cases.
    """
    newest, first = folder.test_scorecard, folder.root / "scorecard.json"
    path = newest if newest.is_file() else first
    if not path.is_file():
        return None
    try:
        record: dict[str, Any] = read_json(path)
        scorecards = tuple(
            (label, scorecard_from_json(card)) for label, card in record["scorecards"].items()
        )
        headline = record["headline"]
        said = tuple(Sentence(**one) for one in (record["verdicts"] if path == newest else ()))
    except (ScoreError, ValueError, KeyError, TypeError, AttributeError):
        return None  # the next evaluation writes it anew
    return CardFigures(scorecards, headline, said)
