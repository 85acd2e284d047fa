"""`rareseg monitor`: from a folder of images to an answer, the state between calls, bad inputs."""

from __future__ import annotations

import csv
import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tifffile

from rareseg.data.builtin.specks import SpecksSettings, write_specks

HOLD = """
import sys, time
from pathlib import Path
from rareseg.data.folder_lock import sole_writer
with sole_writer(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(120)
"""


@pytest.fixture(scope="module")
def stream(tmp_path_factory) -> Path:
    """Images like those of the run, which it has not seen, in a plain folder."""
    like = SpecksSettings(
        images=40, size=64, contrast=8.0, foreground_share=0.06, distractors=1, seed=77
    )
    place = tmp_path_factory.mktemp("stream")
    write_specks(place / "data", like)
    shutil.copytree(place / "data" / "images", place / "images")
    return place / "images"


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> Path:
    """The first weeks of that stream."""
    like = SpecksSettings(
        images=60, size=64, contrast=8.0, foreground_share=0.06, distractors=1, seed=78
    )
    place = tmp_path_factory.mktemp("reference")
    write_specks(place / "data", like)
    shutil.copytree(place / "data" / "images", place / "images")
    return place / "images"


def altered(source: Path, target: Path, change) -> Path:
    """Write every image of a folder changed into another."""
    target.mkdir(parents=True)
    for path in sorted(source.iterdir()):
        image = np.asarray(PIL.Image.open(path)).astype(float)
        PIL.Image.fromarray(np.clip(change(image), 0, 255).astype(np.uint8)).save(
            target / path.name
        )
    return target


@pytest.fixture(scope="module")
def watched(finished, stream, reference, call, tmp_path_factory) -> Path:
    """A watch over the stream, held against its first weeks; tests that change it take a copy."""
    out = tmp_path_factory.mktemp("watched") / "watch"
    called = call("monitor", finished, stream, "--out", out, "--reference", reference)
    assert called.code == 0, called.err
    return out


@pytest.fixture
def watch(watched, tmp_path) -> Path:
    return Path(shutil.copytree(watched, tmp_path / "watch"))


def as_json(called) -> dict:
    return json.loads(called.out)


class TestAnUnchangedStream:
    def test_no_change_is_found_and_what_would_have_been_noticed_is_said(
        self, call, finished, stream, watch
    ):
        called = call("monitor", finished, stream, "--out", watch)
        assert called.code == 0
        assert "No change found (40 groups; a shift of one feature" in called.out
        assert "0 new images in this call (40 known from an earlier call" in called.out

    def test_the_record_has_changed_by_region_and_feature(self, call, finished, stream, watch):
        record = as_json(call("monitor", finished, stream, "--out", watch, "--json"))
        assert record["changed"] is False
        assert (record["groups"], record["reference_groups"]) == (40, 60)
        region = record["regions"]["foreground"]
        assert region["changed"] is False
        assert {"image score", "area", "objects", "flagged"} <= set(region["features"])
        assert record["images"]["features"]["sharpness"]["changed"] is False
        assert record["review_first"][0]["doubt"] >= record["review_first"][-1]["doubt"]

    def test_by_default_it_is_held_against_the_runs_own_held_out_cases(
        self, call, finished, stream, tmp_path
    ):
        record = as_json(call("monitor", finished, stream, "--out", tmp_path / "w", "--json"))
        with (finished / "split.csv").open(newline="") as file:
            roles = [row["role"] for row in csv.DictReader(file)]
        assert record["reference_groups"] == sum(role != "train" for role in roles)

    def test_a_bundle_alone_needs_a_reference(self, call, finished, stream, reference, tmp_path):
        shutil.copytree(finished / "bundle", tmp_path / "bundle")
        called = call("monitor", tmp_path / "bundle", stream, "--out", tmp_path / "w")
        assert called.code == 2
        assert "--reference DIR" in called.err
        held = ("--out", tmp_path / "w", "--reference", reference)
        assert call("monitor", tmp_path / "bundle", stream, *held).code == 0


