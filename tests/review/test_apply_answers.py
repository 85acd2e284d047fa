"""What a review writes, voxel by voxel, and that nothing else is touched."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import SimpleITK as sitk

from rareseg.data.checks.fingerprint import inspect_dataset
from rareseg.data.dataset import open_dataset
from rareseg.errors import DataError, OutputError, RunError
from rareseg.quality.suspects import Suspect, load_suspects
from rareseg.review.answers import Answers
from rareseg.review.apply_answers import apply_review, open_reviewed
from rareseg.review.case_predictions import CasePredictions
from rareseg.run.setup.run_folder import open_run
from rareseg.run.setup.split_files import read_split
from rareseg_runner.decision.region_scores import region_scores
from rareseg_runner.formats import read_image


def digest(*roots: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for root in roots
        for path in sorted(root.rglob("*"))
        if path.is_file() and "review" not in path.relative_to(root).parts
    }


@pytest.fixture
def say(run):
    """Store decisions as the page does: say(item, verdict, *reviewers)."""
    seen = CasePredictions(open_run(run), run / "review" / "predictions").digest

    def decide(item, verdict, *reviewers, seen=seen, note=""):
        with Answers(run / "review" / "decisions.sqlite") as answers:
            for name in reviewers or ("Ada",):
                answers.record(item, reviewer=name, verdict=verdict, note=note, seen=seen)

    return decide


def plain(path: Path) -> np.ndarray:
    return np.asarray(PIL.Image.open(path))


def predicted_of(run: Path, case_id: str) -> np.ndarray:
    """The class indices that reviewers are shown, on the case's own grid."""
    folder = open_run(run)
    (case,) = (case for case in open_reviewed(folder).cases if case.id == case_id)
    predictions = CasePredictions(folder, run / "review" / "predictions")
    return predictions.of(case_id, read_image(case.images))


def whole_case(item: Suspect, name: str) -> Suspect:
    size = ((0, 1), (0, 64), (0, 64))
    return Suspect(name, item.case_id, item.group, "foreground", "worst case", 1, size, 1, 0, "")


@pytest.fixture
def reviewed(run, trained, say, tmp_path):
    """One decision of each kind on different cases, and what they were made on."""
    suspects = load_suspects(run / "suspects.json")
    roles = read_split(run / "split.csv")
    learnt = [s for s in suspects if roles[s.case_id] == "train"]
    items = {
        "accept label": learnt[0],
        "accept prediction": whole_case(learnt[1], "all of it"),
        "exclude case": learnt[2],
        "ignore region": next(s for s in learnt[3:] if s.kind == "spurious label"),
    }
    for verdict, item in items.items():
        say(item, verdict, "Ada", "Bo")
    before = digest(trained / "data", run)
    applied = apply_review(run, tmp_path / "new")
    assert digest(trained / "data", run) == before  # nothing that was there is another now
    return items, applied, tmp_path / "new"


def test_photographs_voxel_by_voxel(reviewed, run, trained, at_stake):
    items, applied, new = reviewed
    masks = trained / "data" / "masks"
    accepted = items["accept prediction"].case_id
    predicted = predicted_of(run, accepted)[0]
    assert predicted.any()
    assert np.array_equal(plain(new / "masks" / f"{accepted}.png"), np.where(predicted, 255, 0))
    ignored = items["ignore region"]
    drawn, seen = plain(masks / f"{ignored.case_id}.png"), predicted_of(run, ignored.case_id)
    concerned = at_stake((drawn > 0)[None].astype(np.uint8), seen, (1,), ignored.box)[0]
    expected = np.where(concerned, 254, drawn)  # 255 is the foreground's own value
    assert concerned.any()
    assert np.array_equal(plain(new / "masks" / f"{ignored.case_id}.png"), expected)
    names = {accepted, ignored.case_id}
    assert {path.stem for path in (new / "masks").iterdir()} == names
    assert set(applied.changed) == names
    assert applied.changed[ignored.case_id] == concerned.sum()


