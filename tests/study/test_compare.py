"""A comparison from call to page, gone on with, settings, and refused where it must be."""

from __future__ import annotations

import contextlib
import csv
import json
import math
import shutil
import statistics
from contextlib import contextmanager

import optuna
import pytest

from rareseg.errors import WorkError
from rareseg.run.setup.split_files import read_split
from rareseg.study import compare
from rareseg_runner import atomic_files

ROWS = ("--strategies", "random,balanced", "--row", "focal:loss.name=focal")


@pytest.fixture(scope="module")
def compared(specks, settings, call, tmp_path_factory):
    """Three rows, two seeds."""
    out = tmp_path_factory.mktemp("compared") / "out"
    called = call("compare", specks, "--out", out, *ROWS, "--seeds", 2, "--steps", 30, *settings())
    assert called.code == 0, called.err
    return out, called


def table(out):
    with (out / "table.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def cells(out):
    return sorted((out / "cells").iterdir())


def test_every_cell_has_its_own_recipe_and_all_the_same_cases(compared):
    out, _ = compared
    runs = cells(out)
    assert len(runs) == 6
    splits = [read_split(run / "split.csv") for run in runs]
    assert all(split == splits[0] for split in splits)
    text = [(run / "recipe.yaml").read_text(encoding="utf-8") for run in runs]
    assert sum("strategy: random" in recipe for recipe in text) == 2
    assert sum("name: focal" in recipe for recipe in text) == 2
    assert sum("seed: 1\n" in recipe for recipe in text) == 3
    assert not any((run / "store").exists() for run in runs)


def test_the_table_is_the_mean_of_what_evaluation_counts(compared, call, specks, tmp_path):
    """Each cell is a run, and `evaluate` of it gives the cases behind the table."""
    out, _ = compared
    by_row: dict[str, list[float]] = {}
    alarms: dict[str, list[float]] = {}
    for number, run in enumerate(cells(out)):
        recipe = (run / "recipe.yaml").read_text(encoding="utf-8")
        row = "random" if "strategy: random" in recipe else "balanced"
        row = "focal" if "name: focal" in recipe else row
        called = call("evaluate", run, specks, "--out", tmp_path / str(number))
        assert called.code == 0, called.err
        with (tmp_path / str(number) / "cases.csv").open(encoding="utf-8") as file:
            lines = list(csv.DictReader(file))
        by_row.setdefault(row, []).append(
            statistics.mean(float(li["dice"]) for li in lines if li["stratum"] == "positive")
        )
        alarms.setdefault(row, []).append(
            statistics.mean(int(li["false_alarm"]) for li in lines if li["stratum"] == "negative")
        )
    for line in table(out):
        if line["cut"] != "chosen point":
            continue
        if line["measure"] == "dice":
            assert math.isclose(float(line["value"]), statistics.mean(by_row[line["row"]]))
        if line["measure"] == "false alarm":
            assert math.isclose(float(line["value"]), statistics.mean(alarms[line["row"]]))


def test_differences_are_to_the_first_row(compared):
    out, _ = compared
    dice = {
        line["row"]: line
        for line in table(out)
        if (line["cut"], line["measure"]) == ("0.5", "dice")
    }
    assert list(dice) == ["random", "balanced", "focal"]
    assert dice["random"]["difference"] == ""
    for row in ("balanced", "focal"):
        expected = float(dice[row]["value"]) - float(dice["random"]["value"])
        assert float(dice[row]["difference"]) == pytest.approx(expected)
        assert float(dice[row]["low"]) <= expected <= float(dice[row]["high"])
    record = json.loads((out / "table.json").read_text(encoding="utf-8"))
    assert record["rows"]["balanced"] == ["sampling.strategy: random → balanced"]
    assert len(record["table"]) == len(table(out))


def test_the_page_shows_the_table_and_the_same_cases(compared):
    out, called = compared
    page = (out / "compare.html").read_text(encoding="utf-8")
    assert "foreground, at 0.5" in page
    assert page.count('class="card picture side-by-side') >= 4
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "sampling.strategy: random → balanced" in page
    assert "Page: " in called.out
    assert "(difference to the first row" in called.out


def test_called_again_it_trains_nothing_and_says_the_same(compared, specks, settings, call):
    out, first = compared
    before = {run: (run / "bundle" / "bundle.json").stat().st_mtime_ns for run in cells(out)}
    called = call("compare", specks, "--out", out, *ROWS, "--seeds", 2, "--steps", 30, *settings())
    assert called.code == 0, called.err
    assert before == {r: (r / "bundle" / "bundle.json").stat().st_mtime_ns for r in cells(out)}
    assert called.out.splitlines()[-8:] == first.out.splitlines()[-8:]


def test_what_was_begun_otherwise_is_refused_by_name(compared, specks, settings, call):
    out, _ = compared
    called = call("compare", specks, "--out", out, *ROWS, "--seeds", 2, "--steps", 31, *settings())
    assert called.code == 1
    assert "shared.training.steps 30, not 31" in called.err
    other = ("--strategies", "random", "--row", "focal:loss.name=tversky", "--steps", 30)
    called = call("compare", specks, "--out", out, *other, *settings())
    assert called.code == 1
    assert "rows.focal.loss.name focal, not tversky" in called.err


def test_rows_can_be_added_and_left_out(compared, specks, settings, call, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(compared[0], out)
    before = {run.name for run in cells(out)}
    called = call(
        "compare", specks, "--out", out, "--strategies", "random,negatives", "--steps", 30,
        *settings(),
    )  # fmt: skip
    assert called.code == 0, called.err
    assert len({run.name for run in cells(out)} - before) == 1
    assert list(dict.fromkeys(line["row"] for line in table(out))) == ["random", "negatives"]


def test_a_candidate_is_held_against_the_others(compared, specks, settings, call, tmp_path):
    """Of what was trained before: a claim is a question, not another comparison."""
    out = tmp_path / "out"
    shutil.copytree(compared[0], out)
    called = call(
        "compare", specks, "--out", out, *ROWS, "--seeds", 2, "--steps", 30, "--candidate", "focal",
        "--margin", 0.05, *settings(),
    )  # fmt: skip
    assert called.code == 0, called.err
    assert len(cells(out)) == 6
    claims = json.loads((out / "table.json").read_text(encoding="utf-8"))["claims"]
    assert [claim["cut"] for claim in claims] == ["0.5", "chosen point"]
    assert all(claim["rivals"] == ["random", "balanced"] for claim in claims)
    said = [line for line in called.out.splitlines() if line.startswith("focal ")]
    assert len(said) == 2
    assert all(
        ("may replace" in line) == claim["holds"] for line, claim in zip(said, claims, strict=True)
    )
    assert "focal" in (out / "compare.html").read_text(encoding="utf-8").split("<h2>")[0]
    by_row = {(x["cut"], x["region"], x["measure"], x["row"]): x["value"] for x in table(out)}
    for claim in claims:
        for held in claim["held"]:
            place = (claim["cut"], held["region"], held["measure"])
            expected = float(by_row[*place, "focal"]) - float(by_row[*place, held["rival"]])
            assert held["difference"] == pytest.approx(expected)


def test_two_folds_test_every_case_once(specks, settings, call, tmp_path):
    called = call(
        "compare", specks, "--out", tmp_path / "out", "--strategies", "random", "--folds", 2,
        "--steps", 20, *settings(), "--json",
    )  # fmt: skip
    assert called.code == 0, called.err
    record = json.loads(called.out)
    components = next(
        line for line in record["table"] if line["measure"] == "false positive components"
    )
    assert components["n_cases"] == 30


def test_two_processes_share_the_cells(specks, settings, call, compared, tmp_path):
    """They end with the table that one process makes."""
    out, _ = compared
    called = call(
        "compare", specks, "--out", tmp_path / "out", *ROWS, "--seeds", 2, "--steps", 30,
        "--parallel", 2, *settings(),
    )  # fmt: skip
    assert called.code == 0, called.err
    assert table(tmp_path / "out") == table(out)


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (("--strategies", "balancd"), 2, "did you mean 'balanced'"),
        (("--row", "a:loss.nam=focal"), 2, "did you mean 'name'"),
        ((), 2, "no row"),
        (
            ("--strategies", "random", "--storage", "postgresql+psycopg://127.0.0.1:1/x"),
            2,
            "storage",
        ),
        (("--strategies", "random", "--set", "split.folds=3"), 2, "--folds"),
        (("--strategies", "random,hard", "--candidate", "had"), 2, "did you mean 'hard'"),
        (("--strategies", "random", "--candidate", "random"), 2, "two or more"),
        (("--strategies", "random,hard", "--candidate", "hard", "--margin", "2"), 2, "--margin"),
    ],
)
def test_what_cannot_be_compared_is_a_sentence(
    arguments, code, word, specks, settings, call, tmp_path
):
    called = call("compare", specks, "--out", tmp_path / "out", *arguments, *settings())
    assert called.code == code
    assert word in called.err
    assert "Traceback" not in called.err
    assert not (tmp_path / "out").exists()


