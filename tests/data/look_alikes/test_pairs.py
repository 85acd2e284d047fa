"""Copies are found whatever was done to them, and what only looks similar is not."""

import os
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import SimpleITK as sitk
from scipy import ndimage

from rareseg.data.checks.fingerprint import inspect_dataset
from rareseg.data.dataset import open_dataset
from rareseg.data.look_alikes import LookAlike, propose_groups
from rareseg.data.records import Case

DATA = os.environ.get("RARESEG_DATA")
T = PIL.Image.Transpose


def texture(seed, shape=(150, 120)):
    rng = np.random.default_rng(seed)
    layers = [
        sigma * ndimage.gaussian_filter(rng.normal(size=shape), sigma, mode="wrap")
        for sigma in (1.0, 3.0, 9.0)
    ]
    return np.uint8(np.clip(128 + 55 * sum(layers), 0, 255))


def grey(change):
    return lambda p: PIL.Image.fromarray(
        np.uint8(255 * np.clip(change(np.asarray(p, float) / 255), 0, 1))
    )


def crop(share):
    return lambda p: p.crop((round(p.width * share), round(p.height * share), *p.size))


def scale(factor):
    return lambda p: p.resize((round(p.width * factor), round(p.height * factor)), 3)


def chain(*changes):
    def all_of(item):
        for change in changes:
            item = change(item)
        return item

    return all_of


def save(folder, name, picture, **options):
    path = Path(folder) / f"{name}.{'jpg' if options else 'png'}"
    picture = PIL.Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    picture.save(path, **options)
    return Case(name, (path,), None)


def search(cases):
    return inspect_dataset(open_dataset(list(cases)), jobs=1).look_alikes


def pairs(found):
    return [(pair.a, pair.b) for pair in found]


@pytest.fixture(scope="module")
def plates(tmp_path_factory):
    """Textures that have nothing to do with each other."""
    folder = tmp_path_factory.mktemp("plates")
    return [save(folder, f"p{k:02d}", texture(k)) for k in range(18)]


