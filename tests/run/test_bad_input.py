"""Bad input: every fault is found before training starts, named with its file and its remedy."""

import json
import os
import resource
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import PIL.Image
import pytest
import SimpleITK as sitk

RNG = np.random.default_rng(4)


def save(path: Path, array: np.ndarray, spacing=(1.0, 1.0, 1.0)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.name.endswith(".nii.gz"):
        image = sitk.GetImageFromArray(array)
        image.SetSpacing(spacing)
        sitk.WriteImage(image, str(path))
    else:
        PIL.Image.fromarray(array).save(path)
    return path


def noise(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def spot(*shape: int, value: int = 1) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    mask[..., 4:9, 5:11] = value
    return mask


@pytest.fixture
def photographs(tmp_path) -> Path:
    """Ten sound photographs, eight of them with something in them."""
    data = tmp_path / "data"
    for number in range(10):
        save(data / "images" / f"p{number}.png", noise(32, 40))
        save(data / "masks" / f"p{number}.png", spot(32, 40) * (number < 8))
    return data


@pytest.fixture
def volumes(tmp_path) -> Path:
    """Six sound volumes."""
    data = tmp_path / "data"
    for number in range(6):
        save(data / "images" / f"v{number}.nii.gz", noise(6, 20, 24).astype(np.float32))
        save(data / "masks" / f"v{number}.nii.gz", spot(6, 20, 24))
    return data


def remove_a_mask(data):
    (data / "masks" / "p3.png").unlink()
    return data / "images" / "p3.png", "add it"


def remove_an_image(data):
    (data / "images" / "p3.png").unlink()
    return data / "masks" / "p3.png", "remove the mask"


def shrink_a_mask(data):
    return save(data / "masks" / "p3.png", spot(32, 39)), "grid"


def truncate_an_image(data):
    path = data / "images" / "p3.png"
    path.write_bytes(path.read_bytes()[:300])
    return path, "again"


def write_text_as_an_image(data):
    path = data / "images" / "p3.png"
    path.write_text("not a picture")
    return path, ""


def draw_an_undeclared_value(data):
    (data / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "spot": 1}}))
    return save(data / "masks" / "p3.png", spot(32, 40, value=9)), "dataset.json"


def draw_a_mask_as_jpeg(data):
    (data / "masks" / "p3.png").unlink()
    grey = np.where(spot(32, 40) > 0, 120, 90).astype(np.uint8)
    return save(data / "masks" / "p3.jpg", grey), "PNG", "--binarize"


def repeat_an_id(data):
    line = "p{0},images/p{0}.png,masks/p{0}.png\n"
    rows = [line.format(number) for number in range(10)]
    (data / "manifest.csv").write_text("id,image,mask\n" + "".join(rows) + rows[3])
    return data, "'p3'", "rename"


def empty_every_mask(data):
    for path in (data / "masks").iterdir():
        save(path, np.zeros((32, 40), np.uint8))
    return data, "no positive case", "add images"


def declare_a_class_that_never_occurs(data):
    labels = {"background": 0, "spot": 1, "crack": 2}
    (data / "dataset.json").write_text(json.dumps({"labels": labels}))
    return data, "crack"


def add_a_photograph_of_two_channels(data):
    (data / "images" / "p3.png").unlink()
    path = data / "images" / "p3.npy"
    np.save(path, noise(2, 32, 40))
    return path, "channels"


PHOTOGRAPH_FAULTS = [
    remove_a_mask,
    remove_an_image,
    shrink_a_mask,
    truncate_an_image,
    write_text_as_an_image,
    draw_an_undeclared_value,
    draw_a_mask_as_jpeg,
    repeat_an_id,
    empty_every_mask,
    declare_a_class_that_never_occurs,
    add_a_photograph_of_two_channels,
]


def move_a_mask(data):
    path = data / "masks" / "v3.nii.gz"
    return save(path, spot(6, 20, 24), spacing=(1.0, 1.0, 1.5)), "resample"


def write_nan(data):
    array = noise(6, 20, 24).astype(np.float32)
    array[2, 3, 4], array[2, 3, 5] = np.nan, np.inf
    return save(data / "images" / "v3.nii.gz", array), "2 values", "replace"


def truncate_a_volume(data):
    path = data / "images" / "v3.nii.gz"
    path.write_bytes(path.read_bytes()[:2000])
    return (path,)


