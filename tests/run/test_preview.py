"""What `rareseg preview` writes, refuses and says."""

import json

import numpy as np
import PIL.Image
import pytest
import SimpleITK as sitk

from rareseg.report.figures.patch_sheet import COLOURS
from rareseg.run.preview import VERSIONS, preview
from rareseg.run.setup.prepare import TrainingOptions

SMALL = ("--set", "sampling.patch_size=[32, 32]", "--patches", "3")
STILL = [
    f"augmentation.{name}=0"
    for name in ("mirror", "rotate", "scale", "brightness", "contrast", "gamma", "noise", "blur")
]


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    """Three volumes with two channels and two classes, of which each holds both."""
    root = tmp_path_factory.mktemp("volumes")
    rng = np.random.default_rng(0)
    (root / "imagesTr").mkdir()
    (root / "labelsTr").mkdir()
    for case in range(3):
        mask = np.zeros((20, 24, 24), np.uint8)
        mask[8:12, 8:14, 8:14] = 1
        mask[10:13, 14:18, 10:16] = 2
        for channel in range(2):
            values = (rng.normal(100, 10, mask.shape) + 40 * mask).astype(np.int16)
            path = root / "imagesTr" / f"case{case}_{channel:04d}.nii.gz"
            sitk.WriteImage(sitk.GetImageFromArray(values), str(path))
        path = root / "labelsTr" / f"case{case}.nii.gz"
        sitk.WriteImage(sitk.GetImageFromArray(mask), str(path))
    about = {
        "channel_names": {"0": "FLAIR", "1": "T1"},
        "labels": {"background": 0, "inner": 1, "outer": 2},
        "numTraining": 3,
        "file_ending": ".nii.gz",
    }
    (root / "dataset.json").write_text(json.dumps(about), encoding="utf-8")
    return root


def test_the_sheet_is_a_picture_and_the_words_say_what_it_shows(specks, call, tmp_path):
    sheet = tmp_path / "sheets" / "preview.png"
    called = call("preview", specks, "--out", sheet, *SMALL)
    assert called.code == 0, called.err
    assert f"{sheet} shows 3 patches" in called.out
    assert "Foreground" in called.out
    with PIL.Image.open(sheet) as image:
        pixels = np.asarray(image.convert("RGB"))
    assert (pixels == COLOURS[0]).all(2).sum() > 20


def test_json_and_the_same_seed_again(specks, call, tmp_path):
    sheet = tmp_path / "preview.png"
    arguments = ("preview", specks, "--out", sheet, "--json", *SMALL)
    first = call(*arguments)
    drawn = sheet.read_bytes()
    again = call(*arguments)
    assert first.code == again.code == 0, again.err
    assert (json.loads(first.out), drawn) == (json.loads(again.out), sheet.read_bytes())
    other = call(*arguments, "--seed", 1)
    assert json.loads(other.out)["patches"] != json.loads(first.out)["patches"]
    record = json.loads(first.out)
    assert record["patch_size"] == [32, 32]
    assert record["window"] == [44, 44]
    assert record["augmentation"]["rotate"] == 0.5
    assert len(record["patches"]) == 3
    assert all(len(patch["versions"]) == VERSIONS for patch in record["patches"])


def test_without_augmentation_all_versions_are_the_original(specks, tmp_path):
    settings = ["sampling.patch_size=[32, 32]", *STILL, "augmentation.paste=0"]
    training_options = TrainingOptions(settings=settings)
    made = preview(specks, tmp_path / "still.png", training_options=training_options, patches=4)
    assert made.window == (32, 32)
    assert {words for patch in made.patches for words in patch.versions} == {"unchanged"}
    assert made.before == made.after
    assert made.before.with_foreground == 0.5  # as the strategy guarantees