def test_a_row_whose_cells_fail_is_left_out_and_named(specks, settings, call, tmp_path):
    """Weights that are not there are missed when the cell is run."""
    called = call(
        "compare", specks, "--out", tmp_path / "out", "--strategies", "random", "--row",
        f"begun:network.name=encoder_unet,network.encoder_weights={tmp_path / 'nowhere.pt'}",
        "--steps", 20, *settings(),
    )  # fmt: skip
    assert called.code == 1
    assert "begun, seed 0, fold 0 failed" in called.out
    assert {line["row"] for line in table(tmp_path / "out")} == {"random"}
    page = (tmp_path / "out" / "compare.html").read_text(encoding="utf-8")
    assert "begun, seed 0, fold 0 failed, so that its row is not shown" in page


def test_a_row_of_no_possible_network_is_refused_before_anything_is_trained(
    specks, settings, call, tmp_path
):
    called = call(
        "compare", specks, "--out", tmp_path / "out", "--strategies", "random", "--row",
        "flat:network.width=[8, 8]", "--steps", 20, *settings(),
    )  # fmt: skip
    assert called.code == 2
    assert "half_unet needs at least 3 levels" in " ".join(called.err.split())
    assert not (tmp_path / "out").exists()


def test_a_disk_that_fills_in_mid_cell_costs_that_cell_alone(
    specks, settings, call, tmp_path, monkeypatch
):
    """The others are recorded; called again with room, the cell is trained and the row shown."""
    full = iter([True])
    run_cell = compare.run_cell

    def filling(cell, *arguments, **options):
        if cell.row == "balanced" and next(full, False):
            monkeypatch.setattr(atomic_files, "naming", no_room)
        try:
            return run_cell(cell, *arguments, **options)
        finally:
            monkeypatch.setattr(atomic_files, "naming", naming)

    @contextmanager
    def no_room(path):
        raise WorkError(f"{path} could not be written (No space left on device); make room.")
        yield

    naming = atomic_files.naming
    monkeypatch.setattr(compare, "run_cell", filling)
    arguments = (
        "compare", specks, "--out", tmp_path / "out", "--strategies", "random,balanced,hard",
        "--steps", 20, *settings(),
    )  # fmt: skip
    called = call(*arguments)
    assert called.code == 1
    assert "balanced, seed 0, fold 0 failed" in called.out
    assert "No space left on device" in called.out
    assert {line["row"] for line in table(tmp_path / "out")} == {"random", "hard"}
    again = call(*arguments)
    assert again.code == 0, again.err
    assert {line["row"] for line in table(tmp_path / "out")} == {"random", "balanced", "hard"}


