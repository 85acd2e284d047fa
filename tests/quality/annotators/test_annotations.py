"""Reading what annotators drew: cut to what matters, and nothing changed by the cut."""

from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
import SimpleITK as sitk

from rareseg.data.records import Case, Dataset
from rareseg.errors import DataError, ProblemsError
from rareseg.quality.annotators.agreement import AgreementSettings, measure_case
from rareseg.quality.annotators.annotations import annotated_classes, read_reviews
from rareseg.quality.annotators.consensus import ConsensusSettings, unite
from rareseg_runner.image_records import IGNORE, Classes

CLASSES = Classes(("background", "rim", "core"), (0, 3, 7), {"whole": (1, 2), "core": (2,)}, 9)


@pytest.fixture
def case(tmp_path):
    """An anisotropic volume with a few drawn voxels in a wide empty surrounding."""
    rng = np.random.default_rng(4)

    def save(name, array):
        image = sitk.GetImageFromArray(array)
        image.SetSpacing((0.8, 0.8, 3.0))
        sitk.WriteImage(image, str(tmp_path / name))
        return tmp_path / name

    shape = (14, 40, 44)
    masks = []
    for name in "ab":
        mask = np.zeros(shape, np.uint8)
        mask[6:8, 18:22, 20:26] = rng.choice([0, 3, 7, 9], (2, 4, 6), p=[0.3, 0.3, 0.35, 0.05])
        masks.append((name, save(f"{name}.nii.gz", mask)))
    image = save("image.nii.gz", rng.normal(size=shape).astype(np.float32))
    return Case("case", (image,), None, annotations=(*masks, ("c", None)))


def test_values_become_classes_and_who_drew_nothing_has_an_empty_mask(case):
    reviews = read_reviews(case, CLASSES, margin_mm=5.0)
    assert reviews.annotators == ("a", "b", "c")
    assert reviews.shape == (14, 40, 44)
    assert set(np.unique(reviews.labels)) == {0, 1, 2, IGNORE}
    assert not reviews.labels[2].any()
    inside = reviews.counted.sum()
    assert inside + reviews.beyond == 14 * 40 * 44 - (reviews.labels == IGNORE).any(axis=0).sum()


@pytest.mark.parametrize("margin_mm", [0.0, 2.0, 5.0])
def test_the_cut_changes_no_number_and_no_voxel(case, margin_mm):
    asked = AgreementSettings(margin_mm=margin_mm)
    cut = read_reviews(case, CLASSES, margin_mm=margin_mm)
    uncut = read_reviews(case, CLASSES, margin_mm=1000.0)
    assert cut.labels[0].size < uncut.labels[0].size == np.prod(uncut.shape)
    assert measure_case(cut, CLASSES, asked) == measure_case(uncut, CLASSES, asked)
    assert (
        margin_mm == 0.0
        or cut.labels.any(axis=0).sum() < measure_case(cut, CLASSES, asked)[0].near.voxels
    )
    for method in ("majority", "staple"):
        settings = ConsensusSettings(method=method, agreement=asked)
        ours, theirs = (unite(reviews, CLASSES, settings) for reviews in (cut, uncut))
        assert np.array_equal(ours.labels, theirs.labels)
        assert ours.performances == theirs.performances
        assert (ours.labels == IGNORE).sum() == ours.ignored


def test_nobody_looked(case):
    reviews = read_reviews(replace(case, annotations=()), CLASSES, margin_mm=5.0)
    assert reviews.labels.shape == (0, 0, 0, 0)


def test_a_value_that_is_no_class_is_named_with_its_file(case):
    with pytest.raises(DataError, match=r"a\.nii\.gz.*9.*0, 3, 7"):
        read_reviews(case, replace(CLASSES, ignore_value=None), margin_mm=5.0)


class TestClasses:
    def test_are_read_from_all_masks_where_nothing_is_declared(self, case, tmp_path):
        dataset = Dataset(tmp_path, "manifest", (case,))
        found = annotated_classes(dataset, jobs=1)
        assert found.values == (0, 3, 7, 9)
        assert found.regions["foreground"] == (1, 2, 3)

    def test_a_declared_class_that_nobody_drew_stays(self, case, tmp_path):
        declared = {"rim": 3, "core": 7, "dust": 8}
        dataset = Dataset(tmp_path, "manifest", (case,), labels=declared, ignore_value=9)
        assert annotated_classes(dataset, jobs=1).values == (0, 3, 7, 8)

    def test_masks_that_cannot_be_read_are_all_named(self, case, tmp_path):
        colours = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
        PIL.Image.fromarray(colours).save(tmp_path / "colours.png")
        wrong = (("a", tmp_path / "gone.png"), ("b", tmp_path / "colours.png"))
        dataset = Dataset(tmp_path, "manifest", (replace(case, annotations=wrong),))
        with pytest.raises(ProblemsError, match=r"2 problems.*gone\.png.*colours\.png") as raised:
            annotated_classes(dataset, jobs=1)
        assert len(raised.value.problems) == 2