class TestAChangedStream:
    @pytest.fixture
    def darker(self, stream, tmp_path) -> Path:
        return altered(stream, tmp_path / "darker", lambda image: image * 0.5)

    def test_darker_images_are_noticed_named_and_shown(self, call, finished, darker, watch):
        called = call("monitor", finished, darker, "--out", watch)
        assert called.code == 1
        assert "The stream differs from" in called.out
        assert "Whether this still holds is unknown" in called.out
        assert "rareseg monitor run IMAGES" in called.out
        assert "--label false-alarm-rate=0.05" in called.out
        page = (watch / "report.html").read_text(encoding="utf-8")
        assert "Look at these 10" in page

    def test_what_has_changed_is_remembered(self, call, finished, darker, stream, watch):
        first = as_json(call("monitor", finished, darker, "--out", watch, "--json"))
        assert first["images"]["features"]["mean"]["changed"]
        again = call("monitor", finished, stream, "--out", watch, "--json")
        assert again.code == 1
        assert as_json(again)["images"] == first["images"]

    def test_the_share_to_expect_is_not_estimable_then(self, call, finished, darker, watch):
        record = as_json(call("monitor", finished, darker, "--out", watch, "--json"))
        why = record["expected"]["foreground"]["prevalence"]["undefined"]
        assert why.startswith("more than the prevalence has changed")

    def test_an_image_unlike_all_is_named_with_its_nearest(self, call, finished, stream, watch):
        strange = watch.parent / "strange"
        strange.mkdir()
        noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
        PIL.Image.fromarray(noise).save(strange / "noise.png")
        called = call("monitor", finished, strange, "--out", watch, "--json")
        (unlike,) = [one for one in as_json(called)["unlike"] if "noise" in one["image"]]
        assert Path(unlike["nearest"]).is_file()


class TestTheStateBetweenCalls:
    def test_it_goes_on_and_the_first_groups_say_the_same(
        self, call, finished, stream, reference, watched, tmp_path
    ):
        names = sorted(path.name for path in stream.iterdir())
        for part, own in (("a", names[:15]), ("b", names[15:])):
            (tmp_path / part).mkdir()
            for name in own:
                shutil.copy(stream / name, tmp_path / part / name)
        out = tmp_path / "watch"
        held = ("--out", out, "--reference", reference, "--json")
        first = as_json(call("monitor", finished, tmp_path / "a", *held))
        second = as_json(call("monitor", finished, tmp_path / "b", *held[:2], "--json"))
        assert (first["groups"], second["groups"]) == (15, 40)
        with closing(sqlite3.connect(out / "state.db")) as base:
            assert base.execute("SELECT groups FROM calls").fetchall() == [(15,), (25,)]

    def test_images_of_the_reference_and_of_the_training_do_not_count(
        self, call, finished, specks, stream, reference, watch
    ):
        mixed = watch.parent / "mixed"
        mixed.mkdir()
        (known,) = sorted(reference.iterdir())[:1]
        shutil.copy(known, mixed / "renamed.png")
        with (finished / "split.csv").open(newline="") as file:
            learned = next(row["id"] for row in csv.DictReader(file) if row["role"] == "train")
        (source,) = [p for p in specks.rglob(f"{learned}.*") if p.parent.name == "images"]
        shutil.copy(source, mixed / "learned.png")
        shutil.copy(next(iter(sorted(stream.iterdir()))), mixed / "again.png")
        called = call("monitor", finished, mixed, "--out", watch)
        assert called.code == 0, called.err
        assert "1 of the reference, counted there alone" in called.out
        assert "1 learned by the model, not counted" in called.out
        assert "1 known from an earlier call" in called.out

    def test_the_images_of_the_run_alone_are_no_stream(self, call, finished, specks, tmp_path):
        called = call("monitor", finished, specks, "--out", tmp_path / "w")
        assert called.code == 2
        assert f"30 are images that {finished} was made from" in called.err

    def test_groups_are_read_from_ids(self, call, finished, stream, reference, tmp_path):
        out = ("--out", tmp_path / "w", "--reference", reference)
        grouped = ("--group-from", r"(\d)_0$")
        called = call("monitor", finished, stream, *out, *grouped)
        assert called.code == 2
        assert "and 40 are of groups of the reference" in called.err

    def test_two_at_once_are_refused(self, call, finished, stream, watch):
        with subprocess.Popen(
            [sys.executable, "-c", HOLD, str(watch)], stdout=subprocess.PIPE, encoding="utf-8"
        ) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "held\n"
            called = call("monitor", finished, stream, "--out", watch)
            other.kill()
        assert called.code == 2
        assert f"is written to by process {other.pid}" in called.err