def test_the_new_manifest_opens_as_it_is_with_the_same_roles(reviewed, run, trained):
    items, applied, new = reviewed
    old = open_dataset(trained / "data")
    dataset = open_dataset(new)
    roles = read_split(run / "split.csv")
    left_out = items["exclude case"].case_id
    assert [case.id for case in dataset.cases] == [c.id for c in old.cases if c.id != left_out]
    assert applied.excluded == (left_out,)
    assert {case.id: case.role for case in dataset.cases} == {
        name: role for name, role in roles.items() if name != left_out
    }
    by_id = {case.id: case for case in old.cases}
    for case in dataset.cases:
        assert case.images[0].resolve() == by_id[case.id].images[0].resolve()
        assert case.group == by_id[case.id].group
        if case.id in applied.changed:
            assert case.mask == new / "masks" / f"{case.id}.png"
        else:
            assert (case.mask is None) == (by_id[case.id].mask is None)
            assert case.mask is None or case.mask.resolve() == by_id[case.id].mask.resolve()
    assert dataset.labels == {"foreground": 255}
    assert dataset.ignore_value == 254
    fingerprint = inspect_dataset(dataset)
    assert fingerprint.problems == ()
    assert (
        sum(case.ignored for case in fingerprint.cases)
        == applied.changed[items["ignore region"].case_id]
    )


def test_review_json_says_who_decided_what(reviewed):
    items, applied, new = reviewed
    record = json.loads((new / "review.json").read_text(encoding="utf-8"))
    assert record == json.loads(json.dumps(applied.record))
    assert {entry["item"]: entry["done"] for entry in record["items"]} == {
        item.id: verdict for verdict, item in items.items()
    }
    for entry in record["items"]:
        assert [one["reviewer"] for one in entry["decisions"]] == ["Ada", "Bo"]
        assert {one["verdict"] for one in entry["decisions"]} == {entry["done"]}
        if "voxels_changed" in entry:
            assert entry["voxels_changed"] == applied.changed[entry["case"]]
    assert record["agreement"]["share"] == 1.0
    assert record["agreement"]["n_items"] == 4


def test_test_cases_stand_beside_with_both_truths(run, trained, say, tmp_path):
    roles = read_split(run / "split.csv")
    tests = sorted(name for name, role in roles.items() if role == "test")
    some = load_suspects(run / "suspects.json")[0]
    box = ((0, 1), (0, 64), (0, 64))
    for name, verdict in zip(tests, ("exclude case", "accept prediction"), strict=False):
        item = Suspect(name, name, some.group, "foreground", "worst case", 1, box, 1, 0, "")
        say(item, verdict)
    applied = apply_review(run, tmp_path / "new")
    drawn = open_dataset(tmp_path / "new" / "test_as_drawn.csv")
    counted = open_dataset(tmp_path / "new" / "test.csv")
    assert sorted(case.id for case in drawn.cases) == tests
    assert sorted(case.id for case in counted.cases) == tests[1:]
    assert {case.role for case in drawn.cases} == {"test"}
    own = trained / "data" / "masks"
    for case in drawn.cases:
        assert case.mask is None or case.mask.resolve().parent == own.resolve()
    corrected = {
        case.id
        for case in counted.cases
        if case.mask and case.mask.parent.parent == tmp_path / "new"
    }
    assert corrected == set(applied.changed) <= {tests[1]}
    assert set(applied.tests) == {tests[0], *applied.changed}


def test_a_tie_changes_nothing_and_is_listed(run, say, tmp_path):
    item = load_suspects(run / "suspects.json")[0]
    say(item, "exclude case", "Ada")
    say(item, "accept label", "Bo")
    applied = apply_review(run, tmp_path / "new")
    assert (applied.changed, applied.excluded) == ({}, ())
    assert [(one.item.id, one.reason) for one in applied.open] == [(item.id, "no majority")]
    record = json.loads((tmp_path / "new" / "review.json").read_text(encoding="utf-8"))
    assert [(entry["done"], entry["reason"]) for entry in record["items"]] == [
        (None, "no majority")
    ]
    assert not (tmp_path / "new" / "masks").exists()
    assert "1 items were decided on and changed nothing (no majority)" in " ".join(applied.lines())


def test_what_was_decided_on_another_prediction_is_listed_and_not_done(run, say, tmp_path):
    item = load_suspects(run / "suspects.json")[0]
    say(item, "accept prediction", seen="an earlier one")
    applied = apply_review(run, tmp_path / "new")
    assert applied.changed == {}
    assert [one.reason for one in applied.open] == [
        "decided on another prediction than the present one"
    ]


