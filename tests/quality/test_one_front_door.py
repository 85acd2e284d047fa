"""Inspection, training and audit name the same look-alikes, since one search finds them."""

import io
import json
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest

from rareseg.data.checks.fingerprint import Fingerprint
from rareseg.report.report_content import find_leakage
from rareseg.run.setup.split_files import read_split


def brightened(image):
    return np.uint8(np.clip(1.3 * image + 12.0, 0, 255))


def shifted(image):
    return np.ascontiguousarray(image[7:, 5:])


def encoded_again(image):
    buffer = io.BytesIO()
    PIL.Image.fromarray(image).save(buffer, "jpeg", quality=40)
    return np.asarray(PIL.Image.open(buffer))


CHANGES = {"brightened": brightened, "shifted": shifted, "encoded again": encoded_again}


def copy_of(case, name, **changes):
    change = CHANGES[name]
    return replace(case, id=name, image=change(case.image), mask=change_mask(case, name), **changes)


def change_mask(case, name):
    return shifted(case.mask) if name == "shifted" else case.mask


@pytest.fixture(scope="module")
def with_copies(specks_cases, write_cases, tmp_path_factory):
    """Plates of one kind, a copy of three in other groups and roles, one in its own group."""
    roles = ("train", "train", "validation", "test")
    cases = [case.change(split=roles[k % 4], group=f"g{k}") for k, case in enumerate(specks_cases)]
    train = [case for case in cases if case.split == "train"]
    copies = [
        copy_of(case, name, group=f"other {name}", split="test")
        for case, name in zip(train, CHANGES, strict=False)
    ]
    grouped = replace(copy_of(train[5], "brightened"), id="of its group")
    folder = write_cases(tmp_path_factory.mktemp("with copies") / "d", [*cases, *copies, grouped])
    across = {frozenset((case.id, name)) for case, name in zip(train, CHANGES, strict=False)}
    return folder, across, frozenset((train[5].id, "of its group"))


def test_inspect_train_and_audit_name_the_same_pairs(with_copies, call, settings, tmp_path):
    folder, across, within = with_copies
    inspected = json.loads(call("inspect", folder, "--json").out)
    said = {frozenset((pair["a"], pair["b"])) for pair in inspected["near_duplicates"]}
    assert said == across
    assert any("3 pairs of images look almost alike" in text for text in inspected["warnings"])

    audited = json.loads(call("audit", folder, "--out", tmp_path / "audit", "--json").out)
    similar_pairs = {frozenset((pair["a"], pair["b"])): pair for pair in audited["near_duplicates"]}
    assert set(similar_pairs) == across | {within}
    assert {pair for pair, similar in similar_pairs.items() if similar["crosses_groups"]} == across
    assert {pair for pair, similar in similar_pairs.items() if similar["crosses_splits"]} == across
    (leak,) = [f for f in audited["findings"] if f["name"] == "leak-across-splits"]
    assert leak["text"].startswith("3 pairs of look-alikes")
    for pair in inspected["near_duplicates"]:
        similar = similar_pairs[frozenset((pair["a"], pair["b"]))]
        assert {key: similar[key] for key in pair} == pair

    run = tmp_path / "run"
    trained = call("train", folder, "--out", run, *settings())
    assert trained.code == 0, trained.err
    fingerprint = Fingerprint.from_json(run / "fingerprint.json")
    assert {frozenset((p.a, p.b)) for p in fingerprint.copies_across_groups} == across
    assert find_leakage(fingerprint, read_split(run / "split.csv")).near_duplicates == 3
    sentence = "The split may leak: 3 pairs of near-duplicates across roles"
    assert sentence in (run / "report.html").read_text(encoding="utf-8")
