"""Exported models: what is written, what it decides, and what is refused."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import rareseg as rs
import rareseg_runner
from rareseg.errors import BundleError, DataError, OutputError, UsageError, WorkError
from rareseg.prediction.bundle import load_model
from rareseg.run.export import compare_models, export, require_faithful
from rareseg.run.setup.own_data import cases_of
from rareseg.run.setup.run_folder import open_run
from rareseg_runner import load
from rareseg_runner.exported_model import Fidelity
from rareseg_runner.scoring import engines
from rareseg_runner.scoring.presence_scaling import PresenceScaling

ROOT = Path(__file__).parents[2]
PACKAGES = {"openvino": ["openvino"], "onnx": ["onnxruntime", "onnxscript"]}


@pytest.fixture(scope="module", params=sorted(PACKAGES))
def exported(request, telling, tmp_path_factory) -> Path:
    """The run whose network tells the presence, exported for each engine."""
    for package in PACKAGES[request.param]:
        pytest.importorskip(package, reason="the extra is not installed")
    out = tmp_path_factory.mktemp(request.param) / "model"
    export(telling, out, engine=request.param, precision="32")
    return out


@pytest.fixture(scope="module")
def photographs(plates) -> list[Path]:
    """Some images of the run's data."""
    return [case.images[0] for case in rs.open_dataset(plates).cases[:6]]


@pytest.mark.extras
class TestWhatAnExportedModelDecides:
    def test_the_runner_finds_what_the_run_finds(self, exported, telling, photographs):
        run, runner = rs.load(telling), load(exported)
        flags = set()
        for path in photographs:
            expected, found = run(path), runner(path)
            flags |= set(found.flagged.values())
            assert found.flagged == expected.flagged
            assert (found.label_map != expected.label_map).mean() < 0.002
            assert found.presence == pytest.approx(expected.presence, abs=1e-4)
            for region, scores in expected.scores.items():
                np.testing.assert_allclose(found.scores[region], scores, atol=1e-4)
        assert flags == {True, False}, "images of both kinds show something"

    def test_rareseg_takes_it_as_it_takes_a_run(
        self, exported, telling, photographs, call, tmp_path
    ):
        for number, path in enumerate(photographs):
            (tmp_path / "images").mkdir(exist_ok=True)
            shutil.copy(path, tmp_path / "images" / f"{number}{path.suffix}")
        for model, out in ((telling, "a"), (exported, "b")):
            called = call("predict", model, tmp_path / "images", "--out", tmp_path / out)
            assert called.code == 0, called.err
        for mask in sorted((tmp_path / "a").glob("*.png")):
            same = PIL.Image.open(tmp_path / "b" / mask.name)
            assert (np.asarray(PIL.Image.open(mask)) == np.asarray(same)).mean() > 0.998

    def test_its_certificates_are_of_its_own_arithmetic(self, exported, telling, call, tmp_path):
        copy = tmp_path / "model"
        shutil.copytree(exported, copy)
        name = json.loads((copy / "bundle.json").read_text())["engine"]["name"]
        limits = ["--max-false-alarm-rate", "0.5", "--confidence", "0.8"]
        called = call("tune", copy, *limits, "--json")
        assert called.code == 0, called.err
        records = json.loads((copy / "decisions.json").read_text())["regions"]
        (statement,) = [own for record in records.values() for own in record["statements"]]
        assert statement["arithmetic"]["backend"].startswith(name)
        assert not (telling / "records").exists()

    def test_other_cases_are_evaluated_and_those_it_has_seen_left_out(
        self, exported, plates, call, tmp_path
    ):
        own = call("evaluate", exported, plates, "--out", tmp_path / "own")
        assert own.code == 0, own.err
        assert "its 10 test cases alone are scored" in own.out.replace("\n", " ")

    def test_a_zip_of_it_is_a_model_too(self, exported, photographs, tmp_path):
        without = tmp_path / "bare"
        shutil.copytree(exported, without, ignore=shutil.ignore_patterns("records"))
        packed = shutil.make_archive(str(tmp_path / "model"), "zip", without)
        (tmp_path / "model.rareseg").write_bytes(Path(packed).read_bytes())
        expected = load(exported)(photographs[0])
        for open_model in (load, rs.load):
            found = open_model(tmp_path / "model.rareseg")(photographs[0])
            np.testing.assert_array_equal(found.label_map, expected.label_map)

    def test_fidelity_is_written_in(self, exported):
        files = load(exported).files
        assert files.fidelity.n_cases == 16
        assert files.fidelity.flags_differ == 0
        assert files.fidelity.largest_difference < 1e-4
        assert "How faithful it is" in (exported / "README.md").read_text()

    def test_models_are_timed_side_by_side(self, exported, telling, photographs, call):
        called = call(
            *("benchmark", telling, exported, "--images", photographs[0].parent),
            *("--rounds", "1", "--json"),
        )
        assert called.code == 0, called.err
        first, second = json.loads(called.out)["models"]
        assert first["n_calls"] == second["n_calls"] > 0
        assert first["computed_by"] == "torch on cpu, float32"
        assert 0 < second["p50"] <= second["p95"]


