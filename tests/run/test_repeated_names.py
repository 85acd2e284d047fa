"""A key or column that stands twice, in whatever a user gives, is an error that names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from rareseg.data.dataset import open_dataset
from rareseg.data.layouts.annotation_files.json_text import members, read_json
from rareseg.data.layouts.dataset_json import read_description
from rareseg.errors import RaresegError
from rareseg.recipe import read_overrides
from rareseg.run.setup.run_folder import RunFolder, read_about
from rareseg.run.setup.split_files import read_folds, read_split

TEXTS = {
    "recipe.yaml": ("training:\n  steps: 5\n  steps: 50\n", read_overrides, "key 'steps'"),
    "dataset.json": ('{"labels": {"a": 1, "a": 2}}', read_description, "key 'a'"),
    "split.csv": ("id,role,role\na,train,test\n", read_split, "column 'role'"),
    "folds.csv": ("id,fold,fold\na,0,1\n", read_folds, "column 'fold'"),
    "coco.json": (
        '{"images": [], "annotations": [{"id": 1, "id": 2}]}',
        lambda path: list(members(path)),
        "key 'id'",
    ),
    "twice.json": (
        '{"images": [{}], "images": [{"id": 1}]}',
        lambda path: list(members(path)),
        "key 'images'",
    ),
    "labelme.json": ('{"shapes": [], "shapes": [1]}', read_json, "key 'shapes'"),
    "manifest.csv": ("id,image,mask,mask\na,a.png,b.png,c.png\n", open_dataset, "column 'mask'"),
    "list.json": (
        '{"training": [{"image": "a.nii", "label": "b.nii", "label": "c.nii"}]}',
        open_dataset,
        "key 'label'",
    ),
    "run.json": (
        '{"path": "a", "path": "b"}',
        lambda path: read_about(RunFolder(path.parent)),
        "key 'path'",
    ),
}


@pytest.mark.parametrize("name", TEXTS)
def test_what_stands_twice_is_named_with_its_file(name: str, tmp_path: Path) -> None:
    text, read, what = TEXTS[name]
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RaresegError, match=rf"{what} stands there twice") as caught:
        read(path)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_recipe_of_many_aliases_ends_at_once(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, 10)]
    path = tmp_path / "recipe.yaml"
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(RaresegError, match=r"recipe\.yaml .* more than 100,000 values"):
        read_overrides(path)
