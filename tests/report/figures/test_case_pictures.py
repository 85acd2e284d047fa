import base64
import io
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest

from rareseg.evaluation.measures.case_result import CaseResult
from rareseg.evaluation.measures.mask_measures import detail_case
from rareseg.evaluation.metrics.objects import ObjectMatch
from rareseg.evaluation.metrics.overlap import Counts
from rareseg.report.figures.case_pictures import (
    LONGEST,
    PictureChoice,
    choose_shots,
    errors_uri,
    image_uri,
    reference_uri,
    slices_each,
    take_picture,
)
from rareseg.report.report_content import CasePicture
from rareseg_runner.image_records import Geometry

GREEN, VERMILLION, BLUE, YELLOW = (0, 158, 115), (213, 94, 0), (86, 180, 233), (240, 228, 66)


def decode(uri):
    head, data = uri.split(",")
    assert head == "data:image/png;base64"
    return PIL.Image.open(io.BytesIO(base64.b64decode(data)))


def colours(uri):
    image = decode(uri).convert("RGBA")
    return {colour[:3] for _, colour in image.getcolors(maxcolors=256) if colour[3]}


def picture(reference, prediction, image=None):
    image = np.zeros(reference.shape, np.uint8) if image is None else image
    return CasePicture("a", None, "r", "positive", "worst", image, reference, prediction)


def result(case_id, tp, fp, fn):
    counts = Counts(tp, fp, fn, 100)
    return CaseResult(
        case_id, "r", "test", None, 0.5, 0, 0, 0.9, counts, ObjectMatch((), (), (), ()), 1, "mm³"
    )


def test_shots_are_the_worst_median_best_and_the_worst_alarms():
    positives = [result(f"p{k}", k, 0, 10 - k) for k in range(9)]
    negatives = [result(f"n{k}", 0, k, 0) for k in range(4)]
    shots = choose_shots([*positives, *negatives], each=2)
    assert [(shot.case_id, shot.caption) for shot in shots] == [
        ("p0", "worst"),
        ("p1", "worst"),
        ("n3", "worst false alarm"),
        ("n2", "worst false alarm"),
        ("p3", "median"),
        ("p4", "median"),
        ("p8", "best"),
        ("p7", "best"),
    ]


def test_slices_lie_evenly_over_what_is_shown_and_hold_the_telling_one():
    reference, prediction = np.zeros((2, 40, 8, 8), bool)
    reference[10:31, 2:5, 2:5] = True
    prediction[10:31, 2:5, 2:5] = True
    prediction[17, 2:5, 2:5] = False
    image = np.zeros((1, 40, 8, 8), np.uint8)
    shot = PictureChoice("a", "r", "positive", "worst")
    taken = take_picture(shot, image, reference, prediction, most_slices=5)
    planes = [one.plane for one in taken.slices]
    assert taken.plane == 17
    assert 17 in planes
    assert planes == sorted(planes)
    assert (planes[0], planes[-1], len(planes)) == (9, 31, 5)
    assert take_picture(shot, image, reference, prediction).slices == ()
    assert slices_each((40, 240, 240), 30) == 2
    assert slices_each((40, 9000, 9000), 30) == 1


def test_missed_objects_and_borders_that_are_off_are_shown_for_themselves():
    results = [result(f"p{k}", 50 + k, 0, 10) for k in range(8)]
    lost = ObjectMatch((40, 6, 3), (0, 5, 0), (), ())
    results[5] = replace(results[5], objects=lost)
    near, far = np.zeros((2, 1, 30, 30), bool)
    near[0, 5:9, 5:9] = True
    far[0, 5:9, 20:24] = True
    about = {"region": "r", "geometry": Geometry()}
    details = [
        detail_case(far if k == 6 else near, near, case_id=f"p{k}", **about) for k in range(8)
    ]
    shots = {shot.case_id: shot.caption for shot in choose_shots(results, details, each=1)}
    assert shots["p5"] == "missed object"
    assert shots["p6"] == "worst surface distance"
    assert shots["p0"] == "worst"


def test_no_case_is_shown_twice_and_clean_negatives_are_not():
    shots = choose_shots([result("p", 5, 0, 5), result("n", 0, 0, 0)], each=3)
    assert [shot.case_id for shot in shots] == ["p"]
    assert choose_shots([]) == ()


def test_what_went_wrong_has_its_own_colour():
    reference, prediction = np.zeros((2, 100, 100), bool)
    reference[10:60, 10:60] = True
    prediction[30:80, 30:80] = True
    assert {GREEN, VERMILLION, BLUE} <= colours(errors_uri(picture(reference, prediction)))
    assert YELLOW in colours(reference_uri(picture(reference, prediction)))
    perfect = colours(errors_uri(picture(reference, reference)))
    assert GREEN in perfect
    assert not {VERMILLION, BLUE} & perfect


def test_nothing_is_painted_where_nothing_is():
    empty = np.zeros((50, 50), bool)
    assert colours(errors_uri(picture(empty, empty))) == set()
    assert colours(reference_uri(picture(empty, empty))) == set()


@pytest.mark.parametrize("shape", [(3000, 2000), (401, 17), (64, 64)])
def test_a_single_voxel_stays_visible_at_any_size(shape):
    reference, prediction = np.zeros((2, *shape), bool)
    prediction[shape[0] // 3, shape[1] // 3] = True
    shown = decode(errors_uri(picture(reference, prediction)))
    assert max(shown.size) <= LONGEST
    pixels = np.asarray(shown.convert("RGBA"))
    assert (pixels[..., :3] == VERMILLION).all(axis=-1).sum() >= 20


def test_images_are_reduced_and_small():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (900, 1200, 3), dtype=np.uint8)
    mask = np.zeros((900, 1200), bool)
    uri = image_uri(picture(mask, mask, image))
    assert decode(uri).size == (400, 300)
    assert len(uri) < 250_000
    grey = image_uri(picture(mask, mask, image[..., 0]))
    assert decode(grey).size == (400, 300)


def test_of_a_volume_the_slice_with_most_errors_is_taken():
    reference, prediction = np.zeros((2, 6, 20, 20), bool)
    reference[1, :10] = prediction[1, :10] = True
    prediction[4, 3:6] = True
    volume = np.random.default_rng(0).normal(300, 50, (2, 6, 20, 20)).astype(np.float32)
    volume[0, 0, 0, 0] = np.nan
    shot = PictureChoice("a", "r", "positive", "worst")
    taken = take_picture(shot, volume, reference, prediction, group="g")
    assert taken.plane == 4
    assert taken.image.shape == (20, 20)
    assert taken.image.dtype == np.uint8
    assert np.ptp(taken.image) == 255
    assert take_picture(shot, volume, reference, reference).plane == 1
    nothing = np.zeros_like(reference)
    assert take_picture(shot, volume, nothing, nothing).plane == 3


def test_photographs_keep_their_colours():
    image = np.random.default_rng(0).integers(0, 256, (3, 1, 8, 9), dtype=np.uint8)
    mask = np.zeros((1, 8, 9), bool)
    taken = take_picture(PictureChoice("a", "r", "negative", "alarm"), image, mask, mask)
    assert taken.plane is None
    np.testing.assert_array_equal(taken.image, np.moveaxis(image[:, 0], 0, -1))