VOLUME_FAULTS = [move_a_mask, write_nan, truncate_a_volume]


def check(data: Path, call, *words: object) -> None:
    """Both commands name the one fault in one sentence; `train` leaves nothing but its claim."""
    inspected = call("inspect", data)
    faults = [line for line in inspected.out.splitlines() if line.startswith("x ")]
    assert inspected.code == 1
    trained = call("train", data, "--out", data.parent / "run")
    listed = [line for line in trained.err.splitlines() if line.startswith("- ")]
    assert trained.code == 1
    for lines in (faults, listed):
        assert len(lines) == 1, lines
        assert lines[0].endswith(".")
        for word in words:
            assert str(word) in lines[0], lines[0]
    assert "Traceback" not in trained.err
    left = {path.name for path in (data.parent / "run").iterdir()}
    assert left <= {"run.json"}


def snapshot(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("spoil", PHOTOGRAPH_FAULTS)
def test_a_fault_among_photographs(spoil, photographs, call):
    words = spoil(photographs)
    before = snapshot(photographs)
    check(photographs, call, *words)
    assert snapshot(photographs) == before


@pytest.mark.parametrize("spoil", VOLUME_FAULTS)
def test_a_fault_among_volumes(spoil, volumes, call):
    check(volumes, call, *spoil(volumes))


def test_all_faults_are_listed_at_once(photographs, call):
    truncate_an_image(photographs)
    draw_a_mask_as_jpeg(photographs)
    (photographs / "masks" / "p5.png").unlink()
    save(photographs / "masks" / "p6.png", spot(31, 40))
    save(photographs / "images" / "p7.tif", noise(32, 40))
    called = call("inspect", photographs)
    faults = [line for line in called.out.splitlines() if line.startswith("x ")]
    for name in ("images/p3.png", "masks/p3.jpg", "images/p5.png", "masks/p6.png", "'p7'"):
        assert any(name in line for line in faults), (name, faults)
    assert json.loads(call("inspect", photographs, "--json").out)["problems"] == [
        line.removeprefix("x ") for line in faults
    ]


def test_an_empty_folder(call, tmp_path):
    (tmp_path / "data" / "images").mkdir(parents=True)
    check(tmp_path / "data", call, tmp_path / "data", "holds no images", "add some")


@pytest.mark.parametrize("command", ["inspect", "train", "plan"])
@pytest.mark.parametrize("kind", ["missing", "unknown layout"])
def test_a_folder_that_is_no_data_set(command, kind, call, tmp_path):
    data = tmp_path / "data"
    if kind == "unknown layout":
        (data / "notes").mkdir(parents=True)
        (data / "notes" / "a.txt").write_text("x", encoding="utf-8")
    out = [] if command == "inspect" else ["--out", tmp_path / "out"]
    called = call(command, data, *out)
    assert called.code == 1
    assert str(data) in called.err
    assert ("does not exist" if kind == "missing" else "images/ and masks/") in called.err
    assert not (tmp_path / "out").exists()


def test_a_manifest_with_a_misnamed_column(photographs, call):
    (photographs / "manifest.csv").write_text("id,image,msk\np0,images/p0.png,masks/p0.png\n")
    called = call("inspect", photographs)
    assert called.code == 1
    assert f"{photographs / 'manifest.csv'} has no column 'mask'" in called.err
    assert "'msk'" in called.err


@pytest.mark.parametrize("content", ["training:\n  step: 9\n", "trainig:\n  steps: 9\n"])
def test_a_recipe_with_a_misspelt_key(content, photographs, call, tmp_path):
    recipe, run = tmp_path / "recipe.yaml", tmp_path / "run"
    recipe.write_text(content)
    called = call("train", photographs, "--out", run, "--recipe", recipe)
    assert called.code == 2
    assert called.err.startswith(f"Error: {recipe}: ")
    assert "did you mean '" in called.err
    assert not run.exists()


class TestImagesSmallerThanThePatch:
    """They are reflected or surrounded by background, to the patch's size; nothing is refused."""

    @pytest.mark.parametrize("border", ["reflect", "background", "shift"])
    def test_they_train_and_predict(self, border, photographs, call, settings, tmp_path):
        options = settings(
            sampling__border=border,
            sampling__patch_size=[64, 64],
            split__train=0.5,
            split__validation=0.25,
            split__test=0.25,
            training__steps=2,
            training__validations=1,
        )
        called = call("train", photographs, "--out", tmp_path / "run", *options)
        assert called.code == 0, called.err
        out = tmp_path / "masks"
        assert call("predict", tmp_path / "run", photographs, "--out", out).code == 0
        mask = np.asarray(PIL.Image.open(out / "p0.png"))
        assert mask.shape == (32, 40)


class TestFullDisk:
    """A limit on the size of files stands in for a disk that is full."""

    @pytest.fixture
    def limited(self):
        """Call `rareseg` in a process of its own, whose files are no larger than `size` bytes.

        Of its own, since the limit would also meet what pytest itself writes into a file.
        """

        def call_limited(size: int, *arguments: object) -> SimpleNamespace:
            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            done = subprocess.run(
                [sys.executable, "-m", "rareseg", *map(str, arguments)],
                capture_output=True,
                encoding="utf-8",
                check=False,
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard)),
            )
            return SimpleNamespace(code=done.returncode, out=done.stdout, err=done.stderr)

        return call_limited

    @pytest.mark.parametrize(
        "name", ["store/images.bin", "training/last.pt", "bundle/weights.safetensors"]
    )
    def test_it_stops_training_with_a_sentence(
        self, name, specks, finished, limited, settings, tmp_path
    ):
        run = tmp_path / "run"
        shutil.copytree(finished, run)
        # Everything up to the file is there, and the file does not fit.
        whole = (run / name).read_bytes()
        stages = ["store", "training", "bundle"]
        for stage in stages[stages.index(name.split("/")[0]) :]:
            shutil.rmtree(run / stage)
        called = limited(len(whole) // 2, "train", specks, "--out", run, *settings())
        assert called.code == 1, called.err
        last = called.err.splitlines()[-1]
        assert last.startswith(f"Error: {run / name.split('/')[0]}")
        assert "could not be written" in last
        assert not list(run.rglob(".writing-*"))

    def test_training_goes_on_when_there_is_room(
        self, specks, finished, call, settings, limited, tmp_path
    ):
        run = tmp_path / "run"
        size = (finished / "training" / "last.pt").stat().st_size // 2
        assert limited(size, "train", specks, "--out", run, *settings()).code == 1
        assert call("train", specks, "--out", run, *settings()).code == 0
        weights = Path("bundle", "weights.safetensors")
        assert (run / weights).read_bytes() == (finished / weights).read_bytes()

    def test_it_leaves_no_half_mask(self, specks, finished, call, limited, tmp_path):
        out = tmp_path / "masks"
        assert call("predict", finished, specks / "images", "--out", out).code == 0
        sizes = [path.stat().st_size for path in out.rglob("*.png")]
        for path in out.rglob("*.png"):
            path.unlink()
        called = limited(max(sizes) - 1, "predict", finished, specks / "images", "--out", out)
        assert called.code == 1
        assert "could not be written" in called.err
        written = list(out.rglob("*.png"))
        assert 0 < len(written) < len(sizes)
        for path in written:
            assert np.asarray(PIL.Image.open(path)).shape == (64, 64)
        assert not list(out.rglob(".writing-*"))


def test_nothing_is_unpickled_from_a_checkpoint(finished, specks, call, settings, tmp_path):
    """A checkpoint that holds code is refused, and the code does not run."""
    run, trace = tmp_path / "run", tmp_path / "it-ran"
    shutil.copytree(finished, run)
    (run / "bundle" / "bundle.json").unlink()
    make = textwrap.dedent(
        f"""
        import os, torch
        class Trap:
            def __reduce__(self):
                return os.system, ("touch {trace}",)
        torch.save({{"network": Trap()}}, {str(run / "training" / "last.pt")!r})
        """
    )
    subprocess.run([sys.executable, "-c", make], check=True)
    called = call("train", specks, "--out", run, *settings())
    assert called.code == 1
    assert str(run / "training" / "last.pt") in called.err
    assert not trace.exists()


def test_a_terminal_without_the_character_shows_a_question_mark(tmp_path):
    (tmp_path / "Häuser").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "rareseg", "inspect", str(tmp_path / "Häuser")],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        check=False,
    )
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert b"H?user" in done.stderr