def test_a_prediction_is_the_one_of_the_network_that_had_not_seen_the_case(run):
    from rareseg.evaluation.tables.score_table_io import load_table
    from rareseg_runner.decision.cut_point import apply_point

    folder = open_run(run)
    predictions = CasePredictions(folder, run / "review" / "predictions")
    table = load_table(folder.scores("out-of-fold"))
    dataset = {case.id: case for case in open_reviewed(folder).cases}
    point = predictions.points["foreground"]
    compared = 0
    for row in table.rows[::5]:
        predicted = predictions.of(row.case_id, read_image(dataset[row.case_id].images))
        if point.smallest_component.removes or point.gate > row.top:
            continue
        # the same number of voxels at the threshold as the table of out-of-fold scores counts
        scorer = predictions._scorer(predictions.folds.fold_of[row.case_id])
        found = scorer.probabilities(read_image(dataset[row.case_id].images))
        scores = region_scores(found, predictions.classes)["foreground"]
        assert float(scores.max()) == pytest.approx(row.top, abs=1e-6)
        assert np.array_equal(predicted > 0, apply_point(scores, point))
        assert "which had not seen this case" in predictions.by(row.case_id)
        compared += 1
    assert compared


def test_an_existing_folder_is_refused(run, say, tmp_path):
    say(load_suspects(run / "suspects.json")[0], "accept label")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "work.txt").write_text("of weeks")
    with pytest.raises(OutputError, match="exists already"):
        apply_review(run, tmp_path / "new")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["work.txt"]


def test_what_cannot_be_applied_is_said_and_leaves_nothing(run, say, tmp_path):
    with pytest.raises(RunError, match=r"never reviewed; call `rareseg review"):
        apply_review(run, tmp_path / "new")
    item = load_suspects(run / "suspects.json")[0]
    say(Suspect(**{**vars(item), "case_id": "nobody"}), "accept label")
    with pytest.raises(RunError, match=r"'nobody'.*another run"):
        apply_review(run, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_undone_decisions_are_none(run, say, tmp_path):
    say(load_suspects(run / "suspects.json")[0], "exclude case")
    with Answers(run / "review" / "decisions.sqlite") as answers:
        answers.undo("Ada")
    with pytest.raises(RunError, match="holds no decision"):
        apply_review(run, tmp_path / "new")


def test_data_that_changed_since_are_refused(run, trained, say, tmp_path):
    say(load_suspects(run / "suspects.json")[0], "accept label")
    shutil.copytree(trained / "data", tmp_path / "data")
    about = json.loads((run / "run.json").read_text(encoding="utf-8"))
    about["path"] = str(tmp_path / "data")
    (run / "run.json").write_text(json.dumps(about), encoding="utf-8")
    path = sorted((tmp_path / "data" / "masks").iterdir())[0]
    PIL.Image.fromarray(plain(path)[::-1]).save(path)
    with pytest.raises(DataError, match=f"changed since it was begun: the mask of {path.stem}"):
        apply_review(run, tmp_path / "new")
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="is gone; put it back"):
        apply_review(run, tmp_path / "new")


def test_cases_that_were_added_since_change_nothing(run, trained, say, tmp_path):
    say(load_suspects(run / "suspects.json")[0], "accept label")
    shutil.copytree(trained / "data", tmp_path / "data")
    about = json.loads((run / "run.json").read_text(encoding="utf-8"))
    about["path"] = str(tmp_path / "data")
    (run / "run.json").write_text(json.dumps(about), encoding="utf-8")
    for kind in ("images", "masks"):
        path = sorted((tmp_path / "data" / kind).iterdir())[0]
        PIL.Image.fromarray(plain(path)[::-1]).save(path.with_name(f"added{path.suffix}"))
    manifest = tmp_path / "data" / "manifest.csv"
    if manifest.is_file():
        first, row, *rest = manifest.read_text(encoding="utf-8").splitlines()
        cells = row.split(",")
        new = row.replace(cells[0], "added")
        manifest.write_text("\n".join([first, row, *rest, new, ""]), encoding="utf-8")
    applied = apply_review(run, tmp_path / "new")
    rows = applied.manifest.read_text(encoding="utf-8").splitlines()
    assert len(rows) > 2
    assert not any(row.startswith("added,") for row in rows)


