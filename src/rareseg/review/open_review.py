"""Open a run for review."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch

from rareseg.data.folder_lock import holder_of, sole_writer
from rareseg.errors import OutputError, RunError
from rareseg.review.answers import Answers
from rareseg.review.apply_answers import DECISIONS, open_reviewed, review_folder
from rareseg.review.case_predictions import CasePredictions
from rareseg.review.case_reader import CaseReader
from rareseg.review.page_api import PageApi
from rareseg.review.review_items import list_items
from rareseg.run.setup.run_folder import open_run


@contextmanager
def only_review(run: Path | str) -> Iterator[None]:
    """Keep a second review off a run's decisions while the block runs.

    Raises :class:`RunError`, which names the process, where another one has them, and as
    :func:`open_run`. What only reads decisions, as ``apply-review`` does, is kept off nothing.
    """
    place = review_folder(open_run(Path(run)))
    with ExitStack() as held:
        try:
            held.enter_context(sole_writer(place))
        except OutputError as error:
            raise RunError(
                f"{place / DECISIONS} is written to by {holder_of(place)}; open the link that it "
                "printed, or end it first."
            ) from error
        yield


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
