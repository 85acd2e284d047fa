"""Copy and paste: what is pasted, where it lies, and what is left as it was."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from rareseg.data.store.array_store import store_from_arrays
from rareseg.data.store.store import Store
from rareseg.errors import UsageError
from rareseg.recipe import AugmentationSection
from rareseg.sampling.pasting.donor import FEATHER
from rareseg.sampling.pasting.paster import TRIES, PastePlan, Paster
from rareseg.sampling.patches.composition import Composition, PasteCount
from rareseg.sampling.patches.places import locate
from rareseg.sampling.sampler import PatchSampler
from rareseg_runner.image_records import IGNORE, Classes
from rareseg_runner.preprocessing.preprocess import Preprocessing

PATCH, WINDOW = (24, 26), (32, 34)
OBJECT = 5000
"""Values in objects begin here; those of background are all below 200."""

CLASSES = Classes(
    names=("background", "spot", "line"),
    values=(0, 1, 2),
    regions={"spot": (1,), "line": (2,)},
    ignore_value=IGNORE,
)


def drawn(shape, *parts) -> np.ndarray:
    """Labels (1, y, x) with boxes ``(class, y, y end, x, x end)``."""
    label = np.zeros((1, *shape), np.uint8)
    for value, y, y_end, x, x_end in parts:
        label[0, y:y_end, x:x_end] = value
    return label


LABELS = {
    # Two classes in one object, which no mirror and no turn gives back, and another one beside it.
    "inside": drawn((40, 50), (1, 12, 18, 20, 24), (2, 18, 20, 20, 31), (1, 21, 22, 20, 22)),
    "edge": drawn((36, 44), (1, 10, 14, 0, 7), (2, 14, 16, 0, 3)),
    "thin": drawn((36, 44), (1, 10, 14, 0, 3)),
    "across": drawn((30, 30), (2, 12, 15, 0, 30), (2, 15, 18, 20, 23)),
    "ignored": drawn((40, 40), (1, 15, 20, 15, 20), (IGNORE, 20, 22, 20, 22)),
    "empty": drawn((60, 70)),
    "small": drawn((28, 30)),
    "narrow": drawn((60, 26)),
    "masked": drawn((50, 50), (IGNORE, 0, 50, 10, 15)),
}


def values_of(labels: dict[str, np.ndarray], channels: int = 2) -> dict[str, np.ndarray]:
    """Noise, and in objects noise from OBJECT on, so that no two voxels of one are alike."""
    rng = np.random.default_rng(3)
    values = {}
    for name, label in labels.items():
        noise = rng.integers(0, 200, (channels, *label.shape))
        inside = OBJECT + rng.permutation(channels * label.size).reshape(noise.shape)
        values[name] = np.where((label > 0) & (label < IGNORE), inside, noise).astype(np.int16)
    return values


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return store_from_arrays(
        tmp_path_factory.mktemp("paste") / "store",
        values_of(LABELS),
        LABELS,
        classes=CLASSES,
        preprocessing=Preprocessing(dimension=2, method="none"),
    )


def sampler_of(store, *, border="reflect", batch_size=8, window=WINDOW, patch=PATCH, **settings):
    return PatchSampler(
        store,
        strategy="random",
        patch_size=patch,
        cut_size=window,
        batch_size=batch_size,
        seed=0,
        border=border,
        weighting="case",
        **settings,
    )


def paster_beside(sampler, **settings) -> Paster:
    return Paster.beside(sampler, AugmentationSection(**{"paste": 1.0, **settings}))


def place(store: Store, case: str, *voxel: int) -> int:
    row = store.row(case)
    return int(store.cases.label_offset[row] + np.ravel_multi_index(voxel, store.label(row).shape))


def planned(
    paster: Paster, windows: int, donor: int, *, mirror=(False, False), quarters=0, texture=-1
) -> PastePlan:
    """A plan that pastes one donor, moved in one way, into every window."""
    return replace(
        paster.plan(windows, seed=1),
        donor=np.full(windows, donor),
        texture=np.full(windows, texture),
        mirror=np.tile(np.array(mirror), (windows, 1)),
        quarters=np.full(windows, quarters),
    )


def object_of(store: Store, case: str, voxel) -> tuple[np.ndarray, np.ndarray]:
    """An object in its box: class indices (y, x) and values (C, y, x), cut out by scipy."""
    row = store.row(case)
    label = store.label(row)[0]
    parts, _ = ndimage.label((label > 0) & (label < IGNORE), np.ones((3, 3)))
    own = parts == parts[tuple(voxel)]
    (box,) = ndimage.find_objects(own.astype(int))
    return np.where(own, label, 0)[box], store.values(row)[:, 0][:, *box]


def moved(array: np.ndarray, mirror, quarters: int) -> np.ndarray:
    """The array with its last two axes mirrored, then turned: by hand, with indices alone."""
    for axis, flip in zip((-2, -1), mirror, strict=True):
        if flip:
            array = array.take(np.arange(array.shape[axis])[::-1], axis)
    for _ in range(quarters):
        array = array.swapaxes(-2, -1)[..., ::-1, :]
    return array


MOVES = list(itertools.product([(False, False), (True, False), (False, True)], range(4)))


class TestWhatIsPasted:
    @pytest.mark.parametrize(("mirror", "quarters"), MOVES)
    def test_every_voxel_of_the_object_with_its_class(self, store, mirror, quarters):
        sampler = sampler_of(store.subset(["inside", "empty"]), batch_size=16)
        paster = paster_beside(sampler, paste_texture=0)
        batch = sampler.batch(0)
        donor = place(sampler.store, "inside", 0, 19, 30)
        done = paster.apply(batch, planned(paster, 16, donor, mirror=mirror, quarters=quarters))
        classes, values = (
            moved(array, mirror, quarters) for array in object_of(store, "inside", (19, 30))
        )
        assert set(np.unique(classes)) == {0, 1, 2}
        got = [n for n, outcome in enumerate(done.outcomes) if outcome == "object"]
        assert got
        for n in got:
            (box,) = ndimage.find_objects((done.labels[n] % IGNORE > 0).numpy().astype(int))
            np.testing.assert_array_equal(done.labels[n][box], classes)
            inside = classes > 0
            shift = (done.images[n].numpy()[:, *box] - values)[:, inside]
            np.testing.assert_allclose(shift, shift[:, :1].repeat(inside.sum(), 1), atol=1e-2)

    def test_the_shift_brings_the_rim_to_the_level_of_the_target(self, tmp_path):
        """On a plain of 2 an object of 7 is 5 brighter, and so it is on a plain of 10.

        Two voxels away from it half of what differs there comes along.
        """
        labels = {"a": drawn((40, 40), (1, 15, 20, 15, 22)), "b": drawn((40, 40))}
        images = {"a": np.where(labels["a"] == 1, 7, 2)[None], "b": np.full((1, 1, 40, 40), 10)}
        images["a"][0, 0, 17, [13, 23]] = 6, -2
        store = store_from_arrays(
            tmp_path / "store",
            {name: image.astype(np.int16) for name, image in images.items()},
            labels,
            preprocessing=Preprocessing(dimension=2, method="none"),
        )
        sampler = sampler_of(store.subset(["b"]), border="shift")
        paster = Paster(
            replace(sampler.cutter, store=store), AugmentationSection(paste=1, paste_texture=0)
        )
        batch = sampler.batch(0)
        # Rows of the tables differ, so the windows are told where they lie in the whole store.
        places = replace(batch.places, case=np.full(8, store.row("b"), np.int32))
        plan = replace(paster.plan(8, seed=0), tries=np.full((8, TRIES, 2), 0.5))
        done = paster.apply(replace(batch, places=places), plan)
        assert done.count == PasteCount(objects=8)
        pasted = done.labels == 1
        assert pasted.sum() == 8 * 35
        known = done.labels != IGNORE
        assert (done.images[:, 0][pasted] - 15).abs().max() < 1e-4
        for image, around in zip(done.images[:, 0], known & ~pasted, strict=True):
            values, counts = image[around].round(decimals=3).unique(return_counts=True)
            assert values.tolist() == [8, 10, 12]
            assert counts[[0, 2]].tolist() == [1, 1]

    def test_it_fades_out_over_a_few_voxels(self, store):
        sampler = sampler_of(store.subset(["inside", "empty"]), border="background")
        paster = paster_beside(sampler, paste_texture=0)
        batch = sampler.batch(0)
        done = paster.apply(batch, planned(paster, 8, place(sampler.store, "inside", 0, 12, 20)))
        n = done.outcomes.index("object")
        changed = (done.images[n] != batch.images[n]).any(0).numpy()
        object_ = (done.labels[n] % IGNORE > 0).numpy()
        distance = ndimage.distance_transform_edt(~object_)
        assert changed[object_].all()
        assert not changed[distance > FEATHER + 1].any()
        assert changed[(distance > 0) & (distance < FEATHER)].mean() > 0.9
        # The other object of its case lies in the rim, and no voxel of it comes along.
        assert float(done.images[n][:, ~torch.from_numpy(object_)].max()) < OBJECT / 10

    def test_the_batch_itself_is_not_changed(self, store):
        sampler = sampler_of(store)
        batch = sampler.batch(0)
        before = batch.images.clone(), batch.class_indices.clone()
        assert paster_beside(sampler)(batch, seed=0).count.objects
        assert torch.equal(batch.images, before[0])
        assert torch.equal(batch.class_indices, before[1])

    def test_an_object_that_touches_ignored_voxels_is_no_donor(self, store):
        sampler = sampler_of(store.subset(["ignored", "empty"]))
        batch = sampler.batch(0)
        done = paster_beside(sampler)(batch, seed=0)
        assert set(done.outcomes) == {"", "touches ignored"}
        assert done.count.failed == done.outcomes.count("touches ignored") > 0
        assert torch.equal(done.labels, batch.class_indices)
        assert torch.equal(done.images, batch.images)


class TestWhereItLies:
    @pytest.mark.parametrize("texture", [0.0, 1.0])
    @pytest.mark.parametrize("into", ["empty", "any"])
    def test_only_background_is_ever_changed(self, store, into, texture):
        sampler = sampler_of(store, border="background")
        paster = paster_beside(sampler, paste_into=into, paste_texture=texture)
        count = PasteCount()
        for k in range(30):
            batch = sampler.batch(k)
            done = paster(batch, seed=k)
            count += done.count
            was = batch.class_indices
            assert (was[done.labels != was] == 0).all()
            assert (was[(done.images != batch.images).any(1)] == 0).all()
        assert (count.textures if texture else count.objects) > 40

    def test_windows_with_foreground_are_left_alone_unless_any_is_asked_for(self, store):
        sampler = sampler_of(store)
        batches = [sampler.batch(k) for k in range(20)]
        holds = [(b.class_indices % IGNORE > 0).flatten(1).any(1).numpy() for b in batches]
        for into, expected in (("empty", False), ("any", True)):
            paster = paster_beside(sampler, paste_into=into)
            tried = [
                np.array(paster(batch, seed=k).outcomes) != "" for k, batch in enumerate(batches)
            ]
            assert (np.concatenate(tried) & np.concatenate(holds)).any() == expected
            assert np.concatenate(tried)[~np.concatenate(holds)].all()

    def test_a_whole_object_has_its_middle_in_the_patch(self, store):
        sampler = sampler_of(store.subset(["inside", "empty"]), batch_size=32)
        paster = paster_beside(sampler, paste_texture=0)
        seen = np.zeros(WINDOW, bool)
        for k in range(20):
            batch = sampler.batch(k)
            plan = planned(paster, 32, place(sampler.store, "inside", 0, 12, 20))
            done = paster.apply(batch, replace(plan, tries=paster.plan(32, seed=k).tries))
            for n, outcome in enumerate(done.outcomes):
                if outcome == "object":
                    (box,) = ndimage.find_objects((done.labels[n] % IGNORE > 0).numpy().astype(int))
                    seen[tuple((side.start + side.stop) // 2 for side in box)] = True
        ys, xs = np.nonzero(seen)
        assert (ys.min(), ys.max() + 1) == (4, 28)
        assert (xs.min(), xs.max() + 1) == (5, 29)  # 11 wide: whole within the window's 34

    @pytest.mark.parametrize(("mirror", "quarters"), MOVES)
    def test_what_is_cut_off_lies_against_the_same_side(self, store, mirror, quarters):
        sampler = sampler_of(store.subset(["edge", "empty", "small"]), batch_size=64)
        paster = paster_beside(sampler, paste_texture=0)
        batch = sampler.batch(0)
        donor = place(sampler.store, "edge", 0, 12, 3)
        done = paster.apply(batch, planned(paster, 64, donor, mirror=mirror, quarters=quarters))
        marked = np.zeros((5, 5), bool)
        marked[:, 0] = True  # where the image ends on the left
        marked = moved(marked, mirror, quarters)
        sides = {
            "top": marked[0].all(),
            "bottom": marked[-1].all(),
            "left": marked[:, 0].all(),
            "right": marked[:, -1].all(),
        }
        (side,) = (name for name, found in sides.items() if found)
        got = [n for n, outcome in enumerate(done.outcomes) if outcome == "object"]
        assert got
        for n in got:
            label = done.labels[n].numpy()
            (image,) = ndimage.find_objects((label != IGNORE).astype(int))
            (box,) = ndimage.find_objects((label % IGNORE > 0).astype(int))
            ends = {
                "top": box[0].start == image[0].start,
                "bottom": box[0].stop == image[0].stop,
                "left": box[1].start == image[1].start,
                "right": box[1].stop == image[1].stop,
            }
            assert ends[side], side
            patch = [slice((w - p) // 2, (w + p) // 2) for w, p in zip(WINDOW, PATCH, strict=True)]
            assert (label[tuple(patch)] % IGNORE > 0).any()

    def test_against_a_side_outside_the_patch_nothing_is_pasted(self, store):
        """3 wide, it would lie in the margin of 4 that is cropped away."""
        sampler = sampler_of(store.subset(["thin", "empty"]), batch_size=64)
        paster = paster_beside(sampler, paste_texture=0)
        batch = sampler.batch(0)
        done = paster.apply(batch, planned(paster, 64, place(sampler.store, "thin", 0, 12, 1)))
        empty = batch.places.case == sampler.store.row("empty")
        reaches = batch.places.corner[:, 2] < 3  # the patch, past the image's left end
        expected = np.where(empty, np.where(reaches, "object", "no room"), "")
        held = np.array(done.outcomes)
        assert (held[empty] == expected[empty]).all()
        assert set(held[empty]) == {"object", "no room"}

    def test_what_goes_through_the_image_goes_through_the_other_one(self, store):
        """30 wide it hangs over where less of the image is seen, and is too short for more."""
        sampler = sampler_of(store.subset(["across", "narrow", "empty"]), batch_size=64)
        paster = paster_beside(sampler, paste_texture=0)
        batch = sampler.batch(0)
        done = paster.apply(batch, planned(paster, 64, place(sampler.store, "across", 0, 13, 3)))
        met = set()
        for label, outcome in zip(done.labels.numpy(), done.outcomes, strict=True):
            if outcome:
                columns = (label != IGNORE).any(0)
                met.add((outcome, bool(columns.sum() <= 30)))
                if outcome == "object":
                    assert (label[:, columns] == 2).any(0).all()
        assert met == {("object", True), ("no room", False)}

    @pytest.mark.parametrize("border", ["reflect", "shift"])
    def test_the_reflection_shows_what_was_pasted(self, store, border):
        sampler = sampler_of(store.subset(["edge", "small"]), border=border, batch_size=32)
        batch = sampler.batch(0)
        done = paster_beside(sampler)(batch, seed=0)
        assert done.count.objects > 3
        margin = np.subtract(WINDOW, PATCH) // 2
        checked = 0
        for n, image in enumerate(done.images.numpy()):
            shape = sampler.store.cases.shape[batch.places.case[n], 1:]
            corner = batch.places.corner[n, 1:] - margin
            # Where in the window lies what each of its rows and columns shows.
            shown = [
                np.pad(np.arange(side), 99, mode="reflect")[np.arange(size) + first + 99] - first
                for side, first, size in zip(shape, corner, WINDOW, strict=True)
            ]
            inside = np.logical_and.outer(
                *[(own >= 0) & (own < size) for own, size in zip(shown, WINDOW, strict=True)]
            )
            ys, xs = (index[inside] for index in np.meshgrid(*shown, indexing="ij"))
            np.testing.assert_array_equal(image[:, inside], image[:, ys, xs])
            before = batch.images[n].numpy()
            np.testing.assert_array_equal(image[:, ~inside], before[:, ~inside])
            checked += (~inside).any() and done.outcomes[n] == "object"
        assert checked or border == "shift"

    def test_where_there_is_no_room_nothing_changes_and_it_is_counted(self, tmp_path):
        labels = {"a": drawn((30, 30), (1, 5, 25, 5, 25)), "b": drawn((30, 30))}
        labels["b"][0, ::6] = IGNORE
        store = store_from_arrays(
            tmp_path / "store", values_of(labels), labels, classes=CLASSES
        ).subset(["a", "b"])
        sampler = sampler_of(store)
        batch = sampler.batch(0)
        done = paster_beside(sampler, paste_texture=0.5)(batch, seed=0)
        assert set(done.outcomes) == {"", "no room"}
        assert done.count == PasteCount(failed=done.outcomes.count("no room"))
        assert torch.equal(done.images, batch.images)
        assert torch.equal(done.labels, batch.class_indices)


class TestTextures:
    def test_they_change_values_and_no_label(self, store):
        sampler = sampler_of(store, border="background")
        paster = paster_beside(sampler, paste_texture=1)
        pasted = 0
        for k in range(20):
            batch = sampler.batch(k)
            done = paster(batch, seed=k)
            assert torch.equal(done.labels, batch.class_indices)
            assert not done.count.objects
            for n, outcome in enumerate(done.outcomes):
                changed = not torch.equal(done.images[n], batch.images[n])
                assert changed == (outcome == "texture")
                pasted += changed
            # None of the values that objects have.
            new = done.images[done.images != batch.images]
            assert new.numel() == 0 or float(new.max()) < OBJECT / 2
        assert pasted > 20

    def test_they_have_the_shape_of_an_object(self, store):
        sampler = sampler_of(store.subset(["inside", "empty"]), border="background")
        paster = paster_beside(sampler)
        batch = sampler.batch(0)
        donor = place(sampler.store, "inside", 0, 12, 20)
        texture = place(sampler.store, "empty", 0, 30, 30)
        with_object = paster.apply(batch, planned(paster, 8, donor))
        with_texture = paster.apply(batch, planned(paster, 8, donor, texture=texture))
        assert set(with_texture.outcomes) == {"", "texture"}
        for n, outcome in enumerate(with_texture.outcomes):
            if outcome:
                object_ = (with_object.images[n] != batch.images[n]).any(0)
                shape = (with_texture.images[n] != batch.images[n]).any(0)
                # Noise may agree by chance in a voxel here and there.
                assert (object_ != shape).float().mean() < 0.01 < shape.float().mean()

    def test_their_share_is_that_asked_for(self, store):
        paster = paster_beside(sampler_of(store), paste_texture=0.3)
        plan = paster.plan(4000, seed=0)
        assert (plan.texture >= 0).mean() == pytest.approx(0.3, abs=0.03)


class TestDrawing:
    def test_the_same_seed_pastes_the_same_and_another_one_does_not(self, store):
        sampler = sampler_of(store)
        batch = sampler.batch(0)
        first, again, other = (paster_beside(sampler)(batch, seed=seed) for seed in (3, 3, 4))
        assert first.outcomes == again.outcomes
        assert torch.equal(first.images, again.images)
        assert torch.equal(first.labels, again.labels)
        assert not torch.equal(first.images, other.images)

    def test_probabilities_are_those_of_the_settings(self, store):
        sampler = sampler_of(store)
        plan = paster_beside(sampler, paste=0.25).plan(4000, seed=0)
        assert plan.chosen.mean() == pytest.approx(0.25, abs=0.03)
        assert plan.tries.shape == (4000, TRIES, 2)
        batch = sampler.batch(0)
        none = paster_beside(sampler, paste=0)(batch, seed=0)
        assert none.images is batch.images
        assert none.labels is batch.class_indices

    def test_classes_come_alike_however_many_voxels_they_have(self, tmp_path):
        labels = {"a": drawn((40, 40), (1, 5, 6, 5, 6), (2, 10, 38, 10, 38)), "b": drawn((9, 9))}
        store = store_from_arrays(tmp_path / "store", values_of(labels), labels, classes=CLASSES)
        plan = paster_beside(sampler_of(store)).plan(2000, seed=0)
        assert (store.labels[plan.donor] == 1).mean() == pytest.approx(0.5, abs=0.04)

    def test_a_class_without_voxels_gives_its_turn_to_the_others(self, store):
        part = store.subset(["ignored", "empty"])
        plan = paster_beside(sampler_of(part)).plan(50, seed=0)
        assert plan.chosen.all()
        assert (part.labels[plan.donor] == 1).all()

    def test_donors_come_by_the_weighting_of_the_sampler(self, store):
        part = store.subset(["inside", "thin"])  # 26 voxels of the class, and 12
        for weighting, share in (("voxel", 26 / 38), ("case", 0.5)):
            sampler = PatchSampler(
                part,
                strategy="balanced",
                patch_size=PATCH,
                batch_size=4,
                seed=0,
                weighting=weighting,
            )
            plan = paster_beside(sampler).plan(6000, seed=0)
            spots = plan.donor[part.labels[plan.donor] == 1]
            found = (locate(part, spots)[0] == part.row("inside")).mean()
            assert found == pytest.approx(share, abs=0.03)

    def test_nothing_comes_from_outside_the_cases_that_are_trained_on(self, store):
        part = store.subset(["ignored", "edge", "empty", "small"])
        sampler = sampler_of(part)
        paster = paster_beside(sampler, paste_texture=0.5)
        plan = paster.plan(3000, seed=0)
        used = np.concatenate([plan.donor, plan.texture[plan.texture >= 0]])
        outside = [place(store, "inside", 0, 12, 20), place(store, "masked", 0, 3, 3)]
        ends = store.cases.label_offset + np.prod(store.cases.shape, 1)
        row = np.searchsorted(ends, [*used, *outside], side="right")
        names = [store.cases.ids[r] for r in row]
        assert set(names[: len(used)]) == {"ignored", "edge", "empty", "small"}
        assert names[len(used) :] == ["inside", "masked"]

    def test_without_any_object_nothing_is_pasted_and_it_is_said(self, store, caplog):
        sampler = sampler_of(store.subset(["empty", "small"]))
        paster = paster_beside(sampler)
        for k in range(3):
            batch = sampler.batch(k)
            done = paster(batch, seed=k)
            assert done.images is batch.images
            assert done.count == PasteCount()
        (line,) = (record.message for record in caplog.records if "paste" in record.message)
        assert "none of the 2 cases holds an object" in line

    def test_objects_are_turned_only_where_that_is_asked_for_and_true_to_shape(
        self, store, tmp_path
    ):
        sampler = sampler_of(store)
        plan = paster_beside(sampler).plan(500, seed=0)
        assert set(plan.quarters) == {0, 1, 2, 3}
        assert plan.mirror.any()
        still = paster_beside(sampler, paste_turns=False).plan(500, seed=0)
        assert not still.mirror.any()
        assert not still.quarters.any()
        flat = store_from_arrays(
            tmp_path / "flat",
            values_of(LABELS),
            LABELS,
            classes=CLASSES,
            spacing=(1.0, 3.0, 1.0),
            preprocessing=Preprocessing(dimension=2, method="none"),
        )
        assert set(paster_beside(sampler_of(flat)).plan(500, seed=0).quarters) == {0, 2}

    def test_a_batch_of_another_size_is_refused(self, store):
        paster = paster_beside(sampler_of(store))
        other = sampler_of(store, window=PATCH).batch(0)
        with pytest.raises(UsageError, match=r"\(8, 2, 32, 34\).*\(8, 2, 24, 26\)"):
            paster(other, seed=0)
        with pytest.raises(UsageError, match="on meta; paste on the CPU"):
            paster(sampler_of(store).batch(0).to("meta"), seed=0)


class TestVolumes:
    @pytest.fixture(scope="class")
    @classmethod
    def volumes(cls, tmp_path_factory) -> Store:
        labels = {name: np.zeros((14, 20, 22), np.uint8) for name in ("held", "free")}
        labels["held"][5:8, 8:12, 8:11] = 1
        labels["held"][8:10, 11:13, 9:14] = 2
        return store_from_arrays(
            tmp_path_factory.mktemp("volumes") / "store",
            values_of(labels),
            labels,
            classes=CLASSES,
            preprocessing=Preprocessing(dimension=3, method="none"),
        )

    @pytest.mark.parametrize("mirror", [(False, False, False), (True, False, True)])
    @pytest.mark.parametrize("quarters", [0, 1])
    def test_a_body_of_two_classes(self, volumes, mirror, quarters):
        sampler = sampler_of(volumes, patch=(8, 12, 12), window=(10, 14, 14), border="shift")
        paster = paster_beside(sampler)
        batch = sampler.batch(0)
        donor = place(volumes, "held", 6, 9, 9)
        plan = planned(paster, 8, donor, mirror=mirror, quarters=quarters)
        done = paster.apply(batch, plan)
        held = volumes.label(volumes.row("held"))[5:10, 8:13, 8:14]
        values = volumes.values(volumes.row("held"))[:, 5:10, 8:13, 8:14]
        if mirror[0]:
            held, values = held[::-1], values[:, ::-1]
        held, values = (moved(array, mirror[1:], quarters) for array in (held, values))
        got = [n for n, outcome in enumerate(done.outcomes) if outcome == "object"]
        assert got
        for n in got:
            (box,) = ndimage.find_objects((done.labels[n] % IGNORE > 0).numpy().astype(int))
            np.testing.assert_array_equal(done.labels[n][box], held)
            shift = (done.images[n].numpy()[:, *box] - values)[:, held > 0]
            np.testing.assert_allclose(shift, shift[:, :1].repeat(shift.shape[1], 1), atol=1e-2)

    def test_planes_of_volumes(self, volumes):
        sampler = sampler_of(volumes, patch=(12, 12), window=(14, 14), batch_size=16)
        paster = paster_beside(sampler, paste_texture=0)
        batch = sampler.batch(0)
        done = paster.apply(batch, planned(paster, 16, place(volumes, "held", 8, 11, 9)))
        held = volumes.label(volumes.row("held"))[8, 11:13, 9:14]
        got = [n for n, outcome in enumerate(done.outcomes) if outcome == "object"]
        assert got
        for n in got:
            (box,) = ndimage.find_objects((done.labels[n] % IGNORE > 0).numpy().astype(int))
            np.testing.assert_array_equal(done.labels[n][box], held)


class TestAccount:
    def test_the_composition_is_that_after_pasting(self, store):
        sampler, paster = sampler_of(store), None
        paster = paster_beside(sampler, paste=0.7, paste_texture=0.4)
        count, voxels, positive = PasteCount(), np.zeros(3, int), 0
        stream = iter(sampler)
        for _ in range(6):
            batch = next(stream)
            done = paster(batch, seed=batch.number)
            sampler.recount(batch, done.labels, done.count)
            count += done.count
            voxels += [int((done.labels == index).sum()) for index in range(3)]
            positive += int((done.labels % IGNORE > 0).flatten(1).any(1).sum())
        assert min(count.objects, count.textures, count.failed) > 0
        delivered = sampler.delivered()
        assert delivered.pasted == count
        assert delivered.voxels == tuple(voxels)
        assert delivered.with_foreground == positive
        assert Composition.from_dict(json.loads(json.dumps(delivered.to_dict()))) == delivered
        resumed = sampler_of(store)
        resumed.load_state_dict(sampler.state_dict())
        assert resumed.delivered() == delivered

    def test_without_pasting_there_is_nothing_to_tell(self, store):
        sampler = sampler_of(store, epoch_length=2)
        for batch in sampler:
            sampler.recount(batch, batch.class_indices)
        assert sampler.delivered().pasted is None
        old = sampler.delivered().to_dict()
        del old["pasted"]
        assert Composition.from_dict(old) == sampler.delivered()
        state = sampler.state_dict()
        for tally in state["ledger"]["tallies"]:
            del tally["pasted"]
        resumed = sampler_of(store, epoch_length=2)
        resumed.load_state_dict(state)
        assert resumed.delivered() == sampler.delivered()


def test_a_pasted_object_is_a_component_of_its_own(store: Store) -> None:
    """For losses by component: whole as it was pasted, and the others as they were."""
    sampler = sampler_of(store, batch_size=32, components=True)
    paster = paster_beside(sampler, paste_into="any", paste_texture=0.0)
    batch = sampler.batch(0)
    done = paster(batch, seed=0)
    windows = [n for n, outcome in enumerate(done.outcomes) if outcome == "object"]
    assert windows
    before, after = batch.components, done.components
    assert before is not None
    assert after is not None
    assert torch.equal(after.whole[: len(before.whole)], before.whole)
    for n in windows:
        fresh = done.labels[n] != batch.class_indices[n]
        assert torch.equal(after.pieces[n][~fresh], before.pieces[n][~fresh])
        for region, members in enumerate(CLASSES.regions.values()):
            inside = fresh & torch.isin(done.labels[n], torch.tensor(members, dtype=torch.uint8))
            if not bool(inside.any()):
                continue
            numbers = after.component[after.pieces[n][inside].long(), region]
            assert int(numbers.min()) >= len(before.whole)
            assert int(after.whole[numbers.unique()].sum()) == int(inside.sum())
    untouched = paster_beside(sampler, paste=0.0)(batch, seed=0)
    assert untouched.components is batch.components
