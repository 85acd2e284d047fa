"""Open a run for review."""

from __future__ import annotations

from pathlib import Path

import torch

from rareseg.review.answers import Answers
from rareseg.review.apply_answers import DECISIONS, open_reviewed, review_folder
from rareseg.review.case_predictions import CasePredictions
from rareseg.review.case_reader import CaseReader
from rareseg.review.page_api import PageApi
from rareseg.review.review_items import list_items
from rareseg.run.setup.run_folder import open_run


def open_page_api(run: Path | str, *, device: str | torch.device = "cpu") -> PageApi:
    """Return the room of a run; nothing is read of the cases yet.

    Raises :class:`~rareseg.errors.RunError` where there is nothing to review, or where the data
    changed since the run was begun.
    """
    folder = open_run(Path(run))
    dataset = open_reviewed(folder)
    place = review_folder(folder)
    predictions = CasePredictions(folder, place / "predictions", device=device)
    items = list_items(folder, predictions.classes)
    cases = CaseReader(dataset.cases, predictions, dataset.channel_names or ())
    return PageApi(folder.root.resolve().name, items, cases, Answers(place / DECISIONS))
