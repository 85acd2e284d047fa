import shutil
from collections import Counter
from dataclasses import replace

import pytest

from rareseg.data.checks.fingerprint import inspect_dataset
from rareseg.data.dataset import open_dataset
from rareseg.errors import RecipeError, UsageError
from rareseg.study.comparison_rows import make_rows
from rareseg.study.design import data_hash, make_design


@pytest.fixture(scope="module")
def fingerprint(specks):
    return inspect_dataset(open_dataset(specks))


def design(fingerprint, rows=("random", "hard"), texts=(), *, seeds=2, folds=1, **values):
    declared = values.pop("declared", {})
    shared = {"training": {"steps": 40, "seed": 3}, **values}
    return make_design(
        fingerprint, make_rows(rows, texts), shared, seeds=seeds, folds=folds, declared=declared
    )


def test_rows_differ_in_what_they_say_and_in_nothing_else(fingerprint):
    made = design(fingerprint, texts=["focal:loss.name=focal,sampling.strategy=random"])
    assert made.departures("random") == []
    assert made.departures("hard") == ["sampling.strategy: random → hard"]
    loss = made.recipes["random"].loss.name
    assert made.departures("focal") == [f"loss.name: {loss} → focal"]


def test_every_row_is_tried_once_before_any_is_tried_twice(fingerprint):
    cells = design(fingerprint, folds=2).cells()
    assert [(c.row, c.seed, c.fold) for c in cells] == [
        (row, seed, fold) for seed in (3, 4) for fold in (0, 1) for row in ("random", "hard")
    ]
    assert len({cell.key for cell in cells}) == 8
    assert all(cell.recipe.training.seed == cell.seed for cell in cells)


def test_more_seeds_and_rows_leave_the_other_cells_as_they_were(fingerprint):
    few, many = design(fingerprint, ["random"], seeds=1), design(fingerprint, seeds=3)
    assert {cell.key for cell in few.cells()} < {cell.key for cell in many.cells()}
    other = design(fingerprint, ["random"], seeds=1, network={"dropout": 0.1})
    assert not {cell.key for cell in few.cells()} & {cell.key for cell in other.cells()}


def test_of_several_folds_each_tests_other_cases_and_groups_stay_whole(fingerprint):
    made = design(fingerprint, folds=3)
    tested = Counter(c for roles in made.roles for c, role in roles.items() if role == "test")
    assert tested == {case.id: 1 for case in fingerprint.cases}
    for roles in made.roles:
        assert set(roles.values()) == {"train", "validation", "test"}
        of_group: dict = {}
        for case in fingerprint.cases:
            assert of_group.setdefault(case.group or case.id, roles[case.id]) == roles[case.id]


def test_data_are_told_by_what_they_hold_not_by_where_they_lie(fingerprint, specks, tmp_path):
    shutil.copytree(specks, tmp_path / "copy")
    copied = inspect_dataset(open_dataset(tmp_path / "copy"))
    assert data_hash(copied) == data_hash(fingerprint)
    first = next((tmp_path / "copy").rglob("plate*.png"))
    first.unlink()
    with_less = inspect_dataset(open_dataset(tmp_path / "copy"))
    assert data_hash(with_less) != data_hash(fingerprint)


def test_the_last_digits_of_a_sum_make_no_other_data(fingerprint):
    first = fingerprint.cases[0]

    def shifted(by):
        channel = replace(first.intensities[0], mean=first.intensities[0].mean * (1 + by))
        case = replace(first, intensities=(channel,))
        return replace(fingerprint, cases=(case, *fingerprint.cases[1:]))

    assert data_hash(shifted(1e-14)) == data_hash(fingerprint)
    assert data_hash(shifted(1e-3)) != data_hash(fingerprint)


def test_what_cannot_be_compared_is_refused(fingerprint):
    with pytest.raises(UsageError, match="no cell"):
        design(fingerprint, seeds=0)
    with pytest.raises(UsageError, match="compare with --folds"):
        design(fingerprint, split={"folds": 3})
    with pytest.raises(UsageError, match="No case has the role test"):
        design(fingerprint, split={"train": 0.7, "validation": 0.3, "test": 0.0})
    with pytest.raises(RecipeError, match=r"patch_size is \[40, 40\].*such as \[32, 32\]"):
        design(fingerprint, texts=["windows:sampling.patch_size=[40, 40]"])
    declared = {fingerprint.cases[0].id: "test"}
    with pytest.raises(UsageError, match="leaves one fold"):
        design(fingerprint, folds=2, declared=declared)
