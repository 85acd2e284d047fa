"""A small run in folds on spoiled labels: what was planted is found, and found again at once."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from rareseg.data.builtin.label_faults import FaultSettings, plant_faults
from rareseg.data.builtin.specks import SpecksSettings, write_specks
from rareseg.data.store.case_labels import read_labels
from rareseg.errors import DataError, ReadError, RunError
from rareseg.prediction.bundle import load_decisions, load_model
from rareseg.prediction.scorer import ModelScorer
from rareseg.quality.suspects import collect_evidence, load_suspects
from rareseg.run.setup.own_data import cases_of
from rareseg.run.setup.run_folder import open_run
from rareseg.run.setup.split_files import read_folds, read_split
from rareseg.run.suspects import ENSEMBLE, find_suspects
from rareseg_runner.formats import read_image

FAULTS = FaultSettings(missed=0.12, spurious=0.2, shifted=0.12, shift=(0.5, 0.6), seed=3)


PLATES = SpecksSettings(
    images=30, size=64, contrast=8.0, foreground_share=0.06, distractors=0.4, seed=1
)
"""As those that other tests share, with fewer things beside specks, each of which looks missed."""


@pytest.fixture(scope="module")
def planted(call, settings, tmp_path_factory):
    """A run of two folds on specks with faults, and the faults."""
    folder = tmp_path_factory.mktemp("spoiled")
    faults = plant_faults(write_specks(folder / "clean", PLATES), folder / "data", FAULTS)
    called = call(
        "train",
        folder / "data",
        "--out",
        folder / "run",
        "--folds",
        "2",
        *settings(training__steps=200, split__train=0.6, split__validation=0.2, split__test=0.2),
    )
    assert called.code == 0, called.err
    return folder / "run", faults


@pytest.fixture(scope="module")
def found(planted):
    return find_suspects(planted[0])


def hits(suspect, fault):
    """Whether half of the smaller box lies in the other."""
    if suspect.case_id != fault.case_id:
        return False
    common = own = theirs = 1
    for (low, high), (start, end) in zip(suspect.box, fault.box, strict=True):
        common *= max(0, min(high, end) - max(low, start))
        own, theirs = own * (high - low), theirs * (end - start)
    return 2 * common >= min(own, theirs)


def test_what_was_planted_ranks_high(planted, found):
    """Of the first suspects many times more are faults than of components drawn by lot."""
    run, faults = planted
    assert len(faults) >= 20
    first = found.suspects[: len(faults)]
    right = np.mean([any(hits(s, fault) for fault in faults) for s in first])
    lines = [
        json.loads(line)
        for line in (run / "scores" / "component_evidence.jsonl")
        .read_text(encoding="utf-8")
        .splitlines()[1:]
    ]
    components = [s for line in lines for s in line["evidence"]]
    by_chance = len(faults) / len(components)
    assert by_chance < 0.3
    assert right > 0.6
    for kind in ("missed object", "spurious label", "wrong boundary"):
        own = [s for s in found.suspects if s.kind == kind]
        wanted = [fault for fault in faults if fault.kind == kind]
        first = own[: len(wanted)]
        assert np.mean([any(hits(s, fault) for fault in wanted) for s in first]) > 0.4, kind


def test_everything_found_is_written_and_ordered(planted, found):
    run, _ = planted
    assert found.file == run / "suspects.json"
    assert load_suspects(found.file) == found.suspects
    scores = [suspect.score for suspect in found.suspects]
    assert scores == sorted(scores, reverse=True)
    assert all(0.0 < score <= 1.0 for score in scores)
    assert len({suspect.id for suspect in found.suspects}) == len(found.suspects)


def test_each_case_is_seen_by_the_network_that_had_not_learned_from_it(planted, found):
    run, _ = planted
    folder = open_run(run)
    model, points = load_model(folder.bundle), load_decisions(folder.bundle).points
    folds, roles = (
        read_folds(folder.folds),
        read_split(folder.split),
    )
    kept = run / "scores" / "component_evidence.jsonl"
    lines = kept.read_text(encoding="utf-8").splitlines()[1:]
    told = {line["case"]: line["evidence"] for line in map(json.loads, lines)}
    assert set(told) == set(roles)
    for case in [*cases_of(folder, "train")[::5], *cases_of(folder, "test")[::3]]:
        scorer = f"fold {folds[case.id] + 1}" if case.id in folds else ENSEMBLE
        images = ModelScorer(model.mean_of([folds[case.id]]) if case.id in folds else model)
        image = read_image(case.images)
        alone = collect_evidence(
            images.probabilities(image),
            read_labels(case, model.classes, image),
            model.classes,
            points,
            case_id=case.id,
            scorer=scorer,
            group=case.group,
        )
        assert [s["score"] for s in told[case.id]] == [s.score for s in alone]
        assert {s["scorer"] for s in told[case.id]} <= {scorer}
    held_out = [s for s in found.suspects if roles[s.case_id] == "test"]
    assert held_out
    assert all("held-out case" in s.reason for s in held_out)
    assert not any("held-out" in s.reason for s in found.suspects if s.case_id in folds)
    assert "had not seen it, and" in found.scope


def test_a_killed_search_goes_on_where_it_stopped(planted, found, monkeypatch):
    run, _ = planted
    kept = run / "scores" / "component_evidence.jsonl"
    whole = kept.read_bytes()
    lines = whole.splitlines(keepends=True)
    kept.write_bytes(b"".join(lines[:9]) + lines[9][:40])
    asked = []
    score = ModelScorer.score
    monkeypatch.setattr(
        ModelScorer, "score", lambda self, image: asked.append(1) or score(self, image)
    )
    again = find_suspects(run)
    assert again.suspects == found.suspects
    assert len(asked) == len(lines) - 9
    assert sorted(kept.read_bytes().splitlines()) == sorted(whole.splitlines())
    find_suspects(run)
    assert len(asked) == len(lines) - 9
    # Sightings of another model are not taken for those of this one.
    kept.write_bytes(b'{"key": "another"}\n' + b"".join(lines[1:]))
    find_suspects(run)
    assert len(asked) == 2 * len(lines) - 10


def test_what_mining_set_aside_is_noted(planted, found, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(planted[0], run)
    suspect = next(s for s in found.suspects if s.kind == "spurious label")
    other = next(s for s in found.suspects if s.case_id != suspect.case_id)
    note = {
        "case": suspect.case_id,
        "box": suspect.box,
        "true": "foreground",
        "predicted": "background",
        "rounds": 3,
        "voxels": suspect.voxels,
    }
    record = {"rounds": [], "suspects": [note]}
    (run / "training" / "fold_0" / "mining.json").write_text(json.dumps(record), encoding="utf-8")
    (run / "scores" / "component_evidence.jsonl").unlink()
    again = {s.id: s for s in find_suspects(run).suspects}
    assert again[suspect.id] == replace(suspect, aside=True)
    assert again[other.id] == other


def test_what_annotators_drew_is_told(planted, found, tmp_path):
    run, data = tmp_path / "run", tmp_path / "data"
    shutil.copytree(planted[0], run)
    shutil.copytree(planted[0].parent / "data", data)
    with (data / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = [
            {**row, "mask_ann": row["mask"], "mask_bob": "empty"} for row in csv.DictReader(file)
        ]
    with (data / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    about = json.loads((run / "run.json").read_text(encoding="utf-8"))
    (run / "run.json").write_text(json.dumps({**about, "path": str(data)}), encoding="utf-8")
    again = find_suspects(run).suspects
    assert [(s.id, s.score) for s in again] == [(s.id, s.score) for s in found.suspects]
    for suspect in again:
        drawn = "0 of 2" if suspect.kind == "missed object" else "1 of 2"
        assert f"{drawn} annotators drew it" in suspect.reason
    text = (data / "manifest.csv").read_text(encoding="utf-8")
    (data / "masks" / "bob.png").write_bytes(b"no picture")
    (data / "manifest.csv").write_text(text.replace("empty", "masks/bob.png", 1), encoding="utf-8")
    with pytest.raises(ReadError, match=r"bob\.png"):
        find_suspects(run)
    assert load_suspects(run / "suspects.json") == again


def test_the_command_says_what_was_found(planted, found, call):
    run, _ = planted
    called = call("suspects", run, "--most", "2")
    assert called.code == 0, called.err
    assert found.scope in called.out
    for title in ("Likely missed objects", "Likely spurious labels", "Likely wrong boundaries"):
        assert title in called.out
    first = next(s for s in found.suspects if s.kind == "missed object")
    assert first.reason in called.out
    assert "suspects.json" in called.out
    record = json.loads(call("suspects", run, "--json").out)
    assert [s["id"] for s in record["suspects"]] == [s.id for s in found.suspects]


def test_without_folds_only_what_was_not_learnt_from_is_looked_at(finished, call, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    roles = read_split(run / "split.csv")
    unlearnt = {case for case, role in roles.items() if role != "train"}
    called = call("suspects", run)
    assert called.code == 0, called.err
    assert f"Of {len(roles)} cases only the {len(unlearnt)}" in called.out
    kept = run / "scores" / "component_evidence.jsonl"
    lines = kept.read_text(encoding="utf-8").splitlines()[1:]
    assert {json.loads(line)["case"] for line in lines} == unlearnt
    assert {s.case_id for s in load_suspects(run / "suspects.json")} <= unlearnt


def test_data_that_are_not_what_they_were_are_refused(finished, call, tmp_path):
    """Masks that were moved away are not read as empty ones, nor those that were drawn anew."""
    run, data = tmp_path / "run", tmp_path / "data"
    shutil.copytree(finished, run)
    about = json.loads((run / "run.json").read_text(encoding="utf-8"))
    shutil.copytree(about["path"], data)
    (run / "run.json").write_text(json.dumps({**about, "path": str(data)}), encoding="utf-8")
    kept = (run / "suspects.json").read_bytes() if (run / "suspects.json").exists() else None
    (data / "masks").rename(tmp_path / "masks")
    refused = call("suspects", run)
    assert refused.code == 1
    assert "changed since it was begun: the mask of" in refused.err.replace("\n", " ")
    (tmp_path / "masks").rename(data / "masks")
    name = next(iter(read_split(run / "split.csv")))
    (data / "images" / f"{name}.png").write_bytes((data / "masks" / f"{name}.png").read_bytes())
    with pytest.raises(DataError, match=f"changed since it was begun: the image of {name}"):
        find_suspects(run)
    shutil.rmtree(data)
    with pytest.raises(DataError, match="is gone; put it back"):
        find_suspects(run)
    now = (run / "suspects.json").read_bytes() if (run / "suspects.json").exists() else None
    assert now == kept


def test_runs_that_cannot_be_looked_at_are_refused(planted, finished, call, tmp_path):
    called = call("suspects", tmp_path)
    assert called.code == 1
    assert "is no run" in called.err
    run = tmp_path / "all"
    shutil.copytree(finished, run)
    with (run / "split.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with (run / "split.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "role": "train"} for row in rows)
    (run / "data_identity.json").unlink()  # as runs of earlier versions, which did not note a split
    with pytest.raises(RunError, match="nothing was learnt from; train with --folds"):
        find_suspects(run)
    assert not (run / "suspects.json").exists()