def test_what_another_worker_began_otherwise_is_refused_before_the_folder_is_written(
    specks, settings, call, tmp_path
):
    shared = ("--storage", f"sqlite:///{tmp_path / 'shared' / 'study.db'}", "--name", "table")
    arguments = ("--strategies", "random", *settings(), *shared)
    called = call("compare", specks, "--out", tmp_path / "one", *arguments, "--steps", 20)
    assert called.code == 0, called.err
    called = call("compare", specks, "--out", tmp_path / "two", *arguments, "--steps", 21)
    assert called.code == 1
    assert "shared.training.steps 20, not 21" in called.err
    assert not (tmp_path / "two").exists()


def test_an_interrupted_comparison_goes_on(specks, settings, call, tmp_path, monkeypatch):
    """Stopped between two cells: the first is not trained again, the second gets its turn."""
    run_cell, ran = compare.run_cell, []

    def stopping(cell, *arguments, **options):
        ran.append(cell.row)
        if len(ran) == 2:
            raise KeyboardInterrupt
        return run_cell(cell, *arguments, **options)

    monkeypatch.setattr(compare, "run_cell", stopping)
    arguments = (
        "compare", specks, "--out", tmp_path / "out", "--strategies", "random,balanced",
        "--steps", 20, *settings(),
    )  # fmt: skip
    with contextlib.suppress(KeyboardInterrupt):
        assert call(*arguments).code != 0
    called = call(*arguments)
    assert called.code == 0, called.err
    assert ran == ["random", "balanced", "balanced"]


def test_a_comparison_of_an_earlier_release_is_refused_and_stays_readable(
    specks, settings, call, tmp_path
):
    """That of the older format was a study of Optuna beside the same note."""
    out = tmp_path / "out"
    out.mkdir()
    about = json.dumps({"data": str(specks.resolve())}, indent=1) + "\n"
    (out / "compare.json").write_text(about, encoding="utf-8")
    (out / "table.json").write_text("{}", encoding="utf-8")
    old = optuna.create_study(study_name="out", storage=f"sqlite:///{out / 'study.db'}")
    old.set_user_attr("identity.0", "{}")
    old.set_user_attr("identity", 1)
    called = call(
        "compare", specks, "--out", out, "--strategies", "random", "--steps", 20, *settings()
    )
    assert called.code == 1
    assert "'out' was begun by an earlier release of rareseg" in " ".join(called.err.split())
    assert "choose another --out" in " ".join(called.err.split())
    assert (out / "table.json").read_text(encoding="utf-8") == "{}"


def test_a_row_that_the_memory_cannot_hold_costs_that_row_alone(specks, settings, call, tmp_path):
    called = call(
        "compare", specks, "--out", tmp_path / "out", "--strategies", "random,hard",
        "--row", "wide:network.width=[1, 3000000, 1]", "--steps", 20, *settings(),
    )  # fmt: skip
    assert called.code == 1
    assert "wide, seed 0, fold 0 failed: The memory is full" in " ".join(called.out.split())
    assert {line["row"] for line in table(tmp_path / "out")} == {"random", "hard"}
