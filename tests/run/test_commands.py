"""What the commands refuse, keep and print."""

import csv
import json
import os
import shutil

import numpy as np
import PIL.Image
import pytest

from rareseg.data.builtin.specks import SpecksSettings, write_specks
from rareseg.errors import RaresegError
from rareseg.run.setup.prepare import TrainingOptions


def contents(folder):
    """Return every file below a folder with its bytes."""
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def refused(called, *words, code):
    """Assert one sentence on standard error that holds all the words, and no traceback."""
    assert called.code == code, called.err
    lines = called.err.strip().splitlines()
    sentences = [line for line in lines if line.startswith("Error: ")]
    assert len(sentences) == 1
    assert "Traceback" not in called.err
    for word in words:
        assert str(word) in sentences[0]
    assert sentences[0].endswith(".")


@pytest.fixture
def run(finished, tmp_path):
    """A copy of the finished run, free to be changed."""
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


class TestARunThatStands:
    def test_other_settings_are_refused_and_the_difference_is_named(
        self, run, specks, call, settings
    ):
        before = contents(run)
        called = call("train", specks, "--out", run, *settings(training__steps=99))
        refused(called, run, "training.steps: 60 → 99", "another --out", code=1)
        assert contents(run) == before

    def test_the_same_call_without_settings_goes_on(self, run, specks, call):
        before = (run / "bundle" / "weights.safetensors").read_bytes()
        assert call("train", specks, "--out", run).code == 0
        assert (run / "bundle" / "weights.safetensors").read_bytes() == before

    def test_other_data_are_refused(self, run, call, settings, tmp_path):
        other = write_specks(tmp_path / "other", SpecksSettings(images=8, size=64))
        before = contents(run)
        called = call("train", other, "--out", run, *settings())
        refused(called, run, other, "another --out", code=1)
        assert contents(run) == before

    def test_changed_data_are_refused(self, run, specks, call, settings, tmp_path):
        data = tmp_path / "data"
        shutil.copytree(specks, data)
        about = json.loads((run / "run.json").read_text(encoding="utf-8"))
        (run / "run.json").write_text(json.dumps(about | {"path": str(data)}))
        assert call("train", data, "--out", run, *settings()).code == 0
        image = next((data / "images").iterdir())
        PIL.Image.fromarray(np.zeros((64, 64), np.uint8)).save(image)
        before = contents(run)
        called = call("train", data, "--out", run, *settings())
        refused(called, data, "changed", "another --out", code=1)
        assert contents(run) == before

    @pytest.mark.parametrize("name", ["bundle/bundle.json", "run.json", "split.csv"])
    def test_damage_is_named(self, name, run, specks, call):
        (run / name).write_text("{")
        called = call("evaluate", run, specks, "--out", run.parent / "scores")
        refused(called, run / name.split("/")[0], code=1)

    def test_an_unfinished_run_says_how_to_finish_it(self, run, specks, call):
        (run / "bundle" / "bundle.json").unlink()
        called = call("predict", run, specks / "images", "--out", run.parent / "masks")
        refused(called, run, "rareseg train", code=1)

    def test_a_folder_that_is_no_run_is_named(self, specks, call, tmp_path):
        refused(call("tune", tmp_path), tmp_path, "run.json", code=1)
        refused(call("evaluate", tmp_path, specks, "--out", tmp_path / "o"), tmp_path, code=1)


class TestARunThatNeverLearned:
    """What failed before the recipe was written may be called again, told better."""

    def test_the_remedy_that_was_named_can_be_followed(self, specks, call, settings, tmp_path):
        data, run = tmp_path / "data", tmp_path / "run"
        shutil.copytree(specks, data)
        (data / "manifest.csv").unlink()
        for mask in (data / "masks").iterdir():
            if not np.asarray(PIL.Image.open(mask)).any():
                mask.unlink()
        options = settings(training__steps=2, training__validations=1)
        first = call("train", data, "--out", run, *options)
        assert first.code == 1
        assert "--missing-mask negative" in first.err
        second = call("train", data, "--out", run, "--missing-mask", "negative", *options)
        assert second.code == 0, second.err

    def test_the_split_is_that_of_the_recipe(self, specks, call, settings, tmp_path):
        run = tmp_path / "run"
        wrong = settings(split__seed=1, sampling__strategy="balancd")
        refused(call("train", specks, "--out", run, *wrong), "balancd", "'balanced'", code=2)
        right = settings(split__seed=2, training__steps=2, training__validations=1)
        assert call("train", specks, "--out", run, *right).code == 0
        fresh = tmp_path / "fresh"
        assert call("train", specks, "--out", fresh, *right).code == 0
        assert (run / "split.csv").read_bytes() == (fresh / "split.csv").read_bytes()

    @pytest.mark.parametrize(
        ("wish", "words"),
        [
            ({"network__name": "halfunet"}, ("halfunet", "'half_unet'")),
            ({"loss__name": "dice"}, ("loss.name", "dice_cross_entropy")),
            ({"sampling__batch_size": 0}, ("sampling.batch_size", "0")),
            ({"data__dimension": 3}, ("data.dimension", "photographs", "2 is allowed")),
            ({"sampling__patch_size": [8, 8, 8]}, ("sampling.patch_size", "data.dimension")),
            (
                {"network__width": [4, 4, 4, 4], "sampling__patch_size": [40, 64]},
                ("sampling.patch_size is [40, 64]", "multiples of", "such as [32, 64]"),
            ),
        ],
    )
    def test_impossible_wishes_are_found_before_a_recipe_is_written(
        self, wish, words, specks, call, settings, tmp_path
    ):
        called = call("train", specks, "--out", tmp_path / "run", *settings(**wish))
        refused(called, *words, code=2)
        assert not (tmp_path / "run" / "recipe.yaml").exists()

    def test_a_memory_that_is_full_is_named_with_what_needs_less(
        self, specks, call, settings, tmp_path
    ):
        wide = settings(network__width=[1, 3000000, 1])
        called = call("train", specks, "--out", tmp_path / "run", *wide)
        refused(called, "The memory is full", "sampling.batch_size", "network.width", code=1)


