"""What masks hold, all together: each kind of wrong mask is found, and its option answers it."""

import numpy as np
import PIL.Image
import pytest

from rareseg.data.checks.fingerprint import inspect_dataset
from rareseg.data.dataset import open_dataset
from rareseg.data.layouts import Listing
from rareseg.data.masks.class_files import ClassFiles
from rareseg.data.records import Case, MaskRules

SIZE = 40


def specks(n):
    """Return a mask of n specks of 3 x 3 pixels, numbered from 1, none touching another."""
    mask = np.zeros((SIZE, SIZE), np.uint8)
    for k in range(n):
        mask[3 + 8 * k : 6 + 8 * k, 10:13] = k + 1
    return mask


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a data set of these masks and gives its folder."""

    def written(masks):
        rng = np.random.default_rng(0)
        for k, mask in enumerate(masks):
            for name, array in (("images", rng.integers(0, 255, (SIZE, SIZE))), ("masks", mask)):
                (tmp_path / name).mkdir(exist_ok=True)
                picture = array
                if not isinstance(array, PIL.Image.Image):
                    picture = PIL.Image.fromarray(np.asarray(array, np.uint8))
                picture.save(tmp_path / name / f"c{k}.png")
        return tmp_path

    return written


def found(folder, **rules):
    return inspect_dataset(open_dataset(folder, rules=MaskRules(**rules)), jobs=1)


def kinds(problems):
    return {problem.kind for problem in problems} - {"data", "no groups", "look-alikes"}


def test_inverted_masks(write):
    folder = write([(specks(k % 3) == 0) * 255 for k in range(6)])
    asked = found(folder)
    assert kinds(asked.problems) == {"inverted masks"}
    assert "c0.png" in asked.problems[0].text
    assert "--invert-masks" in asked.problems[0].text
    answered = found(folder, invert=True)
    assert answered.problems == ()
    assert sum(case.is_positive for case in answered.cases) == 4
    meant = found(folder, invert=False)
    assert meant.problems == ()
    assert meant.questions == ()


@pytest.mark.parametrize("edge", [(128,), (64, 191), tuple(range(3, 8)), tuple(range(20, 240, 9))])
def test_blurred_masks(write, edge):
    masks = []
    for k in range(4):
        mask = (specks(2) > 0).astype(np.uint8) * 255
        rim = np.roll(mask, 1, axis=0) * (mask == 0) > 0
        mask[rim] = np.resize(np.roll(edge, k), int(rim.sum()))
        mask[mask == 255] = np.where(np.arange((mask == 255).sum()) % 3, 255, 254)
        masks.append(mask)
    folder = write(masks)
    asked = found(folder)
    assert kinds(asked.problems) == {"blurred masks"}
    assert asked.problems[0].option == "--binarize 128"
    answered = found(folder, binarize=128)
    assert answered.problems == ()
    assert answered.classes.values == (0, 1)


def test_classes_that_are_greys_are_not_blurred(write):
    folder = write([specks(3) * np.uint8(80) for _ in range(3)])
    assert kinds(found(folder).problems) == set()


def test_numbered_objects(write):
    folder = write([specks(n) for n in (1, 3, 2, 0)])
    asked = found(folder)
    assert kinds(asked.problems) == {"numbered objects"}
    assert found(folder, values_are="objects").classes.names == ("background", "foreground")
    as_classes = found(folder, values_are="classes")
    assert as_classes.problems == ()
    assert as_classes.classes.count == 4


def test_a_class_inside_another_is_no_numbered_object(write):
    organ = np.zeros((SIZE, SIZE), np.uint8)
    organ[5:25, 5:25] = 1
    tumour = organ.copy()
    tumour[10:14, 10:14] = 2
    assert kinds(found(write([organ, tumour, tumour, organ])).problems) == set()


def test_a_rim_of_255_is_a_question(write):
    mask = (specks(2) > 0).astype(np.uint8)
    rim = np.roll(mask, 1, axis=0) + np.roll(mask, -1, axis=0) > mask
    mask[rim & (mask == 0)] = 255
    folder = write([mask, mask, mask * 0])
    asked = found(folder)
    assert asked.problems == ()
    assert [question.option for question in asked.questions] == ["--ignore-value 255"]
    answered = found(folder, ignore_value=255)
    assert answered.questions == ()
    assert answered.classes.ignore_value == 255
    assert answered.cases[0].ignored == int((mask == 255).sum())


def test_palettes_that_differ(write):
    masks = []
    for k in range(4):
        picture = PIL.Image.fromarray(specks(1) if k % 2 else 1 - specks(1)).convert("P")
        black, red = [0, 0, 0], [255, 0, 0]
        picture.putpalette(black + red if k % 2 else red + black)
        masks.append(picture)
    folder = write(masks)
    asked = found(folder)
    assert "palettes" in kinds(asked.problems)
    assert "--colours ff0000" in {problem.option for problem in asked.problems}
    answered = found(folder, colours=("ff0000",))
    assert answered.problems == ()
    assert [case.voxels[1] for case in answered.cases] == [9] * 4
    assert "palettes" not in kinds(found(folder, colours=("index",)).problems)


def test_overlapping_classes_are_a_question(tmp_path):
    for name, array in (("image", specks(3) * 20), ("a", specks(1)), ("b", specks(2))):
        PIL.Image.fromarray(array).save(tmp_path / f"{name}.png")
    mask = ClassFiles(((1, tmp_path / "a.png"), (2, tmp_path / "b.png")))
    cases = Listing((Case("c", (tmp_path / "image.png",), mask),)).cases
    asked = inspect_dataset(open_dataset(cases), jobs=1)
    assert [question.option for question in asked.questions] == ["--overlap later"]
    assert "9 voxels in 1 masks" in asked.questions[0].text
    answered = inspect_dataset(open_dataset(cases, rules=MaskRules(overlap="earlier")), jobs=1)
    assert answered.questions == ()
    assert answered.cases[0].voxels[1:] == (9, 9)


def test_one_image_with_and_without_a_speck(write, tmp_path):
    folder = write([specks(1), specks(2)])
    (tmp_path / "negatives").mkdir()
    copy = (tmp_path / "images" / "c1.png").read_bytes()
    (tmp_path / "negatives" / "n.png").write_bytes(copy)
    contradictions = [p for p in found(folder).problems if p.kind == "contradiction"]
    assert len(contradictions) == 1
    assert "c1.png" in contradictions[0].text
    assert "n.png" in contradictions[0].text