class TestBadInput:
    """Each is one sentence and exit code 2: 1 is said of a change alone."""

    def refused(self, called, *words: str) -> None:
        assert called.code == 2
        assert called.err.count("Error:") == 1
        assert "Traceback" not in called.err
        for word in words:
            assert word in called.err

    def test_the_watch_of_another_model(self, call, telling, stream, watch):
        self.refused(call("monitor", telling, stream, "--out", watch), "watches with another model")

    def test_other_operating_points(self, call, finished, stream, watch, tmp_path):
        run = shutil.copytree(finished, tmp_path / "run")
        assert call("tune", run, "--threshold", "0.123").code == 0
        self.refused(call("monitor", run, stream, "--out", watch), "other operating points")

    def test_another_reference(self, call, finished, stream, watch):
        called = call("monitor", finished, stream, "--out", watch, "--reference", stream)
        self.refused(called, "holds the stream against")

    def test_a_folder_of_anything_else(self, call, finished, stream, tmp_path):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "thesis.txt").write_text("the only copy")
        self.refused(call("monitor", finished, stream, "--out", tmp_path / "out"), "holds 1 entr")

    def test_an_empty_stream(self, call, finished, watch, tmp_path):
        (tmp_path / "none").mkdir()
        self.refused(call("monitor", finished, tmp_path / "none", "--out", watch), "holds no image")

    def test_images_of_other_channels(self, call, finished, watch, tmp_path):
        (tmp_path / "four").mkdir()
        tifffile.imwrite(
            tmp_path / "four" / "a.tif",
            np.zeros((64, 64, 5), np.uint8),
            photometric="minisblack",
            planarconfig="contig",
        )
        called = call("monitor", finished, tmp_path / "four", "--out", watch)
        self.refused(called, "has 5 channels, but the model was trained on 1")

    def test_a_state_that_is_damaged(self, call, finished, stream, watch):
        (watch / "state.db").write_bytes(b"no database" * 1000)
        self.refused(
            call("monitor", finished, stream, "--out", watch), "cannot be opened as the state"
        )

    @pytest.mark.parametrize(
        ("asked", "said"),
        [
            ("false-alarms=0.05", "false-alarm-rate=0.05"),
            ("false-alarm-rate", "allowed are"),
            ("false-alarm-rate=few", "is no number"),
            ("false-alarm-rate=2", "cannot be guaranteed"),
        ],
    )
    def test_a_guarantee_that_is_none(self, call, finished, stream, watch, asked, said):
        called = call("monitor", finished, stream, "--out", watch, "--label", asked)
        self.refused(called, said)

    def test_one_bad_file_costs_itself(self, call, finished, stream, watch, tmp_path):
        mixed = tmp_path / "mixed"
        mixed.mkdir()
        image = np.asarray(PIL.Image.open(sorted(stream.iterdir())[0])).copy()
        image[0, 0] ^= 1
        PIL.Image.fromarray(image).save(mixed / "good.png")
        (mixed / "bad.png").write_bytes(b"\x89PNG but no more")
        called = call("monitor", finished, mixed, "--out", watch)
        assert called.code == 2
        assert "bad.png" in called.err
        assert "1 new image in this call (1 could not be observed)" in called.out


def test_the_networks_of_one_alone_cannot_be_compared(call, finished, stream, watch):
    called = call("monitor", finished, stream, "--out", watch, "--compare-members")
    assert called.code == 2
    assert "is no mean of several networks" in called.err


