"""What tests of several rooms share: the command line, and a second opinion on its numbers."""

from __future__ import annotations

import csv
import locale
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import SimpleITK as sitk
from scipy import ndimage
from sklearn import metrics

from command_line import call_main
from rareseg.data.builtin.specks import SpecksSettings, write_specks


@pytest.fixture(autouse=True)
def locale_kept():
    """Leave the locale as it was: ITK writes DICOM with GDCM, which leaves the process in "C"."""
    before = locale.setlocale(locale.LC_ALL)
    yield
    locale.setlocale(locale.LC_ALL, before)


@pytest.fixture(scope="session")
def call():
    """Call `rareseg ARGUMENTS` in this process; an error that is no sentence is raised."""
    return call_main


@pytest.fixture(scope="session")
def chromium():
    """A real browser, one for all tests: Playwright drives no two of them in one process."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = [shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")]
    path = next((path for path in found if path), None)
    if path is None:
        pytest.skip("no chromium, chromium-browser or google-chrome is installed")
    quiet = (
        "--no-sandbox",  # for root, as in containers
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    )
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=list(quiet))
        yield browser
        browser.close()


def read_plain(path: Path) -> tuple[np.ndarray, float]:
    """Read a file as it lies on disk, with the size of its voxels; not through rareseg."""
    if path.suffix == ".png":
        return np.asarray(PIL.Image.open(path)), 1.0
    image = sitk.ReadImage(str(path))
    return sitk.GetArrayFromImage(image), float(np.prod(image.GetSpacing()))


@pytest.fixture(scope="session")
def read():
    return read_plain


def second_opinion(predicted: np.ndarray, reference: np.ndarray, counted: np.ndarray) -> dict:
    """Compute the numbers of a line of cases.csv from two masks, with other people's code."""
    inside, on = reference[counted], predicted[counted]
    tn, fp, fn, tp = np.bincount(2 * inside + on, minlength=4).tolist()
    # Four voxels that weigh as many as there are: scikit-learn takes seconds for millions.
    truth, guess = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    options = {"zero_division": np.nan, "sample_weight": [tn, fp, fn, tp]}
    whole = np.ones((3,) * predicted.ndim)
    objects, n_objects = ndimage.label(reference, whole)
    components, n_components = ndimage.label(predicted, whole)
    found = set(np.unique(objects[predicted])) - {0}
    real = set(np.unique(components[counted])) - {0}
    touching = set(np.unique(components[reference])) - {0}
    assert n_components >= len(real)
    positive = bool(inside.any())
    agreement = metrics.jaccard_score(truth, guess, sample_weight=[tn, fp, fn, tp], zero_division=0)
    return {
        "stratum": "positive" if positive else "negative",
        "tp": tp,
        "fp": fp,
        "fn": fn,
        "tn": tn,
        "dice": metrics.f1_score(truth, guess, **options),
        "iou": agreement if tp + fp + fn else np.nan,
        "precision": metrics.precision_score(truth, guess, **options),
        "recall": metrics.recall_score(truth, guess, **options),
        "specificity": metrics.recall_score(1 - truth, 1 - guess, **options),
        "accuracy": metrics.accuracy_score(truth, guess, sample_weight=[tn, fp, fn, tp]),
        "false_negative_rate": 1 - metrics.recall_score(truth, guess, **options),
        "found": float(tp > 0) if positive else np.nan,
        "false_alarm": np.nan if positive else float(fp > 0),
        "objects": n_objects,
        "objects_found": len(found),
        "predicted_components": len(real),
        "false_positive_components": len(real - touching),
    }


@pytest.fixture(scope="session")
def assert_agrees():
    """Hold a cases.csv against the mask files that `predict` wrote and the references.

    ``references`` maps case ids to mask files (None: nothing there), ``regions`` region names to
    mask values. Returns the lines that were compared.
    """

    def check(
        cases_csv: Path,
        masks: Path,
        references: Mapping[str, Path | None],
        regions: Mapping[str, tuple[int, ...]],
        *,
        ignore: int | None = None,
    ) -> list[dict[str, str]]:
        with cases_csv.open(newline="", encoding="utf-8") as file:
            lines = [line for line in csv.DictReader(file) if line["case"] in references]
        assert {(line["case"], line["region"]) for line in lines} == {
            (case, region) for case in references for region in regions
        }
        for line in lines:
            (path,) = (masks / line["region"]).glob(f"{line['case']}.*")
            predicted, voxel = read_plain(path)
            assert set(np.unique(predicted)) <= {0, 1}
            drawn = references[line["case"]]
            labels = np.zeros_like(predicted) if drawn is None else read_plain(drawn)[0]
            assert predicted.shape == labels.shape
            counted = np.ones(labels.shape, bool) if ignore is None else labels != ignore
            values = second_opinion(
                predicted.astype(bool), np.isin(labels, regions[line["region"]]), counted
            )
            values["false_positive_size"] = values["fp"] * voxel
            for name, value in values.items():
                where = f"{name} of {line['region']} in {line['case']}"
                if isinstance(value, str):
                    assert line[name] == value, where
                elif np.isnan(value):
                    assert line[name] == "", where
                else:
                    assert float(line[name]) == pytest.approx(value, rel=1e-6, abs=1e-9), where
        return lines

    return check


