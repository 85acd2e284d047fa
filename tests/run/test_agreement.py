"""train → predict → evaluate: what cases.csv says is what the written masks show."""

import csv
import json

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from rareseg.data.builtin.specks import SpecksSettings, write_specks
from rareseg.evaluation.metrics.overlap import counts_at
from rareseg.evaluation.tables.score_table_io import load_table

REGIONS = {"whole": (1, 2, 4), "core": (2, 4), "active": (4,)}
IGNORED = 7


@pytest.fixture(scope="module")
def masks(finished, specks, call, tmp_path_factory):
    """The predictions of the finished run for all specks."""
    out = tmp_path_factory.mktemp("predictions") / "out"
    called = call("predict", finished, specks, "--out", out, "--probabilities")
    assert called.code == 0, called.err
    return out


def lines_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def cases_of(run, role):
    return [line["id"] for line in lines_of(run / "split.csv") if line["role"] == role]


class TestPhotographs:
    REGIONS = {"foreground": (255,)}  # noqa: RUF012

    def test_cases_csv_agrees_with_the_written_masks(self, finished, specks, masks, assert_agrees):
        tests = cases_of(finished, "test")
        references = {case: specks / "masks" / f"{case}.png" for case in tests}
        lines = assert_agrees(finished / "cases.csv", masks, references, self.REGIONS)
        # The comparison means something only where something was found, and not everything.
        assert {line["stratum"] for line in lines} == {"positive", "negative"}
        assert sum(int(line["tp"]) for line in lines) > 0
        assert sum(int(line["fp"]) + int(line["fn"]) for line in lines) > 0

    def test_the_score_table_counts_what_the_masks_show(self, finished, specks, masks, read):
        (line,) = {(line["threshold"], line["gate"]) for line in lines_of(finished / "cases.csv")}
        threshold, gate = map(float, line)
        table = load_table(finished / "scores" / "test.npz")
        assert table.case_ids == tuple(sorted(cases_of(finished, "test")))
        for row in table:
            predicted = read(masks / "foreground" / f"{row.case_id}.png")[0] == 1
            reference = read(specks / "masks" / f"{row.case_id}.png")[0] == 255
            if row.top < gate:
                assert not predicted.any()
                continue
            counts = counts_at(row, threshold)
            assert counts.tp == (predicted & reference).sum()
            assert counts.fp == (predicted & ~reference).sum()
            assert counts.fn == (~predicted & reference).sum()

    def test_probabilities_are_those_that_were_cut(self, finished, masks, read):
        for line in lines_of(finished / "cases.csv"):
            name = f"{line['case']}.png"
            scores = read(masks / "probabilities" / "foreground" / name)[0] / 65535
            predicted = read(masks / "foreground" / name)[0] == 1
            assert scores.max() == pytest.approx(float(line["top_score"]), abs=1e-5)
            if predicted.any():
                # 16 bits round a score by less than 1e-5.
                assert scores[predicted].min() > float(line["threshold"]) - 1e-5
                assert scores[~predicted].max(initial=0) < float(line["threshold"]) + 1e-5

    def test_label_maps_hold_the_values_of_the_references(self, specks, masks, read):
        maps = sorted(masks.glob("*.png"))
        assert len(maps) == 30
        for path in maps:
            labels = read(path)[0]
            assert set(np.unique(labels)) <= {0, 255}
            assert np.array_equal(labels == 255, read(masks / "foreground" / path.name)[0] == 1)

    def test_the_scorecard_is_the_mean_of_the_lines(self, finished, call, specks, tmp_path):
        lines = lines_of(finished / "cases.csv")
        record = json.loads((finished / "scorecard.json").read_text(encoding="utf-8"))
        card = record["scorecards"][record["headline"]]["regions"][0]
        positive = [line for line in lines if line["stratum"] == "positive"]
        negative = [line for line in lines if line["stratum"] == "negative"]
        mean = np.mean([float(line["dice"]) for line in positive])
        alarms = np.mean([float(line["false_alarm"]) for line in negative])
        assert card["positives"]["dice"]["value"] == pytest.approx(mean)
        assert card["negatives"]["false_alarm_rate"]["value"] == pytest.approx(alarms)

    def test_evaluate_on_its_own_data_scores_the_test_cases_alone(
        self, finished, specks, call, tmp_path
    ):
        called = call("evaluate", finished, specks, "--out", tmp_path / "own", "--json")
        assert called.code == 0, called.err
        assert json.loads(called.out)["report"] == str(tmp_path / "own" / "report.html")
        assert lines_of(tmp_path / "own" / "cases.csv") == lines_of(finished / "cases.csv")

    def test_the_manifest_of_the_same_data_is_the_same_data(self, finished, specks, call, tmp_path):
        called = call("evaluate", finished, specks / "manifest.csv", "--out", tmp_path / "own")
        assert called.code == 0, called.err
        assert lines_of(tmp_path / "own" / "cases.csv") == lines_of(finished / "cases.csv")

    def test_evaluate_on_other_data_scores_all_of_them(
        self, finished, call, assert_agrees, tmp_path
    ):
        other = write_specks(
            tmp_path / "other",
            SpecksSettings(images=6, size=80, contrast=5, foreground_share=0.04, seed=9),
        )
        called = call("evaluate", finished, other, "--out", tmp_path / "scores")
        assert called.code == 0, called.err
        assert call("predict", finished, other, "--out", tmp_path / "masks").code == 0
        references = {path.stem: path for path in (other / "masks").glob("*.png")}
        assert len(references) == 6
        assert_agrees(
            tmp_path / "scores" / "cases.csv", tmp_path / "masks", references, self.REGIONS
        )

    def test_data_without_a_positive_measure_false_alarms(self, finished, call, tmp_path):
        clean = write_specks(
            tmp_path / "clean", SpecksSettings(images=4, size=64, empty_share=1.0, seed=5)
        )
        called = call("evaluate", finished, clean, "--out", tmp_path / "scores")
        assert called.code == 0, called.err
        lines = lines_of(tmp_path / "scores" / "cases.csv")
        assert [line["stratum"] for line in lines] == ["negative"] * 4
        assert (tmp_path / "scores" / "report.html").stat().st_size > 10_000