@pytest.mark.extras
class TestWhatIsRefused:
    def test_a_changed_file_of_a_network(self, exported, tmp_path):
        copy = tmp_path / "model"
        shutil.copytree(exported, copy)
        name = load(copy).files.networks[0]
        (copy / name).write_bytes((copy / name).read_bytes() + b" ")
        for open_model in (load, rs.load):
            with pytest.raises(BundleError, match="checksum differs"):
                open_model(copy)

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (lambda text: text[:-40], "damaged"),
            (lambda text: text.replace('"channels": 1', '"channels": "x"'), "damaged"),
            (lambda text: text.replace('"members": 1', '"members": 2'), "2"),
            (lambda text: text.replace('"network_0', '"../network_0'), "damaged|separator"),
            (lambda text: text.replace('"name": "o', '"name": "p'), "unknown"),
        ],
        ids=["cut short", "channels", "members", "path", "engine"],
    )
    def test_a_changed_description(self, exported, tmp_path, change, said):
        copy = tmp_path / "model"
        shutil.copytree(exported, copy)
        path = copy / "bundle.json"
        path.write_text(change(path.read_text()))
        with pytest.raises((BundleError, UsageError), match=said):
            load(copy)

    def test_a_point_outside_what_points_may_be(self, exported, tmp_path):
        copy = tmp_path / "model"
        shutil.copytree(exported, copy)
        record = json.loads((copy / "decisions.json").read_text())
        for own in record["regions"].values():
            own["found"]["threshold"] = 7
        (copy / "decisions.json").write_text(json.dumps(record))
        with pytest.raises(BundleError, match="damaged"):
            load(copy)

    def test_another_number_of_channels(self, exported):
        with pytest.raises(DataError, match="2 channels"):
            load(exported)(np.zeros((64, 64, 2), np.uint8))

    def test_exporting_what_is_exported(self, exported, tmp_path):
        with pytest.raises(UsageError, match="exported already"):
            export(exported, tmp_path / "again", engine="onnx")
        assert not (tmp_path / "again").exists()


@pytest.mark.extras
@pytest.mark.slow
def test_the_wheel_of_the_runner_alone_predicts(exported, photographs, telling, tmp_path):
    name = load(exported).files.name
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    install = [python, "-I", "-m", "pip", "install", "--quiet", f"{ROOT / 'runner'}[{name}]"]
    subprocess.run(install, check=True, capture_output=True)
    code = f"""
import json, sys
from rareseg_runner import load
model = load({str(exported)!r})
found = [model(path) for path in {[str(path) for path in photographs]!r}]
print(json.dumps({{
    "on": [int(one.label_map.astype(bool).sum()) for one in found],
    "flags": [one.flagged for one in found],
    "loaded": [name for name in ("torch", "monai", "numba", "rareseg") if name in sys.modules],
}}))
"""
    done = subprocess.run(
        [python, "-I", "-c", code], check=True, capture_output=True, encoding="utf-8"
    )
    said = json.loads(done.stdout.splitlines()[-1])
    run = [rs.load(telling)(path) for path in photographs]
    assert said["loaded"] == []
    assert said["flags"] == [one.flagged for one in run]
    assert said["on"] == pytest.approx([int((one.label_map > 0).sum()) for one in run], rel=0.01)


