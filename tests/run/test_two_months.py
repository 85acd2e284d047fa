"""`evaluate --against` an evaluation of other cases, and of the same; of some it is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from rareseg.data.builtin.specks import SpecksSettings, write_specks
from rareseg.evaluation.comparisons.unpaired_test import CaseLine, read_case_lines


@pytest.fixture(scope="module")
def months(tmp_path_factory) -> tuple[Path, Path]:
    """June, and July with fewer specks; their cases have other names."""
    folder = tmp_path_factory.mktemp("months")
    june = SpecksSettings(
        images=24, size=64, contrast=8.0, foreground_share=0.06, distractors=1, seed=31
    )
    july = SpecksSettings(
        images=24, size=64, contrast=8.0, foreground_share=0.06, distractors=1, seed=32,
        empty_share=0.8,
    )  # fmt: skip
    made = write_specks(folder / "june", june), write_specks(folder / "july", july)
    for kind in ("images", "masks"):
        for path in (made[1] / kind).iterdir():
            path.rename(path.with_name(f"july_{path.name}"))
    manifest = made[1] / "manifest.csv"
    if manifest.is_file():
        manifest.write_text(manifest.read_text().replace("plate", "july_plate"))
    return made


def test_other_cases_are_compared_unpaired_by_stratum(call, finished, months, tmp_path):
    june, july = months
    assert call("evaluate", finished, june, "--out", tmp_path / "june").code == 0
    called = call(
        "evaluate", finished, july, "--out", tmp_path / "july", "--against", tmp_path / "june"
    )
    assert called.code == 0, called.err
    assert "foreground against june, on other cases" in called.out
    record = json.loads((tmp_path / "july" / "scorecard.json").read_text())["against"]
    assert record["regions"] == {}
    lines = {one["measure"]: one for one in record["other_cases"]["foreground"]}
    assert {one["of"] for one in lines.values()} == {"results", "data"}
    share = lines["share of cases with the region"]
    assert share["first"]["value"] == pytest.approx(0.5)
    assert share["second"]["value"] < 0.4
    assert lines["false alarm"]["first"]["n_cases"] == 12
    page = (tmp_path / "july" / "report.html").read_text(encoding="utf-8")
    assert "Against june, on other cases" in page
    assert "share of cases with the region" in page


def test_the_file_says_what_the_results_say(call, finished, months, tmp_path):
    from rareseg.run.evaluate import evaluate

    found = evaluate(finished, months[0], tmp_path / "june")
    assert read_case_lines(tmp_path / "june" / "cases.csv") == pytest.approx(
        [CaseLine.of(result) for result in found.content.results]
    )


def test_some_of_the_same_cases_are_refused(call, finished, months, tmp_path):
    june, _ = months
    assert call("evaluate", finished, june, "--out", tmp_path / "june").code == 0
    text = (tmp_path / "june" / "cases.csv").read_text().splitlines(keepends=True)
    shutil.copytree(tmp_path / "june", tmp_path / "part")
    (tmp_path / "part" / "cases.csv").write_text("".join(text[:-3]))
    called = call(
        "evaluate", finished, june, "--out", tmp_path / "again", "--against", tmp_path / "part"
    )
    assert called.code == 1
    assert "compared on the same cases" in called.err
