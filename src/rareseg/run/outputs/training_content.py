"""Collect what a report shows of the training."""

from __future__ import annotations

from dataclasses import replace

from rareseg.prediction.model import Model
from rareseg.report.report_content import ROLE_PURPOSES, History, ReportContent, fold_purposes
from rareseg.report.wording.initial_weights_text import initial_weights_sentences, stage_sentences
from rareseg.run.setup.prepare import read_reasons
from rareseg.run.setup.run_folder import RunFolder
from rareseg.training.log import read_table
from rareseg.training.mining_round import RECORD, read_record


def with_training(content: ReportContent, folder: RunFolder, model: Model) -> ReportContent:
    """Return the content with the recipe and its reasons, the curves, and what was drawn."""
    in_folds = folder.folds.is_file()
    # Of networks that learned side by side the first stands for all.
    training = folder.training / "fold_0" if in_folds else folder.training
    if model.cascade is not None:
        training = folder.stage(2)
    return replace(
        content,
        recipe=model.recipe,
        reasons=read_reasons(folder.recipe),
        role_purposes=(fold_purposes(model.recipe.split.held_out) if in_folds else ROLE_PURPOSES),
        history=History(
            read_table(training / "steps.csv"), read_table(training / "validations.csv")
        ),
        initial_weights=initial_weights_sentences(model.training.initial_weights),
        stages=stage_sentences(model.cascade),
        composition=model.training.delivered,
        mining=read_record(training / RECORD),
    )