class TestPlannedRecipe:
    def test_a_planned_recipe_trains_and_resumes(self, specks, call, settings, tmp_path):
        recipe, run = tmp_path / "recipe.yaml", tmp_path / "run"
        options = settings(training__steps=2, training__validations=1, training__threads=0)
        assert call("plan", specks, "--out", recipe, *options).code == 0
        first = call("train", specks, "--out", run, "--recipe", recipe)
        assert first.code == 0, first.err
        again = call("train", specks, "--out", run, "--recipe", recipe)
        assert again.code == 0, again.err

    def test_plan_overwrites_nothing(self, specks, call, tmp_path):
        (tmp_path / "recipe.yaml").write_text("mine")
        called = call("plan", specks, "--out", tmp_path / "recipe.yaml")
        refused(called, tmp_path / "recipe.yaml", "--out", code=2)
        assert (tmp_path / "recipe.yaml").read_text(encoding="utf-8") == "mine"

    def test_a_budget_replaces_the_steps_of_a_file_but_not_those_set_beside_it(self, tmp_path):
        recipe = tmp_path / "recipe.yaml"
        recipe.write_text("training:\n  steps: 700\n  weight_decay: 0.1\n")
        assert TrainingOptions(recipe).overrides() == {
            "training": {"steps": 700, "weight_decay": 0.1}
        }
        assert TrainingOptions(recipe, budget="1h").overrides() == {
            "training": {"weight_decay": 0.1}
        }
        with pytest.raises(RaresegError, match=r"--budget 1h.*training\.steps"):
            TrainingOptions(settings=["training.steps=5"], budget="1h").overrides()


class TestOutputs:
    @pytest.mark.parametrize("command", ["train", "predict", "evaluate", "demo"])
    def test_a_folder_that_holds_something_else_is_left_alone(
        self, command, finished, specks, call, tmp_path
    ):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "thesis.txt").write_text("years of work")
        before = contents(tmp_path)
        arguments = {
            "train": [specks],
            "predict": [finished, specks / "images"],
            "evaluate": [finished, specks],
            "demo": [],
        }[command]
        called = call(command, *arguments, "--out", tmp_path / "out")
        refused(called, tmp_path / "out", code=2)
        assert contents(tmp_path) == before

    @pytest.mark.parametrize("command", ["train", "predict", "evaluate"])
    def test_a_place_below_a_file_is_refused(self, command, finished, specks, call, tmp_path):
        (tmp_path / "file").write_text("mine")
        arguments = {"train": [specks]}.get(command, [finished, specks])
        called = call(command, *arguments, "--out", tmp_path / "file" / "out")
        refused(called, tmp_path / "file", code=1)
        assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"

    def test_predictions_never_land_among_the_images(self, finished, specks, call):
        before = contents(specks)
        called = call("predict", finished, specks / "images", "--out", specks / "images")
        refused(called, specks / "images", "overwrite", code=2)
        assert contents(specks) == before

    def test_an_interrupted_prediction_is_taken_up(self, finished, specks, call, tmp_path):
        out = tmp_path / "masks"
        assert call("predict", finished, specks / "images", "--out", out).code == 0
        whole = contents(out)
        gone = sorted(out.glob("*.png"))[:3]
        for path in gone:
            path.unlink()
        kept = sorted(out.glob("*.png"))[0]
        os.utime(kept, ns=(0, 0))
        assert call("predict", finished, specks / "images", "--out", out).code == 0
        assert contents(out) == whole
        assert kept.stat().st_mtime_ns == 0

    def test_predictions_of_another_model_are_not_mixed(
        self, finished, run, specks, call, tmp_path
    ):
        out = tmp_path / "masks"
        assert call("predict", finished, specks / "images", "--out", out).code == 0
        before = contents(out)
        about = run / "bundle" / "decisions.json"
        record = json.loads(about.read_text(encoding="utf-8"))
        record["regions"]["foreground"]["found"]["threshold"] = 0.75
        about.write_text(json.dumps(record))
        refused(call("predict", run, specks / "images", "--out", out), out, code=2)
        assert contents(out) == before

    def test_numbered_photographs_are_images_of_their_own(self, finished, specks, call, tmp_path):
        photos = sorted((specks / "images").iterdir())[:4]
        names = ["a_0000", "a_0001", "b_0000", "b_0001"]
        (tmp_path / "new").mkdir()
        for photo, name in zip(photos, names, strict=True):
            shutil.copy(photo, tmp_path / "new" / f"{name}.png")
        called = call("predict", finished, tmp_path / "new", "--out", tmp_path / "masks")
        assert called.code == 0, called.err
        assert sorted(path.stem for path in (tmp_path / "masks").glob("*.png")) == names

    def test_an_image_with_other_channels_is_named(self, finished, call, tmp_path):
        (tmp_path / "new").mkdir()
        noise = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
        PIL.Image.fromarray(noise).save(tmp_path / "new" / "colour.png")
        called = call("predict", finished, tmp_path / "new", "--out", tmp_path / "masks")
        refused(called, "colour", "3 channels", "trained on 1", code=1)


