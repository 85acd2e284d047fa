"""A data set of consensus masks: what is written and refused, and that it can be trained on."""

import csv
import json
import shutil

import numpy as np
import PIL.Image
import pytest
import SimpleITK as sitk
from scipy import ndimage
from sklearn.metrics import f1_score

from rareseg.data.checks.fingerprint import inspect_dataset
from rareseg.data.dataset import open_annotations, open_dataset
from rareseg.data.records import Case
from rareseg.data.store.store import open_store
from rareseg.errors import DataError
from rareseg.quality.annotators.all_annotators import measure_agreement
from rareseg.quality.annotators.consensus import ConsensusSettings
from rareseg.quality.annotators.consensus_files import write_consensus
from rareseg.sampling.pools.pool import pool_classes, pool_everything
from rareseg_runner.formats import read_mask
from rareseg_runner.image_records import IGNORE


def contents(folder):
    """Return every file below a folder with its bytes."""
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def refused(called, *words, code=1):
    """Assert one sentence for each thing that is wrong, with all the words, and no traceback."""
    assert called.code == code, called.err
    assert "Traceback" not in called.err
    for word in words:
        assert str(word) in called.err
    assert called.err.strip().endswith(".")


def table(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_table(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def discs(radii, shape=(40, 40), value=255):
    """Return one mask per annotator: discs around the middle, None for one who drew nothing."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    y, x = y - shape[0] // 2, x - shape[1] // 2
    return [
        None if radius is None else np.where(y**2 + x**2 <= radius**2, value, 0).astype(np.uint8)
        for radius in radii
    ]


def save_photos(root, cases, **other):
    """Write photographs with the masks of annotators a, b, …: id to masks, "empty" or None.

    ``other`` are further columns, with one value for all cases.
    """
    (root / "photos").mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = []
    for name, masks in cases.items():
        shape = next((m.shape for m in masks if isinstance(m, np.ndarray)), (40, 40))
        image = rng.integers(0, 255, shape).astype(np.uint8)
        PIL.Image.fromarray(image).save(root / "photos" / f"{name}.jpg")
        row = {"id": name, "image": f"photos/{name}.jpg", **other}
        for letter, mask in zip("abcdef", masks, strict=False):
            row[f"mask_{letter}"] = {None: "", "empty": "empty"}.get(
                mask if not isinstance(mask, np.ndarray) else 0, f"{letter}/{name}.png"
            )
            if isinstance(mask, np.ndarray):
                (root / letter).mkdir(exist_ok=True)
                PIL.Image.fromarray(mask).save(root / letter / f"{name}.png")
        rows.append(row)
    write_table(root / "manifest.csv", rows)
    return root


@pytest.fixture
def photos(tmp_path):
    """Three reviewed photographs, one that one annotator looked at, one that nobody did."""
    return save_photos(
        tmp_path / "data",
        {
            "one": discs((6, 8, 9)),
            "two": [*discs((5, 5)), "empty"],
            "none": ["empty"] * 3,
            "few": [*discs((4,)), None, None],
            "unseen": [None] * 3,
        },
        group="plate",
        split="train",
    )


class TestPhotographs:
    def test_the_folder(self, photos, call, tmp_path):
        before = contents(photos)
        called = call("consensus", photos, "--out", tmp_path / "agreed")
        assert called.code == 0, called.err
        assert contents(photos) == before
        assert {path.name for path in (tmp_path / "agreed").iterdir()} == {
            "masks", "manifest.csv", "dataset.json", "agreement.json", "agreement.csv",
            "objects.csv",
        }  # fmt: skip
        dataset = open_dataset(tmp_path / "agreed")
        assert dataset.problems == ()
        assert [case.id for case in dataset.cases] == ["one", "two", "none"]
        for case in dataset.cases:
            assert (case.group, case.role) == ("plate", "train")
            (image,) = case.images
            assert image.samefile(photos / "photos" / f"{case.id}.jpg")
            assert case.mask == tmp_path / "agreed" / "masks" / f"{case.id}.png"
        assert (dict(dataset.labels), dataset.ignore_value) == ({"foreground": 255}, 128)

    def test_the_masks(self, photos, call, tmp_path, read):
        six, _, nine = discs((6, 8, 9))
        call("consensus", photos, "--out", tmp_path / "agreed")
        # Of three annotators every one must say the same.
        expected = np.where(six, 255, np.where(nine, 128, 0))
        assert np.array_equal(read(tmp_path / "agreed/masks/one.png")[0], expected)
        (five,) = discs((5,))
        assert np.array_equal(read(tmp_path / "agreed/masks/two.png")[0], np.where(five, 128, 0))
        assert not read(tmp_path / "agreed/masks/none.png")[0].any()
        called = call("consensus", photos, "--out", tmp_path / "kept", "--ambiguous", "keep")
        assert "were decided anyway" in called.out
        assert np.array_equal(read(tmp_path / "kept/masks/one.png")[0], discs((8,))[0])
        assert np.array_equal(read(tmp_path / "kept/masks/two.png")[0], five)

    def test_too_few_reviews_are_listed_and_left_out_unless_told(self, photos, call, tmp_path):
        called = call("consensus", photos, "--out", tmp_path / "agreed")
        assert "Fewer than 3 reviews, left out: few (1), unseen (0)." in called.out
        record = json.loads((tmp_path / "agreed/agreement.json").read_text(encoding="utf-8"))
        assert record["too_few_reviews"] == [
            {"id": "few", "reviews": 1, "kept": False},
            {"id": "unseen", "reviews": 0, "kept": False},
        ]
        called = call("consensus", photos, "--out", tmp_path / "kept", "--keep-few")
        assert "Fewer than 3 reviews, kept: few (1)." in called.out
        assert "left out: unseen (0)." in called.out
        kept = open_dataset(tmp_path / "kept").cases
        assert [case.id for case in kept] == ["one", "two", "none", "few"]
        # What one annotator drew is the consensus of one.
        assert np.array_equal(read_mask(kept[-1].mask).array[0], discs((4,))[0])

    def test_the_tables_say_what_the_files_hold(self, photos, call, tmp_path):
        call("consensus", photos, "--out", tmp_path / "agreed")
        rows = {row["case"]: row for row in table(tmp_path / "agreed/agreement.csv")}
        assert list(rows) == ["one", "two", "none", "few"]
        masks = [mask.ravel() > 0 for mask in discs((6, 8, 9))]
        pairs = [f1_score(masks[i], masks[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
        assert float(rows["one"]["dice"]) == pytest.approx(np.mean(pairs))
        assert (rows["two"]["annotators"], rows["two"]["drew"]) == ("3", "2")
        assert float(rows["two"]["dice"]) == pytest.approx(1 / 3)
        assert rows["none"]["dice"] == ""
        assert "dice: nobody drew anything" in rows["none"]["undefined"]
        assert "fewer than two annotators looked" in rows["few"]["undefined"]
        objects = table(tmp_path / "agreed/objects.csv")
        assert [(row["case"], row["drawn_by"], row["who"]) for row in objects] == [
            ("one", "3", "a b c"),
            ("two", "2", "a b"),
            ("few", "1", "a"),
        ]

    def test_json_is_what_is_written(self, photos, call, tmp_path):
        called = call("consensus", photos, "--out", tmp_path / "agreed", "--json")
        printed = json.loads(called.out)
        assert printed.pop("out") == str(tmp_path / "agreed")
        assert printed == json.loads((tmp_path / "agreed/agreement.json").read_text("utf-8"))
        assert printed["annotators"] == {"a": 4, "b": 3, "c": 3}
        (region,) = printed["regions"]
        assert (region["region"], region["n_all"], region["n_some"], region["n_none"]) == (
            "foreground", 1, 1, 1,
        )  # fmt: skip
        assert printed["consensus"]["cases_without_certain_foreground"] == ["two"]
        six, nine = (int((mask > 0).sum()) for mask in discs((6, 9)))
        assert printed["consensus"]["voxels"]["foreground"] == six
        five = int((discs((5,))[0] > 0).sum())
        assert printed["consensus"]["ignored_voxels"] == nine - six + five

    def test_a_path_that_is_a_link_leads_to_the_same_images(self, photos, call, tmp_path):
        (tmp_path / "far" / "away").mkdir(parents=True)
        (tmp_path / "near").symlink_to(tmp_path / "far" / "away")
        assert call("consensus", photos, "--out", tmp_path / "near" / "agreed").code == 0
        dataset = open_dataset(tmp_path / "near" / "agreed")
        assert inspect_dataset(dataset, jobs=1).problems == ()

    def test_so_does_one_that_goes_up_from_a_link(self, photos, call, tmp_path):
        (tmp_path / "deep" / "down").mkdir(parents=True)
        data = tmp_path / "deep" / "data"
        shutil.move(photos, data)
        shutil.move(data / "photos", tmp_path / "deep" / "photos")
        text = (data / "manifest.csv").read_text(encoding="utf-8")
        (data / "manifest.csv").write_text(text.replace("photos/", "../photos/"))
        (tmp_path / "link").symlink_to(data)
        assert call("consensus", tmp_path / "link", "--out", tmp_path / "agreed").code == 0
        (first, *_) = open_dataset(tmp_path / "agreed").cases
        assert first.images[0].samefile(tmp_path / "deep" / "photos" / "one.jpg")

    def test_the_order_of_threads_changes_nothing(self, photos, tmp_path):
        for jobs in (1, 4):
            write_consensus(open_annotations(photos), tmp_path / str(jobs), jobs=jobs)
        assert contents(tmp_path / "1") == contents(tmp_path / "4")


class TestVolumes:
    DIRECTION = (0.0, -1.0, 0.0, 0.9950041653, 0.0, 0.0998334166, -0.0998334166, 0.0, 0.9950041653)

    def save(self, path, array):
        """Write an oblique, anisotropic volume (k, j, i)."""
        image = sitk.GetImageFromArray(array)
        image.SetSpacing((0.6, 0.7, 2.5))
        image.SetOrigin((11.0, -7.0, 3.0))
        image.SetDirection(self.DIRECTION)
        path.parent.mkdir(exist_ok=True, parents=True)
        sitk.WriteImage(image, str(path))
        return image

    @pytest.mark.parametrize("method", ["majority", "staple"])
    def test_masks_lie_on_their_images_and_regions_stay_nested(self, method, call, tmp_path):
        root, rng = tmp_path / "data", np.random.default_rng(2)
        field = ndimage.gaussian_filter(rng.normal(size=(9, 20, 24)), 2.5)
        field /= field.std()
        own = ndimage.gaussian_filter(rng.normal(size=(3, 9, 20, 24)), (0, 1, 1, 1)) * 2
        image = self.save(root / "scan.nii.gz", field.astype(np.float32))
        masks = 2 * ((field + own) > 1.0).astype(np.uint8) + 2 * ((field + own) > 1.7)
        for name, mask in zip("abc", masks, strict=True):
            self.save(root / name / "scan.nii.gz", mask.astype(np.uint8))
        row = {"id": "scan", "image": "scan.nii.gz", "group": "p1"}
        write_table(root / "manifest.csv", [row | {f"mask_{k}": f"{k}/scan.nii.gz" for k in "abc"}])
        declared = {
            "channel_names": {"0": "CT"},
            "labels": {"background": 0, "swelling": 2, "core": 4},
            "regions": {"whole": [2, 4], "centre": [4]},
        }
        (root / "dataset.json").write_text(json.dumps(declared))
        out = tmp_path / "agreed"
        called = call("consensus", root, "--out", out, "--method", method, "--ambiguous", "keep")
        assert called.code == 0, called.err
        found = sitk.ReadImage(str(out / "masks" / "scan.nii.gz"))
        assert found.GetSpacing() == pytest.approx(image.GetSpacing())
        assert found.GetOrigin() == pytest.approx(image.GetOrigin(), abs=1e-5)
        assert found.GetDirection() == pytest.approx(image.GetDirection(), abs=1e-6)
        united = sitk.GetArrayFromImage(found)
        assert set(np.unique(united)) == {0, 2, 4}
        if method == "majority":
            for values in ((2, 4), (4,)):
                votes = np.isin(masks, values).sum(axis=0)
                assert np.array_equal(np.isin(united, values), votes >= 2)
        dataset = open_dataset(out)
        assert inspect_dataset(dataset, jobs=1).classes.regions == {"whole": (1, 2), "centre": (2,)}
        assert (dataset.channel_names, dataset.ignore_value) == (("CT",), 255)
        record = json.loads((out / "agreement.json").read_text(encoding="utf-8"))
        assert [region["region"] for region in record["regions"]] == ["whole", "centre"]
        assert record["regions"][0]["size_unit"] == "mm³"
        assert bool(record["cases"][0]["performances"]) == (method == "staple")


class TestClasses:
    def declare(self, root, **content):
        (root / "dataset.json").write_text(json.dumps(content))

    def test_what_only_one_annotator_names_is_in_no_consensus_and_can_still_be_trained_on(
        self, call, tmp_path
    ):
        (two, odd) = discs((5, 5), value=1)
        odd = odd.copy()
        odd[0, 0] = 2
        data = save_photos(tmp_path / "data", {"one": [two, two, odd]})
        labels = {"background": 0, "spot": 1, "dust": 2}
        self.declare(data, labels=labels, regions={"any": [1, 2], "dirt": [2]})
        called = call("consensus", data, "--out", tmp_path / "agreed")
        assert "No consensus mask holds dust" in called.out
        dataset = open_dataset(tmp_path / "agreed")
        assert (dict(dataset.labels), dict(dataset.regions)) == ({"spot": 1}, {"any": (1,)})
        assert inspect_dataset(dataset, jobs=1).problems == ()

    def test_a_declared_ignore_stays_and_is_kept_whatever_is_asked(self, call, tmp_path, read):
        masks = discs((5, 5, 5), value=1)
        masks[2] = masks[2].copy()
        masks[2][:3] = 9
        data = save_photos(tmp_path / "data", {"one": masks})
        self.declare(data, labels={"background": 0, "spot": 1, "ignore": 9})
        assert call("consensus", data, "--out", tmp_path / "o", "--ambiguous", "keep").code == 0
        assert np.array_equal(read(tmp_path / "o/masks/one.png")[0], masks[2])
        assert open_dataset(tmp_path / "o").ignore_value == 9

    def test_all_empty(self, call, tmp_path):
        data = save_photos(tmp_path / "data", {"one": ["empty"] * 3, "two": ["empty"] * 3})
        called = call("consensus", data, "--out", tmp_path / "agreed")
        assert called.code == 0, called.err
        assert "foreground: agreement is undefined (nobody drew anything)." in called.out
        called = call("inspect", tmp_path / "agreed")
        assert called.code == 1
        assert "no positive case" in called.out


class TestRefused:
    @pytest.fixture
    def whole(self, tmp_path):
        return save_photos(tmp_path / "data", {"one": discs((6, 7, 8)), "two": discs((3, 4, 5))})

    def check(self, call, data, *words, code=1, options=()):
        before, parent = contents(data), data.parent
        called = call("consensus", data, "--out", parent / "agreed", *options)
        refused(called, *words, code=code)
        assert contents(data) == before
        # Nothing of what was begun is left.
        assert [path.name for path in parent.iterdir()] == ["data"]

    def test_a_mask_of_another_shape(self, whole, call):
        PIL.Image.fromarray(np.zeros((7, 9), np.uint8)).save(whole / "b" / "two.png")
        self.check(call, whole, whole / "b" / "two.png", "(1, 7, 9)", "(1, 40, 40)", "1 problem")

    def test_a_value_that_no_class_has(self, whole, call):
        (whole / "dataset.json").write_text('{"labels": {"background": 0, "spot": 255}}')
        mask = np.zeros((40, 40), np.uint8)
        mask[5, 5] = 7
        PIL.Image.fromarray(mask).save(whole / "c" / "one.png")
        self.check(call, whole, whole / "c" / "one.png", "7", "0, 255")

    def test_a_mask_that_is_missing_or_no_image(self, whole, call):
        (whole / "a" / "one.png").unlink()
        (whole / "a" / "two.png").write_bytes(b"no picture")
        names = whole / "a" / "one.png", whole / "a" / "two.png"
        self.check(call, whole, *names, "does not exist", "2 problems")

    def test_an_image_that_is_missing(self, whole, call):
        (whole / "photos" / "one.jpg").unlink()
        self.check(call, whole, whole / "photos" / "one.jpg", "does not exist")

    def test_other_problems_of_the_folder(self, whole, call):
        rows = table(whole / "manifest.csv")
        write_table(whole / "manifest.csv", [*rows, rows[0]])
        self.check(call, whole, "the id 'one' to 2 cases")

    def test_masks_that_mean_foreground_by_different_values(self, whole, call):
        PIL.Image.fromarray(discs((3,), value=1)[0]).save(whole / "a" / "two.png")
        self.check(call, whole, whole / "a" / "two.png", "1 (as 1 masks do)", "255")

    def test_no_case_with_enough_reviews(self, whole, call):
        self.check(call, whole, "4 reviews", "the most are 3", "--minimum-reviews",
                   options=("--minimum-reviews", 4))  # fmt: skip

    @pytest.mark.parametrize(
        ("options", "word"),
        [
            (("--method", "mean"), "majority and staple"),
            (("--ambiguous", "keeep"), "did you mean 'keep'"),
            (("--certain", 0.5), "half against half"),
            (("--minimum-reviews", 0), "1 or more"),
            (("--tolerance", -1), "tolerance_mm"),
        ],
    )
    def test_words_and_numbers(self, options, word, whole, call):
        self.check(call, whole, word, code=2, options=options)

    def test_a_data_set_without_annotators(self, specks, call, tmp_path):
        called = call("consensus", specks, "--out", tmp_path / "agreed")
        refused(called, specks, "mask_NAME")
        assert not (tmp_path / "agreed").exists()

    def test_what_stands_there_is_left_alone(self, whole, call, tmp_path):
        (tmp_path / "agreed").mkdir()
        (tmp_path / "agreed" / "thesis.txt").write_text("years of work")
        before = contents(tmp_path)
        for out in (tmp_path / "agreed", tmp_path / "agreed" / "thesis.txt", whole):
            refused(call("consensus", whole, "--out", out), out, "another --out", code=2)
        assert contents(tmp_path) == before

    def test_an_empty_folder_may_be_written_to(self, whole, call, tmp_path):
        (tmp_path / "agreed").mkdir()
        assert call("consensus", whole, "--out", tmp_path / "agreed").code == 0


class TestLibrary:
    def test_agreement_alone_writes_nothing(self, photos):
        before = contents(photos)
        agreed = measure_agreement(open_annotations(photos), jobs=1)
        assert contents(photos) == before
        assert agreed.kept == ()
        assert [case.case_id for case in agreed.cases] == ["one", "two", "none", "few"]

    def test_cases_may_be_given_as_objects(self, photos, tmp_path):
        cases = open_annotations(photos).cases[:2]
        agreed = write_consensus(
            open_annotations(cases), tmp_path / "out", ConsensusSettings(method="staple"), jobs=1
        )
        assert len(agreed.kept) == 2

    def test_a_data_set_that_nobody_annotated_is_named(self, photos):
        case = Case("one", (photos / "photos/one.jpg",), None)
        with pytest.raises(DataError, match="The data set names no masks of annotators"):
            open_annotations([case])


class TestTraining:
    @pytest.fixture
    def agreed(self, specks, call, tmp_path):
        """Specks as three annotators draw them: as they are, wider, and with some missed."""
        root = tmp_path
        data = shutil.copytree(specks, root / "data")
        rng, rows = np.random.default_rng(0), table(data / "manifest.csv")
        for row in rows:
            truth = np.asarray(PIL.Image.open(data / row.pop("mask"))) > 0
            labels, count = ndimage.label(truth, np.ones((3, 3)))
            seen = np.concatenate([[False], rng.random(count) < 0.85])
            drawn = {"a": truth, "b": ndimage.binary_dilation(truth), "c": seen[labels]}
            for name, mask in drawn.items():
                (data / name).mkdir(exist_ok=True)
                file = f"{name}/{row['id']}.png"
                PIL.Image.fromarray(mask.astype(np.uint8) * 255).save(data / file)
                row[f"mask_{name}"] = file if mask.any() else "empty"
        write_table(data / "manifest.csv", rows)
        called = call("consensus", data, "--out", root / "agreed")
        assert called.code == 0, called.err
        return root / "agreed"

    def test_a_run_counts_no_ambiguous_voxel_anywhere(self, agreed, call, settings, read, tmp_path):
        run = tmp_path / "run"
        called = call(
            "train", agreed, "--out", run, *settings(training__steps=4, training__validations=1)
        )
        assert called.code == 0, called.err
        files = {row["id"]: agreed / row["mask"] for row in table(agreed / "manifest.csv")}
        masks = {name: read(path)[0] for name, path in files.items()}
        store = open_store(run / "store")
        for row, name in enumerate(store.cases.ids):
            assert np.array_equal(store.label(row)[0] == IGNORE, masks[name] == 128)
            assert np.array_equal(store.label(row)[0] == 1, masks[name] == 255)
        ignored = sum((mask == 128).sum() for mask in masks.values())
        record = json.loads((agreed / "agreement.json").read_text(encoding="utf-8"))
        assert ignored == record["consensus"]["ignored_voxels"] > 0
        assert pool_everything(store).size == store.labels.size - ignored
        assert sum(pool.size for pool in pool_classes(store)) == store.labels.size - ignored
        fingerprint = json.loads((run / "fingerprint.json").read_text(encoding="utf-8"))
        assert sum(case["ignored"] for case in fingerprint["cases"]) == ignored
        tested = table(run / "cases.csv")
        assert tested
        for line in tested:
            counted = sum(int(line[name]) for name in ("tp", "fp", "fn", "tn"))
            mask = masks[line["case"]]
            assert counted == (mask != 128).sum()
            assert int(line["tp"]) + int(line["fn"]) == (mask == 255).sum()
        assert any((masks[line["case"]] == 128).any() for line in tested)
