"""A training of two cases ends well, and says that it measured nothing."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import PIL.Image
import pytest


@pytest.mark.parametrize(("cases", "told"), [(1, "There is 1 group"), (2, "There are 2 groups")])
def test_so_few_are_trained_on_as_inspect_says(cases, told, call, settings, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(cases):
        mask = np.zeros((48, 48), np.uint8)
        mask[10:18, 20:28] = 255 * (number == 0)
        image = (rng.normal(100, 15, mask.shape) + (mask > 0) * 60).clip(0, 255).astype(np.uint8)
        for name, array in (("images", image), ("masks", mask)):
            (tmp_path / "data" / name).mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray(array).save(tmp_path / "data" / name / f"{number}.png")
    assert call("inspect", tmp_path / "data").code == 0
    usual = settings(training__steps=4)
    kept = [
        (key, value)
        for key, value in zip(usual[::2], usual[1::2], strict=True)
        if not value.startswith(("split.", "training.validations"))
    ]
    run = tmp_path / "run"
    called = call(
        "train", tmp_path / "data", "--out", run, *(word for pair in kept for word in pair)
    )
    assert called.code == 0, called.err
    said = called.out + called.err
    assert f"{told}, where 3 are needed" in said
    assert "no validation case, so that the last weights are kept" in said
    assert "No case of" in said
    assert "rareseg evaluate" in said
    assert not (run / "report.html").exists()
    with (run / "split.csv").open(newline="", encoding="utf-8") as split:
        assert {row["role"] for row in csv.DictReader(split)} == {"train"}
