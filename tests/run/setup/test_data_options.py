"""How a run remembers in what way its data were opened."""

import json

import pytest

from rareseg.errors import RunError
from rareseg.run.setup.run_folder import DataOptions, RunFolder, begin_run, read_about


def test_options_come_back_from_their_record(tmp_path):
    said = DataOptions(str(tmp_path), mask_name="{id}_m", folder_split=False)
    assert DataOptions(**said.to_dict()).to_dict() == said.to_dict()
    plain = DataOptions(str(tmp_path)).to_dict()
    assert "mask_name" not in plain  # as earlier versions wrote it
    assert "folder_split" not in plain


def test_what_is_not_said_is_as_in_the_run(tmp_path):
    run = DataOptions(str(tmp_path), mask_name="{id}_m", folder_split=False).to_dict()
    other = DataOptions("elsewhere").like(run)
    assert (other.mask_name, other.folder_split) == ("{id}_m", False)
    told = DataOptions("elsewhere", mask_name="{id}_x", folder_split=True).like(run)
    assert (told.mask_name, told.folder_split) == ("{id}_x", True)


@pytest.mark.parametrize("change", [{"mask_name": "{id}_m"}, {"folder_split": False}])
def test_a_run_is_of_data_opened_in_one_way(tmp_path, change):
    folder = begin_run(tmp_path / "run", DataOptions(str(tmp_path)))
    folder.recipe.write_text("{}")
    assert begin_run(tmp_path / "run", DataOptions(str(tmp_path))).root == folder.root
    with pytest.raises(RunError, match=next(iter(change))):
        begin_run(tmp_path / "run", DataOptions(str(tmp_path), **change))
    assert "layout" in read_about(folder)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("path", value) for value in (None, 3, ["data"])),
        *(("group_from", value) for value in ([None], 3, {})),
        *(("missing_mask", "other"), ("layout", ["folders"]), ("mask_name", 1.5)),
        *(("folder_split", "no"), ("rules", [1]), ("rules", {"binarize": "a"})),
        *(("rules", {"colours": [1]}), ("rules", {"invert": 1}), ("rules", {"unknown": 1})),
    ],
)
def test_a_run_whose_options_are_of_another_type_is_damaged(name, value, tmp_path):
    folder = RunFolder(tmp_path)
    whole = DataOptions("data", group_from="a").to_dict()
    folder.about.write_text(json.dumps({**whole, name: value}), encoding="utf-8")
    with pytest.raises(RunError, match=r"run\.json is damaged"):
        read_about(folder)