CHANGES = {
    "same": (lambda p: p, "identical"),
    "darker": (grey(lambda v: v * 0.4), "as they are"),
    "overexposed": (grey(lambda v: v * 1.5), "as they are"),
    "gamma": (grey(lambda v: v**2), "as they are"),
    "contrast": (grey(lambda v: 0.3 + 0.4 * v), "as they are"),
    "light": (grey(lambda v: v * np.linspace(0.5, 1.2, v.shape[1])), "as they are"),
    "shifted": (crop(0.07), "shifted"),
    "left to right": (lambda p: p.transpose(T.FLIP_LEFT_RIGHT), "mirrored left to right"),
    "top to bottom": (lambda p: p.transpose(T.FLIP_TOP_BOTTOM), "mirrored top to bottom"),
    "half turn": (lambda p: p.transpose(T.ROTATE_180), "turned by 180°"),
    "quarter turn": (lambda p: p.transpose(T.ROTATE_90), "turned by 90°"),
    "other quarter turn": (lambda p: p.transpose(T.ROTATE_270), "turned by 90°"),
    "diagonal": (lambda p: p.transpose(T.TRANSPOSE), "mirrored along a diagonal"),
    "smaller": (scale(0.5), "rescaled"),
    "larger": (scale(2.0), "rescaled"),
    "several": (
        chain(grey(lambda v: 0.6 * v), crop(0.06), lambda p: p.transpose(T.ROTATE_90), scale(0.6)),
        "turned by 90°, shifted and rescaled",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_copy_is_found_and_said_how(name, plates, tmp_path):
    change, how = CHANGES[name]
    copy = save(tmp_path, "copy", change(PIL.Image.open(plates[5].images[0])))
    (found,) = search([*plates, copy])
    assert (found.a, found.b) == ("copy", "p05")
    assert 0.72 <= found.similarity <= 1.0
    if name != "several":  # where several things were done, where the shift lies is open
        assert found.how == how
    else:
        assert "turned by 90°" in found.how
        assert "rescaled" in found.how


@pytest.mark.parametrize("quality", [60, 20])
def test_compression_hides_nothing(quality, plates, tmp_path):
    copy = save(tmp_path, "copy", PIL.Image.open(plates[3].images[0]), quality=quality)
    assert pairs(search([*plates, copy])) == [("copy", "p03")]


def test_two_cases_are_enough(plates, tmp_path):
    copy = save(tmp_path, "copy", crop(0.05)(PIL.Image.open(plates[0].images[0])))
    assert pairs(search([plates[0], copy])) == [("copy", "p00")]
    assert search([plates[0], plates[1]]) == ()


def test_a_frame_that_all_share_makes_nothing_alike(tmp_path):
    """The same bright border and stripes around different content, as one camera gives them."""
    shared = np.zeros((150, 120))
    shared[:6], shared[:, :6], shared[:, 60:62] = 120, 120, 60
    cases = [
        save(tmp_path, f"c{k:02d}", np.uint8(np.clip(texture(k) * 0.5 + shared, 0, 255)))
        for k in range(20)
    ]
    assert search(cases) == ()


def test_the_most_alike_come_first_and_pairs_within_a_group_are_there(plates, tmp_path):
    original = PIL.Image.open(plates[1].images[0])
    same = save(tmp_path, "same", original)
    worse = save(tmp_path, "worse", scale(0.6)(original), quality=50)
    cases = [Case(c.id, c.images, None, "one group") for c in (*plates, same, worse)]
    found = search(cases)
    assert pairs(found[:1]) == [("p01", "same")]
    assert set(pairs(found)) == {("p01", "same"), ("p01", "worse"), ("same", "worse")}
    assert [pair.similarity for pair in found] == sorted(
        (pair.similarity for pair in found), reverse=True
    )


def test_every_two_of_many_copies_are_a_pair(plates, tmp_path):
    """Thirty copies are more than any case is at first laid on."""
    copies = [
        save(tmp_path, f"c{k:02d}", grey(lambda v, k=k: v * (0.4 + k / 60))(PIL.Image.open(file)))
        for k, file in enumerate([plates[2].images[0]] * 30)
    ]
    found = search([*plates, *copies])
    assert len(found) == 31 * 30 // 2
    assert {name for pair in pairs(found) for name in pair} == {c.id for c in copies} | {"p02"}


def test_what_shows_nothing_pairs_with_nothing(plates, tmp_path):
    flat = [save(tmp_path, f"flat{k}", np.full((60, 60), k, np.uint8)) for k in (0, 0, 9, 255)]
    assert search([*plates[:3], *flat, save(tmp_path, "dot", np.zeros((1, 1), np.uint8))]) == ()


@pytest.mark.parametrize("count", [0, 1])
def test_of_fewer_than_two_there_is_no_pair(count, plates):
    assert search(plates[:count]) == ()


def test_files_that_cannot_be_read_are_passed_over(plates, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"this is no picture")
    missing = Case("missing", (tmp_path / "missing.png",), None)
    copy = save(tmp_path, "copy", PIL.Image.open(plates[0].images[0]))
    cases = [*plates[:4], Case("broken", (broken,), None), missing, Case("none", (), None), copy]
    assert pairs(search(cases)) == [("copy", "p00")]


def test_values_that_are_not_finite_are_passed_over(tmp_path):
    values = texture(1).astype(np.float32)
    np.save(tmp_path / "a.npy", values)
    values[:5, :5], values[50, 50] = np.nan, np.inf
    np.save(tmp_path / "b.npy", values)
    cases = [Case(name, (tmp_path / f"{name}.npy",), None) for name in "ab"]
    assert pairs(search(cases)) == [("a", "b")]


def test_channels_are_seen_together_and_cannot_cancel_out(tmp_path):
    def colour(name, first, second):
        layers = np.stack([first, second, np.zeros_like(first)], 2)
        return save(tmp_path, name, layers)

    cases = [colour(f"c{k}", texture(k), 255 - texture(k)) for k in range(20)]
    copy = colour("copy", texture(7) // 2, (255 - texture(7)) // 2)
    assert pairs(search([*cases, copy])) == [("c7", "copy")]


def test_the_same_cases_give_the_same_pairs(plates, tmp_path):
    copies = [
        save(tmp_path, f"c{k}", crop(0.02 * k)(PIL.Image.open(plates[k].images[0])))
        for k in range(4)
    ]
    cases = open_dataset([*plates, *copies])
    once = inspect_dataset(cases, jobs=1).look_alikes
    assert len(once) == 4
    assert inspect_dataset(cases, jobs=2).look_alikes == once
    assert search(reversed(cases.cases)) == once


def test_progress_is_told(plates):
    on_validation = {}

    def track(items, description, total):
        on_validation[description] = total
        return iter(items)

    inspect_dataset(open_dataset(plates[:3]), jobs=1, track=track)
    assert on_validation["Laying pairs on each other"] > 0


def volume(seed):
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(30, 40, 36))
    fine = sum(s**1.5 * ndimage.gaussian_filter(noise, s, mode="wrap") for s in (1.5, 4.0))
    image = sitk.GetImageFromArray(np.float32(1000 * fine))
    image.SetSpacing((1.0, 1.0, 1.25))
    return image


def resample(image, factor):
    return sitk.Resample(
        image,
        [int(n / factor) for n in image.GetSize()],
        sitk.Transform(),
        sitk.sitkLinear,
        image.GetOrigin(),
        [s * factor for s in image.GetSpacing()],
    )


def mirror(image):
    other = sitk.GetImageFromArray(sitk.GetArrayFromImage(image)[:, :, ::-1])
    other.CopyInformation(image)
    return other


def with_the_old_header(image):
    other = sitk.Image(image)
    other.SetSpacing((1.0, 1.0, 1.25))
    return other


@pytest.fixture(scope="module")
def brains(tmp_path_factory):
    folder = tmp_path_factory.mktemp("volumes")
    return [write_volume(folder, f"v{k}", volume(k)) for k in range(5)]


def write_volume(folder, name, image):
    path = Path(folder) / f"{name}.nii.gz"
    sitk.WriteImage(image, str(path))
    return Case(name, (path,), None)


VOLUMES = {
    "dimmed": (lambda v: v * 0.3 + 40, "as they are"),
    "resampled": (lambda v: resample(v, 1.4), "resampled"),
    "cropped": (lambda v: sitk.Crop(v, (3, 1, 2), (1, 2, 0)), "shifted"),
    "mirrored": (mirror, "mirrored along x"),
    "resampled, not said so": (lambda v: with_the_old_header(resample(v, 1.4)), "resampled"),
    "several": (lambda v: resample(mirror(sitk.Crop(v, (2, 1, 1), (0, 2, 1))), 1.25) * 2, None),
}


@pytest.mark.parametrize("name", VOLUMES)
def test_a_changed_copy_of_a_volume_is_found(name, brains, tmp_path):
    change, how = VOLUMES[name]
    copy = write_volume(tmp_path, "copy", change(volume(3)))
    (found,) = search([*brains, copy])
    assert (found.a, found.b) == ("copy", "v3")
    assert how is None or how in found.how


def test_a_slice_is_not_held_against_its_volume(brains, tmp_path):
    plane = sitk.GetArrayFromImage(volume(2))[15]
    np.save(tmp_path / "slice.npy", plane)
    assert search([*brains, Case("slice", (tmp_path / "slice.npy",), None)]) == ()


def linked(a, b, *, copy=True):
    return LookAlike(a, b, 0.9, "as they are", copy, None)


def test_groups_are_united_wherever_a_chain_of_pairs_links_them():
    groups = {"a": "p1", "b": "p1", "c": "p2", "d": None, "e": None, "f": "p3", "g": None}
    cases = [Case(name, (), None, group) for name, group in groups.items()]
    links = [
        LookAlike(*pair, 0.9, "as they are", True, None)
        for pair in (("b", "d"), ("c", "d"), ("e", "g"))
    ]
    assert propose_groups(cases, links) == {
        "a": "p1+p2",
        "b": "p1+p2",
        "c": "p1+p2",
        "d": "p1+p2",
        "e": "e",
        "f": "p3",
        "g": "e",
    }


def test_different_things_of_one_kind_are_not_united():
    cases = [Case(name, (), None) for name in "abc"]
    links = [linked("a", "b", copy=False), linked("b", "c")]
    assert propose_groups(cases, links) == {"a": "a", "b": "b", "c": "b"}


def test_without_pairs_groups_stay_and_the_others_are_alone():
    cases = [Case("a", (), None, "p1"), Case("b", (), None), Case("c", (), None, "p1")]
    assert propose_groups(cases, ()) == {"a": "p1", "b": "b", "c": "p1"}
    assert propose_groups((), ()) == {}


def test_a_made_name_never_takes_that_of_another_group():
    cases = [
        Case("p1", (), None),
        Case("x", (), None, "p1"),
        Case("y", (), None, "a"),
        Case("z", (), None, "b"),
        Case("w", (), None, "a+b"),
    ]
    proposed = propose_groups(cases, [linked("y", "z")])
    assert proposed["x"] == "p1"
    assert proposed["w"] == "a+b"
    assert proposed["y"] == proposed["z"]
    assert len(set(proposed.values())) == 4


def test_a_name_made_of_many_stays_short():
    cases = [Case(str(k), (), None, f"p{k}") for k in range(6)]
    links = [linked(str(k), str(k + 1)) for k in range(5)]
    assert set(propose_groups(cases, links).values()) == {"p0+5 more"}


@pytest.mark.slow
@pytest.mark.skipif(not DATA, reason="RARESEG_DATA does not name the real data")
def test_photographs_of_one_magnetic_tile_are_found():
    """A quarter of the groups; pairs between groups count as wrong, though they show one tile."""
    cases = open_dataset(Path(DATA) / "magnetic-tile").cases
    wanted = sorted({case.group for case in cases})[::4]
    cases = [case for case in cases if case.group in wanted]
    group = {case.id: case.group for case in cases}
    found = inspect_dataset(open_dataset(cases)).look_alikes
    right = sum(group[pair.a] == group[pair.b] for pair in found)
    same = sum(group[a] == group[b] for a in group for b in group if a < b)
    assert right / len(found) >= 0.95
    assert right / same >= 0.95


@pytest.mark.slow
@pytest.mark.skipif(not DATA, reason="RARESEG_DATA does not name the real data")
@pytest.mark.parametrize("name", ["crackforest", "hippocampus", "brats2013"])
def test_roads_and_brains_are_similar_and_no_copies(name):
    dataset = open_dataset(Path(DATA) / name)
    assert inspect_dataset(open_dataset(dataset.cases[:60])).look_alikes == ()