class TestLabels:
    LABEL = ("--label", "false-alarm-rate=0.3", "--prevalence", "0.4")

    def test_the_sum_is_said_and_groups_are_listed_once(self, call, finished, stream, watch):
        called = call("monitor", finished, stream, "--out", watch, *self.LABEL)
        assert called.code == 0, called.err
        assert "9 groups with negative images stand for a false alarm rate of 30 %" in called.out
        assert "at 40 % prevalence, as --prevalence says" in called.out
        folder = watch / "labels" / "false-alarm-rate-30pc"
        listed = (folder / "manifest.csv").read_text()
        assert listed.splitlines()[0] == "id,image,mask,group"
        again = call("monitor", finished, stream, "--out", watch, *self.LABEL)
        assert again.code == 0
        assert (folder / "manifest.csv").read_text() == listed

    def test_too_few_groups_are_refused_with_what_they_could_stand_for(
        self, call, finished, stream, watch
    ):
        called = call(
            "monitor", finished, stream, "--out", watch, "--label", "false-alarm-rate=0.05",
            "--prevalence", "0.4",
        )  # fmt: skip
        assert called.code == 2
        assert "watch on, or ask for no less than" in called.err

    def test_what_comes_back_certifies_and_an_unlabelled_pick_is_an_error(
        self, call, finished, stream, watch, tmp_path
    ):
        run = shutil.copytree(finished, tmp_path / "run")
        assert call("monitor", run, stream, "--out", watch, *self.LABEL).code == 0
        folder = watch / "labels" / "false-alarm-rate-30pc"
        with (folder / "manifest.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        truth = stream.parent / "data" / "masks"
        unlabelled = rows[0]["group"]
        for row in rows[1:]:
            mask = truth / f"{row['id']}.png"
            row["mask"] = str(mask) if mask.is_file() else "empty"
        with (folder / "manifest.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        bound = ("--max-false-alarm-rate", "0.9", "--confidence", "0.8")
        called = call("tune", run, *bound, "--certify-on", folder)
        assert "1 group without a label, each an error" in called.out
        assert called.code == 0, called.out
        decisions = json.loads((run / "bundle" / "decisions.json").read_text())
        (statement,) = decisions["regions"]["foreground"]["statements"]
        assert statement["is"] == "certificate"
        assert "1 groups without a label counted as errors" in statement["method"]
        assert statement["value"] >= 1 / statement["n_groups"]
        assert unlabelled not in {row["group"] for row in rows[1:]}

    def test_nothing_labelled_certifies_nothing(self, call, finished, stream, watch, tmp_path):
        run = shutil.copytree(finished, tmp_path / "run")
        assert call("monitor", run, stream, "--out", watch, *self.LABEL).code == 0
        folder = watch / "labels" / "false-alarm-rate-30pc"
        called = call("tune", run, "--max-false-alarm-rate", "0.5", "--certify-on", folder)
        assert called.code == 1
        assert "is labelled; write a mask, or the word empty" in called.err

    def test_another_image_in_the_place_of_a_pick_is_refused(
        self, call, finished, stream, watch, tmp_path
    ):
        own = shutil.copytree(stream, tmp_path / "own")
        run = shutil.copytree(finished, tmp_path / "run")
        out = ("--out", tmp_path / "w", "--reference", stream.parent / "data" / "images")
        other = altered(own, tmp_path / "other", lambda image: image + 1)
        assert call("monitor", run, other, *out, *self.LABEL).code in (0, 1)
        folder = tmp_path / "w" / "labels" / "false-alarm-rate-30pc"
        text = (folder / "manifest.csv").read_text().replace(",,", ",empty,")
        (folder / "manifest.csv").write_text(text)
        for path in other.iterdir():
            shutil.copy(own / path.name, path)
        called = call("tune", run, "--max-false-alarm-rate", "0.5", "--certify-on", folder)
        assert called.code == 1
        assert "is another image than the one that was drawn" in called.err