def test_what_is_pasted_is_shown_and_said(specks, tmp_path):
    settings = ["sampling.patch_size=[32, 32]", *STILL, "augmentation.paste=1"]
    made = preview(
        specks,
        tmp_path / "pasted.png",
        training_options=TrainingOptions(settings=settings),
        patches=6,
    )
    words = {word for patch in made.patches for word in patch.versions}
    assert words == {"unchanged", "object pasted", "texture pasted"}
    assert made.before.with_foreground == 0.5
    assert made.after.with_foreground > 0.5
    for patch in made.patches:
        if patch.pool != "windows with nothing":
            assert set(patch.versions) == {"unchanged"}


def test_of_volumes_the_middle_slice_and_the_first_channel(volumes, tmp_path):
    training_options = TrainingOptions(
        settings=["data.dimension=3", "sampling.patch_size=[8, 12, 12]"]
    )
    made = preview(volumes, tmp_path / "volumes.png", training_options=training_options, patches=3)
    assert made.shown == "channel 1 of 2 (FLAIR), the middle slice"
    assert {patch.pool for patch in made.patches} == {"background", "inner", "outer"}
    with PIL.Image.open(tmp_path / "volumes.png") as image:
        pixels = np.asarray(image.convert("RGB"))
    for colour in COLOURS[:2]:
        assert (pixels == colour).all(2).any()


def test_colour_photographs_keep_their_colours(tmp_path):
    for name in ("images", "masks"):
        (tmp_path / "data" / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for case in range(4):
        values = rng.integers(0, 256, (40, 40, 3)).astype(np.uint8)
        values[4:36, 4:36] = (200, 30, 90)
        mask = np.zeros((40, 40), np.uint8)
        mask[18:22, 18:22] = 255
        PIL.Image.fromarray(values).save(tmp_path / "data" / "images" / f"{case}.png")
        PIL.Image.fromarray(mask).save(tmp_path / "data" / "masks" / f"{case}.png")
    training_options = TrainingOptions(
        settings=["sampling.patch_size=[16, 16]", "data.target_spacing=null", *STILL]
    )
    made = preview(
        tmp_path / "data", tmp_path / "colours.png", training_options=training_options, patches=2
    )
    assert made.shown == "in colour"
    with PIL.Image.open(tmp_path / "colours.png") as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    assert (np.abs(pixels - (200, 30, 90)).max(2) <= 1).sum() > 1000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--out", "sheet.jpg"), ("sheet.jpg", ".png")),
        (("--out", "sheet.png", "--patches", "0"), ("--patches is 0", "1 to 50")),
        (("--out", "sheet.png", "--seed", "-1"), ("--seed -1",)),
        (("--out", "sheet.png", "--set", "augmentation.rotat=1"), ("rotat", "'rotate'")),
        (("--out", "sheet.png", "--set", "augmentation.noise=2"), ("augmentation.noise", "2")),
        (("--out", "sheet.png", "--recipe", "none.yaml"), ("none.yaml", "does not exist")),
    ],
)
def test_a_wrong_call_is_one_sentence(arguments, words, specks, call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    called = call("preview", specks, *arguments)
    assert called.code == 2
    assert called.err.startswith("Error: ")
    assert len(called.err.strip().splitlines()) == 1
    for word in words:
        assert word in called.err
    assert list(tmp_path.iterdir()) == []


def test_another_file_is_not_replaced(specks, call, tmp_path):
    PIL.Image.new("RGB", (3, 3)).save(tmp_path / "mine.png")
    before = (tmp_path / "mine.png").read_bytes()
    called = call("preview", specks, "--out", tmp_path / "mine.png")
    assert called.code == 2
    assert "mine.png" in called.err
    assert "nothing was changed" in called.err
    assert (tmp_path / "mine.png").read_bytes() == before


def test_problems_of_the_data_are_listed(call, tmp_path):
    for name in ("images", "masks"):
        (tmp_path / "data" / name).mkdir(parents=True)
    PIL.Image.new("L", (8, 8)).save(tmp_path / "data" / "images" / "a.png")
    PIL.Image.new("L", (9, 8)).save(tmp_path / "data" / "masks" / "a.png")
    called = call("preview", tmp_path / "data", "--out", tmp_path / "sheet.png")
    assert called.code == 1
    assert not (tmp_path / "sheet.png").exists()
    assert "Error: " in called.err