def test_volumes_voxel_by_voxel_with_their_geometry(volumes, tmp_path):
    data, new = volumes / "data", tmp_path / "new"
    run = Path(shutil.copytree(volumes / "run", tmp_path / "run"))
    folder = open_run(run)
    predictions = CasePredictions(folder, run / "review" / "predictions")
    dataset = open_dataset(data)
    # A prediction that is known beforehand, where the page would have left it.
    predicted = {name: np.zeros((6, 20, 24), np.uint8) for name in ("v0", "v1", "v7")}
    predicted["v0"][1:4, 3:10, 4:12] = 1
    predicted["v0"][2:3, 5:8, 6:10] = 2
    predicted["v1"][0:3, 0:10, 0:12] = 2
    predicted["v7"][3:5, 4:7, 2:9] = 1
    predictions.folder.mkdir(parents=True)
    for name, classes in predicted.items():
        np.savez_compressed(predictions.folder / f"{name}.npz", classes=classes)
    box = ((1, 4), (2, 18), (3, 20))

    def item(case, region, box=box):
        return Suspect(f"{case} {region}", case, None, region, "wrong boundary", 0.5, box, 1, 1, "")

    everywhere = ((0, 6), (0, 20), (0, 24))
    with Answers(run / "review" / "decisions.sqlite") as answers:
        for one, verdict in (
            (item("v0", "whole"), "accept prediction"),
            (item("v1", "core"), "ignore region"),
            (item("v7", "whole", everywhere), "accept prediction"),
        ):
            answers.record(one, reviewer="Ada", verdict=verdict, seen=predictions.digest)
    apply_review(run, new)

    def on_the_grid(path):
        """Read a file as rareseg holds it: both axes of the slice are turned in these files."""
        image = sitk.ReadImage(str(path))
        return sitk.GetArrayFromImage(image), image

    def turned(case):
        """The known prediction in the file's own order of voxels, as mask values."""
        loaded = read_image(case.images).array[0]
        raw = sitk.GetArrayFromImage(sitk.ReadImage(str(case.images[0])))
        for flip in (np.s_[:, :, :], np.s_[:, ::-1, ::-1], np.s_[:, ::-1], np.s_[:, :, ::-1]):
            if np.array_equal(raw[flip], loaded):
                return flip
        raise AssertionError("no flip brings the file to the grid")

    values = np.array([0, 1, 4])
    for case in dataset.cases[:2]:
        drawn, source = on_the_grid(case.mask)
        flip = turned(case)
        expected = drawn[flip].copy()
        own = values[predicted[case.id]]
        # Each lies in the frame for the most part, or overlaps what does: whole components.
        if case.id == "v0":
            concerned = (expected > 0) | (own > 0)
            expected[concerned] = own[concerned]
        else:
            expected[(expected == 4) | (own == 4)] = 255
        written, image = on_the_grid(new / "masks" / f"{case.id}.nii.gz")
        assert (written != drawn).any()
        assert np.array_equal(written[flip], expected)
        for about in ("GetSpacing", "GetOrigin", "GetDirection", "GetSize"):
            assert getattr(image, about)() == pytest.approx(getattr(source, about)())
    empty = dataset.cases[7]
    written, image = on_the_grid(new / "masks" / "v7.nii.gz")  # it had no mask file
    assert np.array_equal(written[turned(empty)], values[predicted["v7"]])
    assert image.GetOrigin() == pytest.approx((10.0, -20.0, 5.0))
    assert {path.name for path in (new / "masks").iterdir()} == {
        "v0.nii.gz",
        "v1.nii.gz",
        "v7.nii.gz",
    }
    opened = open_dataset(new)
    assert opened.labels == {"oedema": 1, "core": 4}
    assert opened.regions == {"whole": (1, 4), "core": (4,)}
    assert opened.ignore_value == 255
    assert opened.channel_names == ("FLAIR", "T1")
    for now, before in zip(opened.cases, dataset.cases, strict=True):
        assert [path.resolve() for path in now.images] == [p.resolve() for p in before.images]
        told = [(name, mask and mask.resolve()) for name, mask in now.annotations]
        assert told == [(name, mask and mask.resolve()) for name, mask in before.annotations]
    assert inspect_dataset(opened).problems == ()