class TestJson:
    """With --json standard output is one JSON document, whatever goes to standard error."""

    def test_inspect(self, specks, call):
        record = json.loads(call("inspect", specks, "--json").out)
        assert record["data"]["n_cases"] == 30
        assert record["problems"] == []

    def test_train_and_resume(self, run, specks, call):
        record = json.loads(call("train", specks, "--out", run, "--json").out)
        assert record["report"] == str(run / "report.html")
        assert record["points"]["foreground"]["n_positive"] > 0

    def test_tune(self, run, call):
        record = json.loads(call("tune", run, "--maximize", "dice", "--json").out)
        stored = json.loads((run / "bundle" / "decisions.json").read_text(encoding="utf-8"))
        for name, choice in record.items():
            assert choice["found"] == stored["regions"][name]["found"]
            assert choice["frontier"] == stored["regions"][name]["frontier"]
        notes = [note for point in record["foreground"]["frontier"] for note in point["notes"]]
        assert sorted(notes) == ["chosen", "usual"]

    def test_tune_by_cost_and_limits(self, run, call):
        costs = ("--cost-false-positive", "1", "--cost-false-negative", "10", "--level", "object")
        record = json.loads(call("tune", run, *costs, "--json").out)
        assert "10 per false negative object" in record["foreground"]["found"]["objective"]
        limits = ("--min-recall", "0.2", "--smallest-component", "search")
        found = json.loads(call("tune", run, *limits, "--json").out)["foreground"]["found"]
        assert found["objective"] == "dice, recall at least 0.2"
        never = call("tune", run, "--min-precision", "1", "--min-recall", "1", "--json")
        assert never.code == 1
        assert "out of reach" in json.loads(never.out)["foreground"]["found"]["infeasible"]
        call("tune", run)

    def test_tune_by_hand(self, run, call):
        cut = ("--threshold", "0.25", "--smallest-component", "4", "--gate", "0.6")
        found = json.loads(call("tune", run, *cut, "--json").out)["foreground"]["found"]
        assert (found["threshold"], found["smallest_component"]) == (0.25, "4 pixels")
        assert found["gate"] == pytest.approx(0.6)
        assert found["objective"] == "set by hand"
        assert 0.0 <= found["mean_dice"] <= 1.0
        for more, says in (
            (("--maximize", "youden"), "set the cut itself"),
            (("--max-false-alarm-rate", "0.1"), "set the cut itself"),
            (("--smallest-component", "search"), "searches nothing"),
        ):
            refused(call("tune", run, "--threshold", "0.25", *more), says, code=2)
        refused(call("tune", run, "--gate", "0.25"), "--threshold", code=2)
        refused(call("tune", run, "--threshold", "2"), "between 0 and 1", code=2)
        call("tune", run)

    def test_predict(self, finished, specks, call, tmp_path):
        image = sorted((specks / "images").iterdir())[0]
        called = call("predict", finished, image, "--out", tmp_path / "masks", "--json")
        assert json.loads(called.out) == {"label_maps": [str(tmp_path / "masks" / image.name)]}

    def test_calibrate(self, run, specks, call, tmp_path):
        missing = call(
            "predict", run, specks / "images", "--out", tmp_path / "p", "--probabilities",
            "--calibrated",
        )  # fmt: skip
        refused(missing, "rareseg calibrate", code=1)
        called = call("calibrate", run, "--prevalence", "0.02", "--json")
        record = json.loads(called.out)["foreground"]
        assert record["prevalence"] == 0.02
        assert record["calibration"]["n_groups"] > 0
        assert "at that prevalence" in " ".join(record["sentences"])
        image = sorted((specks / "images").iterdir())[0]
        out = tmp_path / "calibrated"
        called = call("predict", run, image, "--out", out, "--probabilities", "--calibrated")
        assert called.code == 0, called.err
        assert (out / "probabilities" / "foreground" / image.name).is_file()

    def test_two_evaluations_of_the_same_cases(self, run, finished, specks, call, tmp_path):
        lower = ("--min-recall", "0.5", "--false-alarms", "1", "--maximize", "youden")
        assert call("tune", run, *lower).code == 0
        asked = ("--out", tmp_path / "again", "--against", finished, "--json")
        called = call("evaluate", run, specks, *asked)
        assert called.code == 0, called.err
        against = json.loads(called.out)["against"]
        assert against["name"] == finished.name
        lines = {line["measure"]: line for line in against["regions"]["foreground"]}

        def mean(folder, column, stratum):
            with (folder / "cases.csv").open(encoding="utf-8") as file:
                found = [line for line in csv.DictReader(file) if line["stratum"] == stratum]
            return sum(float(line[column]) for line in found) / len(found)

        asked = (("dice", "dice", "positive"), ("false alarm", "false_alarm", "negative"))
        for measure, column, stratum in asked:
            first, second = (mean(f, column, stratum) for f in (finished, tmp_path / "again"))
            line = lines[measure]
            assert line["first"] == pytest.approx(first)
            assert line["second"] == pytest.approx(second)
            assert line["difference"] == pytest.approx(second - first)
        page = (tmp_path / "again" / "report.html").read_text(encoding="utf-8")
        assert f"Against {finished.name}" in page
        none = call("evaluate", run, specks, "--out", tmp_path / "none", "--against", tmp_path)
        refused(none, "cases.csv", code=1)
        assert not (tmp_path / "none").exists()


