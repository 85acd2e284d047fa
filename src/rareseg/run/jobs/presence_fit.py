"""Fit the presence scaling on whole validation cases, and keep their tables.

The tables hold the presence as the model will tell it, so that a point that is chosen on them is a
point of what `predict` writes.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from rareseg.data.records import Role
from rareseg.decision.calibration.fit_presence import fit_presence_scaling, scale_presence
from rareseg.evaluation.tables.component_table_io import save_components
from rareseg.evaluation.tables.score_table_io import save_table
from rareseg.prediction.model import Model
from rareseg.prediction.scorer import ModelScorer
from rareseg.progress import Track
from rareseg.run.scores.case_scoring import Scored, score_all
from rareseg.run.setup.prepare import PreparedRun, Say


def scale_on_validation(
    run: PreparedRun, model: Model, *, device: torch.device, track: Track, say: Say
) -> Model:
    """Return the model with its presence scaled by the validation cases, whose tables are kept.

    The model as it is, where its networks say nothing of whole images or there is no such case.
    """
    cases = run.cases("validation")
    if not model.tells_presence or not cases:
        return model
    scored = score_all(
        ModelScorer(model, device=device),
        cases,
        role="validation",
        detailed=True,
        track=track,
        doing="scoring validation cases",
    )
    return keep_scaled(run, model, scored, role="validation", say=say)


def keep_scaled(run: PreparedRun, model: Model, scored: Scored, *, role: Role, say: Say) -> Model:
    """Return the model with its presence scaled by ``scored``, and save its tables so scaled.

    ``scored`` holds the presence as the networks told it. Out of fold, each case was told by the
    networks that had not seen it, while the model scales the mean of what all tell, which is
    somewhat less sure. Without
    a presence tables and model are as they were.
    """
    regions = model.classes.regions if model.tells_presence else ()
    scalings = {region: fit_presence_scaling(scored.table, region=region) for region in regions}
    for region, scaling in scalings.items():
        say(scaling.sentence(region))
    save_components(scale_presence(scored.components, scalings), run.folder.components(role))
    save_table(scale_presence(scored.table, scalings), run.folder.scores(role))
    return replace(model, presence=scalings)