def ball(grid, centre, radius_mm):
    """Return where a ball lies on ``grid`` (z, y, x coordinates in mm)."""
    return sum((axis - c) ** 2 for axis, c in zip(grid, centre, strict=True)) <= radius_mm**2


def write_volume(path, array, spacing_xyz, *, flipped):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing_xyz)
    image.SetOrigin((-40.0, 12.5, 3.0))
    if flipped:
        image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    """Twelve two-channel volumes with nested balls: an nnU-Net folder with regions.

    Spacings differ, slices are thicker than pixels, every other file is flipped in its plane, three
    volumes are empty, and a corner of some is to be ignored.
    """
    root = tmp_path_factory.mktemp("volumes")
    rng = np.random.default_rng(3)
    for number in range(12):
        z, y, x = spacing = (2.0, 1.0, 1.0) if number % 3 else (2.5, 1.25, 1.0)
        shape = (12 + number % 3, 26 + number % 2, 30)
        grid = np.meshgrid(
            *(np.arange(n) * s for n, s in zip(shape, spacing, strict=True)), indexing="ij"
        )
        centre = [rng.uniform(10, n * s - 10) for n, s in zip(shape, spacing, strict=True)]
        labels = np.zeros(shape, np.uint8)
        if number % 4:
            for value, radius in ((1, 7.5), (2, 5.5), (4, 3.5)):
                labels[ball(grid, centre, radius)] = value
        first = rng.normal(100, 5, shape) + 30 * (labels > 0) + 30 * (labels > 1)
        second = rng.normal(10, 2, shape) + 15 * (labels > 2)
        if number % 5 == 0:
            labels[:3, :4, :5] = IGNORED
        options = {"spacing_xyz": (x, y, z), "flipped": bool(number % 2)}
        for channel, array in enumerate((first.astype(np.int16), second.astype(np.float32))):
            name = f"v{number:02d}_{channel:04d}.nii.gz"
            write_volume(root / "imagesTr" / name, array, **options)
        write_volume(root / "labelsTr" / f"v{number:02d}.nii.gz", labels, **options)
    record = {
        "channel_names": {"0": "first", "1": "second"},
        "labels": {"background": 0, "rim": 1, "middle": 2, "heart": 4, "ignore": IGNORED},
        "regions": {name: list(values) for name, values in REGIONS.items()},
        "file_ending": ".nii.gz",
    }
    (root / "dataset.json").write_text(json.dumps(record))
    return root


