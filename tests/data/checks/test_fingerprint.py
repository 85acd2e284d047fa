"""What inspection finds: facts derived by hand, and every fault of the files, all at once."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import SimpleITK as sitk

from rareseg.data.checks.case_checks import count_values, intensities, thumbnail_hash
from rareseg.data.checks.fingerprint import Fingerprint, inspect_dataset
from rareseg.data.dataset import open_dataset
from rareseg.data.identity import content_hash
from rareseg.data.records import Case, MaskRules
from rareseg.errors import DataError

DATA = os.environ.get("RARESEG_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="RARESEG_DATA does not name the real data")
RNG = np.random.default_rng(2)


def save(path: Path, array, spacing=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    if spacing is None:
        PIL.Image.fromarray(array).save(path)
    else:
        image = sitk.GetImageFromArray(array)
        image.SetSpacing(spacing)
        sitk.WriteImage(image, path)


def noise(shape=(20, 30)):
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def marked(value=255, shape=(20, 30), at=(slice(2, 4), slice(3, 6))):
    mask = np.zeros(shape, np.uint8)
    mask[at] = value
    return mask


@pytest.fixture
def photos(tmp_path):
    for name in ("a", "b", "c"):
        save(tmp_path / "images" / f"{name}.png", noise())
        save(tmp_path / "masks" / f"{name}.png", marked(0 if name == "c" else 255))
    return tmp_path


@pytest.fixture
def volumes(tmp_path):
    for name in ("v", "w"):
        save(
            tmp_path / "images" / f"{name}.nii.gz", noise((3, 20, 30)).astype(np.float32), (1, 1, 2)
        )
        save(tmp_path / "masks" / f"{name}.nii.gz", marked(1)[None].repeat(3, 0), (1, 1, 2))
    return tmp_path


def inspect(root, **options):
    return inspect_dataset(open_dataset(root, **options), jobs=1)


def the_problem(root, **options):
    problems = inspect(root, **options).problems
    assert len(problems) == 1, problems
    return str(problems[0])


class TestFacts:
    def test_counts_shapes_and_percentiles(self, photos):
        fingerprint = inspect(photos)
        assert fingerprint.problems == ()
        fact = fingerprint.cases[0]
        pixels = np.asarray(PIL.Image.open(photos / "images" / "a.png"))
        assert (fact.id, fact.shape, fact.dimension) == ("a", (1, 20, 30), 2)
        assert (fact.channels, fact.dtype, fact.voxels) == (1, "uint8", (594, 6))
        (channel,) = fact.intensities
        assert channel.mean == pytest.approx(pixels.mean())
        assert channel.std == pytest.approx(pixels.std())
        assert [case.is_positive for case in fingerprint.cases] == [True, True, False]

    def test_a_case_without_mask_is_all_background(self, photos):
        save(photos / "negatives" / "n.png", noise())
        assert inspect(photos).cases[-1].voxels == (600, 0)

    def test_json_round_trip(self, photos, tmp_path):
        fingerprint = inspect(photos)
        fingerprint.to_json(tmp_path / "f.json")
        assert Fingerprint.from_json(tmp_path / "f.json") == fingerprint
        (tmp_path / "f.json").write_text("{}")
        with pytest.raises(DataError, match=r"f\.json is no fingerprint"):
            Fingerprint.from_json(tmp_path / "f.json")

    def test_threads_and_one_worker_agree(self, photos):
        dataset = open_dataset(photos)
        assert inspect_dataset(dataset, jobs=2) == inspect_dataset(dataset, jobs=1)

    @pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
    def test_intensities_agree_with_numpy(self, dtype):
        values = RNG.normal(100, 20, 10_001).clip(0, 255).astype(dtype)
        facts = intensities(values)
        low, median, high = np.percentile(values, (0.5, 50, 99.5))
        assert (facts.low, facts.median, facts.high) == pytest.approx((low, median, high))
        assert (facts.mean, facts.std) == pytest.approx((values.mean(), values.std()), rel=1e-5)

    def test_values_are_counted_whatever_their_range(self):
        for values in ([0, 0, 3], [-5, 7], [0, 10**9], []):
            array = np.array(values, np.int64)
            unique = dict(zip(*np.unique(array, return_counts=True), strict=True))
            assert count_values(array) == unique

    def test_the_content_hash_sees_changed_files_and_declarations_but_not_a_move(self, photos):
        before = content_hash(open_dataset(photos))
        moved = photos.rename(photos.with_name("moved"))
        assert content_hash(open_dataset(moved)) == before
        os.utime(moved / "masks" / "a.png", ns=(1, 1))
        assert content_hash(open_dataset(moved)) == before
        with (moved / "masks" / "a.png").open("ab") as file:
            file.write(b"x")
        changed = content_hash(open_dataset(moved))
        (moved / "dataset.json").write_text('{"labels": {"crack": 255}}')
        assert len({before, changed, content_hash(open_dataset(moved))}) == 3


class TestClasses:
    def labelled(self, root, values, **declared):
        for number, value in enumerate(values):
            save(root / "images" / f"{number}.png", noise())
            save(root / "masks" / f"{number}.png", marked(value))
        if declared:
            (root / "dataset.json").write_text(json.dumps(declared))
        return inspect(root)

    @pytest.mark.parametrize("value", [1, 3, 255])
    def test_one_value_is_the_foreground(self, tmp_path, value):
        classes = self.labelled(tmp_path, [value]).classes
        assert (classes.names, classes.values) == (("background", "foreground"), (0, value))
        assert classes.regions == {"foreground": (1,)}

    def test_several_values_are_numbered_and_united(self, tmp_path):
        classes = self.labelled(tmp_path, [2, 5]).classes
        assert classes.names == ("background", "class_2", "class_5")
        assert list(classes.regions.items()) == [
            ("foreground", (1, 2)),
            ("class_2", (1,)),
            ("class_5", (2,)),
        ]

    def test_declared_names_and_regions_win(self, tmp_path):
        fingerprint = self.labelled(
            tmp_path, [1, 2, 4], labels={"c": 4, "a": 1, "b": 2}, regions={"core": [1, 4]}
        )
        assert fingerprint.problems == ()
        assert fingerprint.classes.names == ("background", "a", "b", "c")
        assert dict(fingerprint.classes.regions) == {"foreground": (1, 2, 3), "core": (1, 3)}

    def test_a_declared_union_is_not_doubled(self, tmp_path):
        fingerprint = self.labelled(
            tmp_path, [1, 2], labels={"a": 1, "b": 2}, regions={"whole": [1, 2], "b": [2]}
        )
        assert dict(fingerprint.classes.regions) == {"whole": (1, 2), "b": (2,)}

    def test_ignored_voxels_are_counted_apart(self, tmp_path):
        fingerprint = self.labelled(tmp_path, [1, 9], labels={"a": 1, "ignore": 9})
        assert fingerprint.problems == ()
        assert [(c.voxels, c.ignored) for c in fingerprint.cases] == [((594, 6), 0), ((594, 0), 6)]

    def test_values_outside_the_declared_map(self, tmp_path):
        (problem,) = map(str, self.labelled(tmp_path, [1, 7], labels={"a": 1}).problems)
        assert "1.png holds the label values 7, where 0, 1 are declared" in problem

    def test_a_declared_class_that_never_occurs(self, tmp_path):
        (problem,) = map(str, self.labelled(tmp_path, [1], labels={"a": 1, "b": 2}).problems)
        assert "class 'b' (value 2), which no mask holds" in problem

    def test_part_of_the_classes_must_not_be_called_foreground(self, tmp_path):
        problems = [
            str(problem)
            for problem in self.labelled(
                tmp_path, [1, 2], labels={"foreground": 1, "b": 2}
            ).problems
        ]
        assert "rename that label or region" in problems[0]

    def test_one_foreground_written_as_1_and_as_255(self, tmp_path):
        (problem,) = map(str, self.labelled(tmp_path, [1, 255, 255]).problems)
        assert "as 1 (as 1 masks do)" in problem
        assert "as 255 (as 2 do)" in problem

    def test_255_among_others_may_be_meant_to_be_ignored(self, tmp_path):
        fingerprint = self.labelled(tmp_path, [1, 2, 255])
        assert fingerprint.problems == ()
        assert any("--ignore-value 255" in warning.text for warning in fingerprint.warnings)

    def test_blurred_edges_are_no_classes(self, tmp_path):
        save(tmp_path / "images" / "a.png", noise())
        save(tmp_path / "masks" / "a.png", noise())
        assert "blurred edges or numbered objects" in the_problem(tmp_path)


class TestBadInput:
    """Real broken files; each is one sentence that names the file and the remedy."""

    def test_a_truncated_image(self, photos):
        file = photos / "images" / "b.png"
        file.write_bytes(file.read_bytes()[:200])
        problem = the_problem(photos)
        assert problem.startswith(str(file))
        assert "truncated" in problem

    def test_a_truncated_volume(self, volumes):
        file = volumes / "masks" / "w.nii.gz"
        file.write_bytes(file.read_bytes()[:-20])
        problem = the_problem(volumes)
        assert problem.startswith(str(file))
        assert "truncated" in problem

    def test_a_jpeg_mask(self, photos):
        (photos / "masks" / "b.png").unlink()
        save(photos / "masks" / "b.jpg", marked())
        fingerprint = inspect_dataset(open_dataset(photos))
        assert fingerprint.problems == ()
        assert any("1 mask was cut at 128 (JPEG)" in str(w) for w in fingerprint.warnings)

    def test_a_jpeg_mask_of_greys(self, photos):
        (photos / "masks" / "b.png").unlink()
        save(photos / "masks" / "b.jpg", np.full((20, 30), 120, np.uint8))
        assert "b.jpg is a mask stored as JPEG" in the_problem(photos)
        assert "--binarize 128" in the_problem(photos)

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_values_that_are_not_finite(self, volumes, value):
        array = noise((3, 20, 30)).astype(np.float32)
        array[1, 2, 3:5] = value
        save(volumes / "images" / "v.nii.gz", array, (1, 1, 2))
        problem = the_problem(volumes)
        assert "v.nii.gz holds 2 values that are NaN or infinite" in problem

    def test_shapes_that_disagree(self, photos):
        save(photos / "masks" / "a.png", marked(shape=(20, 31)))
        problem = the_problem(photos)
        assert "a.png has the shape (z, y, x) = (1, 20, 31)" in problem
        assert "(1, 20, 30)" in problem

    def test_a_mask_drawn_on_the_unturned_photograph(self, photos):
        note = PIL.Image.Exif()
        note[274] = 6
        (photos / "images" / "a.png").unlink()
        PIL.Image.fromarray(noise()).save(photos / "images" / "a.jpg", exif=note)
        assert "turn the mask as viewers turn the photograph" in the_problem(photos)

    def test_a_half_turn_cannot_be_seen_from_the_shape_and_is_a_warning(self, photos):
        note = PIL.Image.Exif()
        note[274] = 3
        (photos / "images" / "a.png").unlink()
        PIL.Image.fromarray(noise()).save(photos / "images" / "a.jpg", exif=note)
        fingerprint = inspect(photos)
        assert fingerprint.problems == ()
        assert any("EXIF note that their masks lack" in w.text for w in fingerprint.warnings)

    def test_spacings_that_disagree(self, volumes):
        save(volumes / "masks" / "v.nii.gz", marked(1)[None].repeat(3, 0), (1, 1, 3))
        problem = the_problem(volumes)
        assert "v.nii.gz does not lie on its image" in problem
        assert "2 × 1 × 1 mm and 3 × 1 × 1 mm" in problem

    def test_no_positive_case(self, photos):
        for name in "ab":
            save(photos / "masks" / f"{name}.png", marked(0))
        assert "has no positive case" in the_problem(photos)

    def test_differing_channel_counts(self, photos):
        save(photos / "images" / "b.png", noise((20, 30, 3)))
        np.save(photos / "images" / "c.npy", noise((2, 20, 30)))
        save(photos / "masks" / "c.png", marked())
        fingerprint = inspect_dataset(open_dataset(photos))
        assert any("c.npy has 2 channels where" in str(p) for p in fingerprint.problems)

    def test_photographs_among_volumes(self, volumes):
        save(volumes / "images" / "p.png", noise())
        save(volumes / "masks" / "p.png", marked(1))
        assert "p.png has one slice (2D) where 2 cases have a volume (3D)" in the_problem(volumes)

    def test_files_that_do_not_exist(self, photos):
        cases = [*open_dataset(photos).cases, Case("z", (photos / "absent.png",), None)]
        (problem,) = map(str, inspect_dataset(open_dataset(cases), jobs=1).problems)
        assert "absent.png does not exist" in problem

    def test_an_empty_folder(self, tmp_path):
        (tmp_path / "images").mkdir()
        fingerprint = inspect(tmp_path)
        assert len(fingerprint.problems) == 1
        assert "holds no images" in fingerprint.problems[0].text
        assert fingerprint.cases == ()

    def test_all_faults_are_listed_at_once(self, photos):
        (photos / "images" / "c.png").unlink()
        (photos / "masks" / "b.png").write_bytes(b"")
        save(photos / "masks" / "a.png", marked(shape=(5, 5)))
        save(photos / "images" / "d.png", noise())
        problems = " ".join(map(str, inspect(photos).problems))
        for words in (
            "c.png is a mask without",
            "b.png cannot",
            "a.png has the shape",
            "d.png has no",
        ):
            assert words in problems

    def test_every_problem_is_one_sentence(self, photos):
        (photos / "masks" / "b.png").write_bytes(b"")
        save(photos / "masks" / "a.png", marked(shape=(5, 5)))
        save(photos / "images" / "d.png", noise())
        for problem in map(str, inspect(photos).problems):
            assert problem.endswith(".")
            assert "\n" not in problem


class TestIndependence:
    def test_unknown_groups_are_a_warning(self, photos):
        assert [w.kind for w in inspect(photos).warnings] == ["no groups"]
        grouped = inspect(photos, group_from="(.)")
        assert grouped.warnings == ()

    def test_a_copy_is_a_near_duplicate_unless_grouped(self, photos):
        picture = PIL.Image.open(photos / "images" / "a.png")
        darker = picture.point(lambda value: value * 0.6 + 10)
        darker.save(photos / "images" / "a2.png")
        save(photos / "masks" / "a2.png", marked())
        fingerprint = inspect(photos)
        assert [(p.a, p.b) for p in fingerprint.copies_across_groups] == [("a", "a2")]
        assert any("1 pair of images looks almost alike" in w.text for w in fingerprint.warnings)
        grouped = inspect(photos, group_from="^(.)")
        assert grouped.copies_across_groups == ()
        assert grouped.look_alikes == fingerprint.look_alikes

    def test_what_earlier_versions_wrote_is_read(self, photos, tmp_path):
        fingerprint = inspect(photos)
        path = tmp_path / "fingerprint.json"
        fingerprint.to_json(path)
        content = json.loads(path.read_text())
        del content["look_alikes"]
        path.write_text(json.dumps({**content, "near_duplicates": [["a", "b", 0.97]]}))
        read = Fingerprint.from_json(path)
        assert replace(read, look_alikes=()) == replace(fingerprint, look_alikes=())
        (pair,) = read.copies_across_groups
        assert (pair.a, pair.b, pair.similarity, pair.placement) == ("a", "b", 0.97, None)


class TestThumbnailHash:
    def test_it_is_of_the_picture_not_of_its_exposure(self):
        image = RNG.normal(100, 20, (1, 1, 60, 80))
        assert thumbnail_hash(image) == thumbnail_hash(image * 2 + 1)
        assert len(thumbnail_hash(image)) == 36

    def test_what_is_not_finite_counts_as_0(self):
        image = RNG.normal(100, 20, (1, 1, 60, 80))
        image[0, 0, :30, :40], image[0, 0, 30:, 40:] = np.inf, np.nan
        assert thumbnail_hash(image) == thumbnail_hash(np.where(np.isfinite(image), image, 0))


@needs_data
@pytest.mark.slow
class TestRealData:
    @pytest.mark.parametrize("name", ["crackforest", "brats2013", "hippocampus"])
    def test_no_problems_and_no_near_duplicates(self, name):
        fingerprint = inspect_dataset(open_dataset(Path(DATA) / name), jobs=2)
        assert fingerprint.problems == ()
        assert fingerprint.look_alikes == ()

    def test_magnetic_tile_counts_agree_with_its_manifest(self):
        dataset = open_dataset(Path(DATA) / "magnetic-tile")
        fingerprint = inspect_dataset(dataset, jobs=2)
        rows = (Path(DATA) / "magnetic-tile" / "manifest.csv").read_text().splitlines()[1:]
        stated = {row.split(",")[0]: int(row.split(",")[5]) for row in rows}
        assert {case.id: sum(case.voxels[1:]) for case in fingerprint.cases} == stated
        assert fingerprint.problems == ()
        assert sum(not case.is_positive for case in fingerprint.cases) == 574


class TestDeclaredValues:
    def declare(self, root, labels):
        (root / "dataset.json").write_text(json.dumps({"labels": {"background": 0, **labels}}))

    def test_a_class_of_255_among_others_is_told(self, photos):
        self.declare(photos, {"crack": 255, "hole": 1})
        warnings = [str(warning) for warning in inspect(photos).warnings]
        assert sum("declares the class 'crack' as 255" in text for text in warnings) == 1
        self.declare(photos, {"crack": 255})
        assert not any("declares" in str(warning) for warning in inspect(photos).warnings)

    def test_a_class_cannot_be_what_counts_nowhere(self, photos):
        self.declare(photos, {"crack": 255, "hole": 1})
        problems = inspect(photos, rules=MaskRules(ignore_value=255)).problems
        assert any("'crack' as 255, which is the value of voxels" in str(p) for p in problems)
