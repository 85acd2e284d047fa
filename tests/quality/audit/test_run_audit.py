"""The whole audit: clean data, planted faults, exit codes, what is written, and broken data."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import SimpleITK as sitk
from scipy import ndimage

from rareseg.data.builtin.lumps import LumpsSettings, write_lumps
from rareseg.data.dataset import open_dataset
from rareseg.data.records import Dataset
from rareseg.quality.audit.finding import Move
from rareseg.quality.audit.run_audit import audit_dataset

NOTES = {"touching-border", "ungrouped-cases", "few-cases", "no-negatives"}


def found(folder: Path, **options):
    audit = audit_dataset(open_dataset(folder), jobs=1, **options)
    json.dumps(audit.to_dict(), allow_nan=False)
    return {finding.name: finding for finding in audit.findings}


def positives(cases):
    return [case for case in cases if case.mask.any()]


def swap(cases, changed):
    by_id = {case.id: case for case in changed}
    return [by_id.get(case.id, case) for case in cases]


def exposed_anew(case, name, **changes):
    rng = np.random.default_rng(1)
    grey = np.clip(1.1 * case.image - 9 + rng.normal(0, 1.5, case.image.shape), 0, 255)
    return replace(case, id=name, image=grey.astype(np.uint8), **changes)


def test_clean_data_say_nothing_but_notes(specks_cases, write_cases, tmp_path):
    assert set(found(write_cases(tmp_path / "d", specks_cases))) <= NOTES


def test_clean_data_of_several_channels_and_regions_say_nothing_but_notes(tmp_path):
    folder = write_lumps(tmp_path / "d", LumpsSettings(images=30, size=96, seed=2))
    assert set(found(folder)) <= NOTES


def test_planted_faults_are_found_each_by_its_name(specks_cases, write_cases, tmp_path):
    own = positives(specks_cases)
    shifted = own[0].change(mask=Move((0, 9, -8)).apply(own[0].mask[None])[0])
    flipped = own[1].change(mask=own[1].mask[::-1])
    island, hole = own[2].mask.copy(), own[3].mask.copy()
    clear = ndimage.distance_transform_edt(island == 0)
    clear[[0, -1]] = clear[:, [0, -1]] = 0
    island[np.unravel_index(clear.argmax(), clear.shape)] = 255
    deep = ndimage.distance_transform_edt(hole)
    hole[np.unravel_index(deep.argmax(), deep.shape)] = 0
    frame = own[4].mask.copy()
    frame[:2] = 255
    changed = [
        shifted, flipped, own[2].change(mask=island), own[3].change(mask=hole),
        own[4].change(mask=frame),
    ]  # fmt: skip
    said = found(write_cases(tmp_path / "d", swap(specks_cases, changed)))
    assert {name: said[name].cases for name in set(said) - NOTES} == {
        "shifted-masks": (shifted.id,),
        "flipped-masks": (flipped.id,),
        "one-voxel-islands": (own[2].id,),
        "small-holes": (own[3].id,),
        "drawn-frames": (own[4].id,),
    }


def test_copies_are_judged_by_group_split_and_mask(specks_cases, write_cases, tmp_path):
    own = positives(specks_cases)
    empty = np.zeros_like(own[0].mask)
    copies = [
        own[0].change(id="same", group="elsewhere"),
        own[1].change(id="wrong", mask=empty),
        exposed_anew(own[2], "again", group="elsewhere"),
        exposed_anew(own[3], "redrawn", mask=empty),
    ]
    said = found(write_cases(tmp_path / "d", [*specks_cases, *copies]))
    assert set(said) - NOTES == {
        "identical-images",
        "contradicting-masks",
        "look-alikes-across-groups",
        "differing-masks",
    }
    assert said["identical-images"].cases == (own[0].id, "same")
    assert said["contradicting-masks"].cases == (own[1].id, "wrong")
    assert set(said["look-alikes-across-groups"].cases) == {own[2].id, "again"}
    assert set(said["differing-masks"].cases) == {own[3].id, "redrawn"}
    assert {name for name, finding in said.items() if finding.stops} == {
        "identical-images",
        "contradicting-masks",
    }


def split_and_leak(cases):
    """Declare a split, and put an exposed copy of a train case among the tests."""
    roles = [case.change(split="test" if k % 4 == 0 else "train") for k, case in enumerate(cases)]
    train = next(case for case in positives(roles) if case.split == "train")
    return train, [*roles, exposed_anew(train, "leak", group="other", split="test")]


def test_a_leak_stops_the_command_until_it_is_allowed(specks_cases, write_cases, tmp_path, call):
    train, cases = split_and_leak(specks_cases)
    data, out = write_cases(tmp_path / "d", cases), tmp_path / "out"
    stopped = call("audit", data, "--out", out, "--json")
    record = json.loads(stopped.out)
    assert stopped.code == 1
    assert record["must_be_fixed"] == 1
    assert record == {**json.loads((out / "audit.json").read_text()), "page": record["page"]}
    (pair,) = record["near_duplicates"]
    assert {pair["a"], pair["b"]} == {train.id, "leak"}
    assert set(pair["roles"]) == {"train", "test"}
    assert pair["crosses_groups"]
    assert pair["crosses_splits"]
    assert not pair["planned"]
    assert pair["similarity"] > 0.9
    allowed = call("audit", data, "--out", out, "--allow", "leak-across-splits")
    assert allowed.code == 0
    assert "leak-across-splits (allowed)" in allowed.out
    finding = json.loads((out / "audit.json").read_text())["findings"][0]
    assert (finding["name"], finding["allowed"]) == ("leak-across-splits", True)


def test_wrong_calls_are_refused_before_anything_is_read(specks_cases, write_cases, tmp_path, call):
    data, out = write_cases(tmp_path / "d", specks_cases[:2]), tmp_path / "out"
    unknown = call("audit", data, "--out", out, "--allow", "leak-across-split")
    assert unknown.code == 2
    assert "did you mean 'leak-across-splits'" in unknown.err
    assert call("audit", data, "--out", out, "--allow", "data-problems").code == 2
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "thesis.tex").write_text("x")
    assert call("audit", data, "--out", tmp_path / "kept").code == 2
    taken = data / "manifest.csv"
    before = taken.read_bytes()
    assert call("audit", data, "--out", out, "--write-manifest", taken).code == 2
    assert taken.read_bytes() == before
    assert not out.exists()
    assert call("audit", tmp_path / "nowhere", "--out", out).code == 1


def test_a_written_manifest_unites_what_looks_alike(specks_cases, write_cases, tmp_path, call):
    copy = exposed_anew(specks_cases[3], "again", group="other")
    data = write_cases(tmp_path / "d", [*specks_cases, copy])
    file = tmp_path / "new" / "grouped.csv"
    assert call("audit", data, "--out", tmp_path / "o", "--write-manifest", file).code == 0
    groups = {case.id: case.group for case in open_dataset(file).cases}
    assert groups["again"] == groups[specks_cases[3].id]
    assert len(set(groups.values())) == len(specks_cases)
    assert "look-alikes-across-groups" not in found(file)


def test_a_missing_mask_never_becomes_an_empty_one(specks_cases, write_cases, tmp_path, call):
    data = write_cases(tmp_path / "d", specks_cases)
    rows = (data / "manifest.csv").read_text().replace("3_mask.png", "", 1)
    (data / "manifest.csv").write_text(rows)
    file = tmp_path / "grouped.csv"
    done = call("audit", data, "--out", tmp_path / "o", "--write-manifest", file)
    assert done.code == 1
    assert "was not written" in done.out
    assert not file.exists()


def test_an_empty_data_set_and_one_without_foreground_are_findings(
    specks_cases, write_cases, tmp_path, call
):
    nothing = Dataset(tmp_path, "cases", (), problems=("No image; add some.",))
    said = audit_dataset(nothing)
    assert [finding.name for finding in said.stops] == ["data-problems"]
    (tmp_path / "e" / "images").mkdir(parents=True)
    empty = call("audit", tmp_path / "e", "--out", tmp_path / "oe")
    assert empty.code == 1
    assert (tmp_path / "oe" / "audit.html").is_file()
    blank = [case.change(mask=np.zeros_like(case.mask)) for case in specks_cases[:8]]
    said = found(write_cases(tmp_path / "b", blank))
    assert said["data-problems"].stops
    assert "no positive case" in said["data-problems"].text


def test_one_case_is_audited(specks_cases, write_cases, tmp_path):
    data = write_cases(tmp_path / "d", positives(specks_cases)[:1])
    assert set(found(data)) <= NOTES
    skipped = audit_dataset(open_dataset(data), jobs=1).skipped
    assert {"shifted-masks", "negatives-without-variety", "outlying-cases"} <= set(skipped)


def test_files_that_cannot_be_read_are_findings_and_the_rest_is_looked_at(
    specks_cases, write_cases, tmp_path
):
    own = positives(specks_cases)[-1]
    data = write_cases(tmp_path / "d", [*specks_cases, own.change(id="same", group="other")])
    (data / "0.png").write_bytes(b"no picture")
    PIL.Image.fromarray(np.zeros((5, 5), np.uint8)).save(data / "1_mask.png")
    said = found(data)
    assert len(said["data-problems"].details) == 2
    assert said["data-problems"].stops
    assert "identical-images" in said


def test_an_id_that_occurs_twice_is_a_problem_and_no_crash(specks_cases, write_cases, tmp_path):
    twice = [*specks_cases, specks_cases[0].change(image=specks_cases[1].image)]
    said = found(write_cases(tmp_path / "d", twice))
    assert "the id" in said["data-problems"].text


def scan(mask, height, seed):
    noise = 10 * np.random.default_rng(seed).normal(size=mask.shape)
    return (100 + noise + height * mask.astype(float)).astype(np.int16)


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    """14 thick-sliced volumes of two channels; one mask is mirrored, one volume comes twice."""
    rng = np.random.default_rng(6)
    root = tmp_path_factory.mktemp("volumes")
    for name in ("imagesTr", "labelsTr"):
        (root / name).mkdir()
    for number in range(14):
        field = ndimage.gaussian_filter(rng.normal(size=(8, 56, 48)), (1, 3, 3))
        mask = (field > np.quantile(field, 0.96)).astype(np.uint8)
        for name in (f"v{number:02d}", "copy") if number == 3 else (f"v{number:02d}",):
            drawn = mask[:, :, ::-1] if number == 9 else mask
            label = sitk.GetImageFromArray(np.ascontiguousarray(drawn))
            channels = [
                sitk.GetImageFromArray(scan(mask, height, 2 * number + (height > 0)))
                for height in (40, -40)
            ]
            for image, place in zip(
                (label, *channels),
                (f"labelsTr/{name}", f"imagesTr/{name}_0000", f"imagesTr/{name}_0001"),
                strict=True,
            ):
                image.SetSpacing((0.7, 0.7, 5.0))
                sitk.WriteImage(image, str(root / f"{place}.nii.gz"))
    declared = {"channel_names": {"0": "a", "1": "b"}, "labels": {"background": 0, "spot": 1}}
    (root / "dataset.json").write_text(json.dumps({**declared, "file_ending": ".nii.gz"}))
    return root


def test_thick_volumes_of_two_channels(volumes):
    said = found(volumes)
    assert said["flipped-masks"].cases == ("v09",)
    assert said["flipped-masks"].examples[0].move.flips == (2,)
    assert set(said["identical-images"].cases) == {"v03", "copy"}
    assert "shifted-masks" not in said


def test_the_record_tells_the_extent_of_the_data(specks_cases, write_cases, tmp_path):
    audit = audit_dataset(open_dataset(write_cases(tmp_path / "d", specks_cases)), jobs=1)
    record = audit.to_dict()
    assert (record["cases"], record["empty"]) == (40, 20)
    drawn = [case.mask > 0 for case in specks_cases]
    (region,) = record["regions"]
    sizes = np.concatenate(
        [ndimage.sum_labels(m, *_labelled(m)) if m.any() else np.zeros(0) for m in drawn]
    )
    assert region["voxels"] == sum(int(m.sum()) for m in drawn)
    assert region["objects"] == len(sizes)
    assert region["object_sizes"]["median"] == np.median(sizes)
    assert region["imbalance"] == pytest.approx((40 * 128**2 - sizes.sum()) / sizes.sum())


def _labelled(mask):
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    return labels, np.arange(1, count + 1)