def test_an_engine_that_is_not_installed_is_one_sentence(finished, call, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    called = call("export", finished, "--out", tmp_path / "model", "--engine", "onnx")
    assert called.code == 1
    assert "pip install 'rareseg-runner[onnx]'" in called.err
    assert not (tmp_path / "model").exists()


def test_for_torch_the_weights_are_taken_as_they_are(finished, call, specks, tmp_path):
    model = tmp_path / "model"
    called = call("export", finished, "--out", model, "--engine", "torch")
    assert called.code == 0, called.err
    path = rs.open_dataset(specks).cases[0].images[0]
    expected = rs.load(finished)(path).label_map
    np.testing.assert_array_equal(rs.load(model)(path).label_map, expected)
    evaluated = call("evaluate", model, specks, "--out", tmp_path / "evaluation")
    assert evaluated.code == 0, evaluated.err
    with pytest.raises(BundleError, match="pip install rareseg"):
        load(model)


def test_predict_takes_a_model_in_one_file(finished, call, specks, tmp_path):
    packed = shutil.make_archive(str(tmp_path / "bundle"), "zip", finished / "bundle")
    model = tmp_path / "model.rareseg"
    Path(packed).rename(model)
    image = rs.open_dataset(specks).cases[0].images[0]
    called = call("predict", model, image, "--out", tmp_path / "masks")
    assert called.code == 0, called.err
    (mask,) = (tmp_path / "masks").glob("*.png")
    expected = rs.load(finished)(image).label_map
    np.testing.assert_array_equal(np.asarray(PIL.Image.open(mask)), expected)
    model.write_bytes(model.read_bytes()[:1000])
    called = call("predict", model, image, "--out", tmp_path / "others")
    assert called.code == 1
    assert "cannot be read as a bundle in one file" in called.err


@pytest.mark.parametrize(
    ("fidelity", "flags", "said"),
    [
        (
            Fidelity(16, 0.3, 0.0, 1),
            ("case_3",),
            r"1 case \(such as case_3\) .*--allow",
        ),
        (Fidelity(16, 0.3, 0.002), (), r"0\.2 % of the pixels .*--allow-differences"),
        (Fidelity(16, 0.3, 0.0019), (), None),
    ],
)
def test_what_is_faithful(fidelity, flags, said):
    if said is None:
        require_faithful(fidelity, flags, "onnx")
        return
    with pytest.raises(WorkError, match=said):
        require_faithful(fidelity, flags, "onnx")


def test_masks_and_flags_that_differ_are_counted(telling):
    folder = open_run(telling)
    model, cases = load_model(folder.bundle), cases_of(open_run(telling), "validation")
    same, flags = compare_models(model, model, folder, cases)
    assert same == Fidelity(len(cases), 0.0, 0.0, 0)
    silent = replace(model, presence={"foreground": PresenceScaling(slope=1.0, bias=-40.0)})
    other, flags = compare_models(model, silent, folder, cases)
    found = [case.id for case in cases if rs.load(telling)(case.images[0]).flagged["foreground"]]
    assert flags == tuple(found) != ()
    assert other.flags_differ == len(found)
    assert other.pixels_differ > 0.0


def test_a_disk_that_fills_up_leaves_nothing(finished, tmp_path):
    """A limit on the size of files stands in for a disk that is full."""
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    words = ["export", str(finished), "--out", str(tmp_path / "model"), "--engine", "torch"]
    done = subprocess.run(
        [sys.executable, "-m", "rareseg", *words],
        capture_output=True,
        encoding="utf-8",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard)),
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "weights.safetensors" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_model_without_records_predicts_and_is_not_evaluated(finished, specks, call, tmp_path):
    model = tmp_path / "model"
    export(finished, model, engine="torch", records=False)
    image = rs.open_dataset(specks).cases[0].images[0]
    assert call("predict", model, image, "--out", tmp_path / "masks").code == 0
    called = call("evaluate", model, specks, "--out", tmp_path / "evaluation")
    assert called.code == 1
    assert "without the records of its run" in called.err.replace("\n", " ")
    names = [case.id for case in rs.open_dataset(specks).cases]
    texts = [path.read_text() for path in model.rglob("*.*") if path.suffix in (".json", ".md")]
    assert not any(name in text for name in names for text in texts)


def test_an_unknown_engine_is_one_sentence(finished, call, tmp_path):
    called = call("export", finished, "--out", tmp_path / "model", "--engine", "openvno")
    assert called.code == 2
    assert "openvino" in called.err


def test_nothing_is_written_over(finished, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="nothing was changed"):
        export(finished, tmp_path / "model")
    assert (tmp_path / "model" / "mine.txt").read_text() == "mine"


def test_a_run_is_no_exported_model(finished):
    with pytest.raises(BundleError, match="rareseg export"):
        load(finished / "bundle")
    with pytest.raises(BundleError, match="no exported model"):
        load(finished)


def test_both_wheels_have_one_version():
    versions = {
        tomllib.loads((ROOT / path).read_text())["project"]["version"]
        for path in ("pyproject.toml", "runner/pyproject.toml")
    }
    assert versions == {rs.__version__} == {rareseg_runner.__version__}


def test_the_register_of_engines_names_those_of_the_command_line():
    assert sorted(engines.engines()) == sorted(PACKAGES), "the suite runs for every engine"