class TestWords:
    def test_unknown_region_and_objective_name_what_there_is(self, finished, call):
        refused(call("tune", finished, "--region", "forground"), "'foreground'", code=2)
        refused(call("tune", finished, "--maximize", "dise"), "'dice'", code=2)

    def test_goals_that_contradict_or_do_nothing(self, finished, specks, call, tmp_path):
        refused(call("tune", finished, "--beta", "2"), "f-beta", code=2)
        costs = ("--maximize", "youden", "--cost-false-positive", "1")
        refused(call("tune", finished, *costs), "contradict", code=2)
        refused(call("tune", finished, "--smallest-component", "big"), "'5 mm3'", code=2)
        for size in ("5 mm3", "5 mm2"):
            called = call("tune", finished, "--smallest-component", size)
            refused(called, "give a number of pixels", code=2)
            called = call(
                "train", specks, "--out", tmp_path / "run",
                "--set", f"decision.smallest_component={size}",
            )  # fmt: skip
            refused(called, "give a number of pixels", code=2)
        refused(call("tune", finished, "--confidence", "0.9"), "guarantee", code=2)

    @pytest.mark.parametrize("budget", ["20", "soon", "0min", "-3h"])
    def test_an_impossible_budget_says_how_to_write_one(self, budget, specks, call, tmp_path):
        called = call("train", specks, "--out", tmp_path / "run", f"--budget={budget}")
        refused(called, budget, "20min", code=2)
        assert not (tmp_path / "run").exists()

    def test_a_budget_that_is_too_short_says_what_would_do(self, specks, call, settings, tmp_path):
        options = settings()
        place = options.index("training.steps=60")
        called = call(
            "train",
            specks,
            "--out",
            tmp_path / "run",
            "--budget",
            "3s",
            *options[: place - 1],
            *options[place + 1 :],
        )
        refused(called, "3s", "at least", "min", code=2)
        assert not (tmp_path / "run" / "recipe.yaml").exists()

    @pytest.mark.parametrize("pattern", ["(", "plate", "^([0-9]+)"])
    def test_a_group_pattern_that_cannot_be_meant(self, pattern, specks, call):
        refused(call("inspect", specks, "--group-from", pattern), pattern, code=2)

    def test_debug_raises_what_is_otherwise_a_sentence(self, call, tmp_path):
        with pytest.raises(RaresegError, match="no run"):
            call("tune", tmp_path, "--debug")