SETTINGS = {
    # In so few steps only the outlines are learned, and only gently.
    "loss.presence": 0.0,
    "training.gradient_clip": 1.0,
    "split.train": 0.4,
    "split.validation": 0.3,
    "split.test": 0.3,
    "sampling.patch_size": [32, 32],
    "sampling.batch_size": 4,
    "network.width": [4, 8, 8],
    "training.steps": 60,
    "training.learning_rate": 0.02,
    # One thread: on a busy machine more would wait for each other.
    "training.threads": 1,
    # Which arithmetic is faster is measured, and two runs that are compared may measure otherwise.
    "training.precision": 32,
    "prediction.precision": 32,
}


@pytest.fixture(scope="session")
def settings():
    """`--set` for a network that learns something within seconds; keyword values replace others."""

    def arguments(**other: object) -> list[str]:
        values = SETTINGS | {key.replace("__", "."): value for key, value in other.items()}
        return [part for key, value in values.items() for part in ("--set", f"{key}={value}")]

    return arguments


@pytest.fixture(scope="session")
def specks(tmp_path_factory) -> Path:
    """30 small plates, half of them empty, with specks that are easy to see."""
    easy = SpecksSettings(
        images=30, size=64, contrast=8.0, foreground_share=0.06, distractors=1, seed=1
    )
    return write_specks(tmp_path_factory.mktemp("specks") / "data", easy)


STUDY, SERIES = "1.2.826.0.1.3680043.8.498.1", "1.2.826.0.1.3680043.8.498.2"


@pytest.fixture
def dicom():
    """Return pydicom, where both parts of the extra are installed."""
    pytest.importorskip(
        "highdicom", reason="highdicom is not installed; make test-extras installs it"
    )
    return pytest.importorskip("pydicom")


@pytest.fixture
def write_series():
    """Return what writes slices (k, row, column) as a series into a new folder.

    ``step`` (k, row, column) and ``first`` (x, y, z) are in mm; ``along`` are the directions of a
    row and of a column, ``upwards`` is the one in which slices follow one another. ``without`` are
    tags that are left out.
    """

    def write(
        folder,
        slices,
        *,
        step=(2.0, 0.5, 0.75),
        first=(-10.0, 20.0, 30.0),
        along=((1, 0, 0), (0, 1, 0)),
        upwards=None,
        without=(),
    ):
        folder.mkdir(parents=True)
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        normal = np.cross(*along) if upwards is None else np.array(upwards)
        for k, values in enumerate(slices):
            image = sitk.GetImageFromArray(values[None])
            image.SetSpacing(step[::-1])
            tags = {
                "0008|0016": "1.2.840.10008.5.1.4.1.1.2",
                "0008|0018": f"{SERIES}.{k + 1}",
                "0008|0020": "20260101",
                "0008|0030": "120000",
                "0008|0050": "1",
                "0008|0060": "CT",
                "0008|0090": "",
                "0010|0010": "Nobody^N",
                "0010|0020": "P1",
                "0010|0030": "19700101",
                "0010|0040": "O",
                "0018|0050": str(step[0]),
                "0020|000d": STUDY,
                "0020|000e": SERIES,
                "0020|0010": "1",
                "0020|0011": "1",
                "0020|0013": str(k + 1),
                "0020|0032": "\\".join(map(str, np.array(first) + normal * step[0] * k)),
                "0020|0037": "\\".join(str(value) for axis in along for value in axis),
                "0020|0052": f"{STUDY}.9",
            }
            for tag, value in tags.items():
                if tag not in without:
                    image.SetMetaData(tag, value)
            writer.SetFileName(str(folder / f"{k:03d}.dcm"))
            writer.Execute(image)
        return folder

    return write
