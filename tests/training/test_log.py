"""The log of a run: rows, what a kill leaves behind, and what a resumed run makes of it."""

import pytest

from rareseg.errors import WorkError
from rareseg.training.log import STEP_COLUMNS, TrainingLog, describe_waiting, read_table


def note(journal: TrainingLog, *steps: int) -> None:
    for step in steps:
        journal.step(step, **dict.fromkeys(STEP_COLUMNS[1:], step / 8))


def test_rows_come_back_as_columns(tmp_path):
    with TrainingLog(tmp_path, first_step=0) as journal:
        note(journal, 20, 40)
        journal.validation(40, score=0.25, best=0.5)
    assert read_table(tmp_path / "steps.csv")["step"] == [20, 40]
    assert read_table(tmp_path / "steps.csv")["loss"] == [2.5, 5]
    assert read_table(tmp_path / "validations.csv") == {
        "step": [40],
        "score": [0.25],
        "best": [0.5],
    }


def test_a_missing_or_empty_table_has_no_columns(tmp_path):
    assert read_table(tmp_path / "steps.csv") == {}
    with TrainingLog(tmp_path, first_step=0):
        pass
    assert read_table(tmp_path / "steps.csv") == {}


def test_rows_beyond_the_checkpoint_are_written_anew(tmp_path):
    with TrainingLog(tmp_path, first_step=0) as journal:
        note(journal, 20, 40, 60)
    with TrainingLog(tmp_path, first_step=40) as journal:
        assert read_table(tmp_path / "steps.csv")["step"] == [20, 40]
        note(journal, 60, 80)
    assert read_table(tmp_path / "steps.csv")["step"] == [20, 40, 60, 80]


def test_a_row_that_a_kill_cut_short_is_dropped(tmp_path):
    with TrainingLog(tmp_path, first_step=0) as journal:
        note(journal, 20, 40)
    whole = (tmp_path / "steps.csv").read_text()
    (tmp_path / "steps.csv").write_text(whole[: whole.rindex(",")])
    with TrainingLog(tmp_path, first_step=40) as journal:
        note(journal, 60)
    assert read_table(tmp_path / "steps.csv")["step"] == [20, 60]


def test_tensorboard_reads_the_same_numbers(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with TrainingLog(tmp_path, first_step=0) as journal:
        note(journal, 20, 40)
        journal.validation(40, score=0.25, best=0.5)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("training/loss")] == [(20, 2.5), (40, 5.0)]
    assert [(e.step, e.value) for e in events.Scalars("validation/score")] == [(40, 0.25)]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "training").write_text("a file")
    with pytest.raises(WorkError, match=r"training.* could not be written"):
        TrainingLog(tmp_path / "training", first_step=0)


def test_waiting_is_worth_a_word_from_a_twentieth_on():
    assert describe_waiting(0.0, workers=0) is None
    assert describe_waiting(0.05, workers=0) is None
    said = describe_waiting(0.12, workers=0)
    assert said is not None
    assert "waits for patches 12 % of the time" in said
    assert "with training.workers=2" in said
    assert "more training.workers than 3" in (describe_waiting(0.12, workers=3) or "")