@pytest.fixture(
    scope="module",
    params=[(2, 80, None), (3, 40, None), (3, 120, "{folds: 2, margin: 2}")],
    ids=["2D", "3D", "3D in two stages"],
)
def predicted(request, volumes, call, settings, tmp_path_factory):
    """A folder with a run on the volumes, and its predictions for all of them."""
    out = tmp_path_factory.mktemp("nested")
    dimension, steps, cascade = request.param
    options = settings(
        data__dimension=dimension,
        data__target_spacing=[2.2, 1.1, 1.1],
        sampling__patch_size=[16, 16] if dimension == 2 else [8, 16, 16],
        training__steps=steps,
        training__validations=1,
        decision__smallest_component="30 mm3",
        **({} if cascade is None else {"training__cascade": cascade}),
    )
    trained = call("train", volumes, "--out", out / "run", *options)
    assert trained.code == 0, trained.err
    done = call("predict", out / "run", volumes, "--out", out / "masks")
    assert done.code == 0, done.err
    return out


class TestNestedRegionsInVolumes:
    def test_cases_csv_agrees_with_the_written_masks(self, predicted, volumes, assert_agrees):
        references = {
            case: volumes / "labelsTr" / f"{case}.nii.gz"
            for case in cases_of(predicted / "run", "test")
        }
        lines = assert_agrees(
            predicted / "run" / "cases.csv",
            predicted / "masks",
            references,
            REGIONS,
            ignore=IGNORED,
        )
        assert {line["size_unit"] for line in lines} == {"mm³"}
        sizes = {(line["smallest_component"], line["smallest_component_unit"]) for line in lines}
        assert sizes == {("30", "mm³")}
        assert sum(int(line["tp"]) for line in lines) > 0

    def test_no_component_is_smaller_than_asked_for_at_any_spacing(self, predicted, read):
        smallest = {}
        for path in sorted(p for name in REGIONS for p in (predicted / "masks" / name).iterdir()):
            mask, voxel = read(path)
            components, _ = ndimage.label(mask == 1, np.ones((3, 3, 3)))
            for size in np.bincount(components.ravel())[1:] * voxel:
                smallest[voxel] = min(smallest.get(voxel, np.inf), size)
        assert len(smallest) == 2  # voxels of 2 and of 3.125 mm³
        assert all(size >= 30 - 1e-3 for size in smallest.values())

    def test_label_maps_hold_a_class_of_the_innermost_region(self, predicted, volumes, read):
        maps = sorted((predicted / "masks").glob("*.nii.gz"))
        assert len(maps) == 12
        for path in maps:
            labels = read(path)[0]
            on = {name: read(predicted / "masks" / name / path.name)[0] == 1 for name in REGIONS}
            inside = np.zeros(labels.shape, bool)
            for name in ("active", "core", "whole"):
                assert np.isin(labels[on[name] & ~inside], REGIONS[name]).all(), (path, name)
                inside |= on[name]
            assert not labels[~inside].any()

    def test_masks_lie_in_the_frame_of_their_images(self, predicted, volumes):
        for path in sorted((predicted / "masks").glob("*.nii.gz"))[:4]:
            image = sitk.ReadImage(
                str(volumes / "imagesTr" / path.name.replace(".nii", "_0000.nii"))
            )
            mask = sitk.ReadImage(str(path))
            assert mask.GetSize() == image.GetSize()
            assert mask.GetSpacing() == pytest.approx(image.GetSpacing())
            assert mask.GetOrigin() == pytest.approx(image.GetOrigin())
            assert mask.GetDirection() == pytest.approx(image.GetDirection())
