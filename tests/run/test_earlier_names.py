"""Words of earlier versions: the role select, the setting split.select, and promises."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from rareseg.data.dataset import open_dataset
from rareseg.decision.guarantees.guarantee import Certificate, make_guarantee, statement_from_dict
from rareseg.decision.operating_point import OperatingPoint
from rareseg.errors import RecipeError
from rareseg.evaluation.tables.score_table import ScoreTable, score_case
from rareseg.evaluation.tables.score_table_io import load_table, save_table
from rareseg.recipe import make_recipe, parse_settings, read_overrides
from rareseg.recipe.component_size import ANY_SIZE
from rareseg.run.setup.run_folder import RunFolder, read_split


def test_the_earlier_key_of_the_recipe_is_read_and_the_new_one_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        assert parse_settings(["split.select=0.3"]) == {"split": {"validation": 0.3}}
    assert caplog.messages == ["--set: split.select is called split.validation now."]
    recipe = make_recipe({"split": {"train": 0.5, "select": 0.3}})
    assert recipe.split.validation == 0.3


def test_a_recipe_file_of_an_earlier_version_is_read_in_silence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("split:\n  train: 0.5\n  select: 0.3\n", encoding="utf-8")
    assert read_overrides(path) == {"split": {"train": 0.5, "validation": 0.3}}
    assert caplog.messages == []


def test_one_setting_under_both_names_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"split\.select and split\.validation are one setting"):
        parse_settings(["split.select=0.3", "split.validation=0.3"])


def test_the_earlier_role_is_read_from_a_split_and_a_manifest(tmp_path: Path) -> None:
    split = tmp_path / "split.csv"
    split.write_text("id,role,group\na,train,\nb,select,\n", encoding="utf-8")
    assert read_split(split) == {"a": "train", "b": "validation"}
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("id,image,mask,split\na,a.png,empty,select\n", encoding="utf-8")
    assert [case.role for case in open_dataset(manifest).cases] == ["validation"]


def test_a_score_table_of_an_earlier_version_is_found_and_read(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.scores("validation").name == "validation.npz"
    row = score_case([0.2, 0.9], [0, 1], case_id="a", region="r", role="validation")
    earlier = tmp_path / "scores" / "select.npz"
    earlier.parent.mkdir()
    save_table(ScoreTable((row,)), earlier)
    with np.load(earlier) as file:
        columns = dict(file)
    assert columns["role"].tolist() == ["validation"]
    columns["role"] = np.array(["select"])
    np.savez(earlier, **columns)
    assert folder.scores("validation") == earlier
    assert load_table(earlier).rows[0].role == "validation"


def test_a_point_and_a_certificate_of_an_earlier_version_are_read() -> None:
    point = OperatingPoint("r", threshold=0.5, role="validation")
    assert OperatingPoint.from_dict({**point.to_dict(), "role": "select"}) == point
    statement = Certificate(
        region="r",
        guarantee=make_guarantee("false alarm rate", 0.1, confidence=0.95),
        threshold=0.5,
        gate=0.0,
        smallest_component=ANY_SIZE,
        value=0.0,
        n_groups=59,
        n_cases=59,
        role="validation",
        method="m",
        cases="d",
        arithmetic={},
        assumes_independent_images=False,
    )
    record = {**statement.to_dict(), "role": "select"}
    record["promise"] = record.pop("guarantee")
    assert statement_from_dict(record) == statement
