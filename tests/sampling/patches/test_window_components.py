"""The components of whole images, cut and augmented with the windows that show parts of them."""

from __future__ import annotations

import itertools
import pickle
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from rareseg.data.store.array_store import store_from_arrays
from rareseg.data.store.store import Store
from rareseg.recipe import AugmentationSection
from rareseg.sampling.augmentation.augment import apply_plan, apply_to_components, draw_plan
from rareseg.sampling.dataloader import PatchLoader
from rareseg.sampling.patches.batch import Batch
from rareseg.sampling.patches.places import Places
from rareseg.sampling.patches.window_components import (
    Components,
    components_in,
    cut_components,
    map_components,
)
from rareseg.sampling.pools.windows import as_zyx
from rareseg.sampling.sampler import PatchSampler
from rareseg_runner.image_records import IGNORE, Classes

IN_SPACE = ("mirror", "rotate", "scale", "crop", "elastic")
IN_INTENSITY = ("gamma", "contrast", "brightness", "blur", "low_resolution", "noise", "occlusion")
STILL = AugmentationSection(**dict.fromkeys(IN_SPACE + IN_INTENSITY, 0))
MOVED = AugmentationSection(
    **dict.fromkeys(IN_SPACE, 1),
    **dict.fromkeys(IN_INTENSITY, 0),
    rotate_degrees=180,
    scale_range=0.5,
    elastic_shift=3,
)


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Volumes full of small things of three classes, some of them ignored, and an empty one."""
    rng = np.random.default_rng(4)
    labels = {
        name: rng.choice([0, 1, 2, 3, IGNORE], (5, 14, 17), p=[0.84, 0.05, 0.05, 0.04, 0.02])
        for name in "abd"
    }
    labels = {name: label.astype(np.uint8) for name, label in labels.items()}
    labels["b"][...] = 0
    labels["b"][0, 13, 16] = 2
    labels["c"] = np.zeros((3, 9, 8), np.uint8)
    classes = Classes(
        ("background", "one", "two", "three"),
        (0, 1, 2, 3),
        {"any": (1, 2, 3), "core": (2, 3), "three": (3,)},
        ignore_value=IGNORE,
    )
    images = {name: label[None] for name, label in labels.items()}
    folder = tmp_path_factory.mktemp("crowded") / "store"
    return store_from_arrays(folder, images, labels, classes=classes)


def one_to_one(first: np.ndarray, second: np.ndarray) -> bool:
    pairs = set(zip(first.flat, second.flat, strict=True))
    return len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


def same(first: Components, second: Components) -> bool:
    names = [field.name for field in fields(Components)]
    return all(torch.equal(getattr(first, name), getattr(second, name)) for name in names)


@pytest.mark.parametrize("patch_size", [(6, 7), (4, 6, 7), (1, 30, 3)])
def test_windows_show_parts_of_the_components_of_their_whole_images(
    crowded: Store, patch_size: tuple[int, ...]
) -> None:
    store = crowded.subset("bcd")
    by_plane = len(patch_size) == 2
    rng = np.random.default_rng(0)
    case = rng.integers(3, size=40).astype(np.int32)
    reach = np.array(as_zyx(patch_size))
    corner = rng.integers(-reach, store.cases.shape[case] + 1).astype(np.int32)
    places = Places(case, corner, np.zeros(40, np.int16))
    known = map_components(store, by_plane=by_plane)
    cut = cut_components(known, store, places, patch_size=patch_size)
    structure = np.ones((3, 3, 3))
    if by_plane:
        structure[[0, 2]] = 0
    shown = []
    for region, members in enumerate(store.classes.regions.values()):
        own, theirs, sizes = [], [], []
        for b in range(40):
            mask = np.isin(store.label(int(case[b])), members)
            expected, _ = ndimage.label(mask, structure)
            expected += 1000 * int(case[b]) * (expected > 0)
            # Outside of the image there is nothing.
            padded = np.pad(expected, [(n, n) for n in reach])
            begin = corner[b] + reach
            window = padded[tuple(slice(a, a + n) for a, n in zip(begin, reach, strict=True))]
            found = cut.component[cut.pieces[b].long(), region].numpy().reshape(window.shape)
            own.append(found.ravel())
            theirs.append(window.ravel())
            for number in np.unique(window[window > 0]):
                sizes.append((int(found[window == number][0]), int((expected == number).sum())))
        # A component has one number in every window that shows it, and no other has it.
        assert one_to_one(np.concatenate(own), np.concatenate(theirs))
        assert all(cut.whole[number] == size for number, size in sizes)
        shown += sizes
    # And nothing is in the tables of which no window shows a voxel.
    assert len({number for number, _ in shown}) == len(cut.whole) - 1 > 10
    assert set(cut.pieces.flatten().tolist()) == set(range(len(cut.component)))


def test_batches_have_components_where_they_are_asked_for(crowded: Store) -> None:
    def make(**changes: object) -> PatchSampler:
        return PatchSampler(
            crowded, patch_size=(4, 8, 8), cut_size=(6, 10, 10), batch_size=4, seed=1, **changes
        )

    plain, asked = make(), make(components=True)
    batch = asked.batch(3)
    assert plain.batch(3).components is None
    assert torch.equal(plain.batch(3).images, batch.images)
    assert batch.components is not None
    assert batch.components.pieces.shape == batch.class_indices.shape
    foreground = (batch.class_indices > 0) & (batch.class_indices != IGNORE)
    assert torch.equal(batch.components.pieces > 0, foreground)
    assert asked.state_dict() == plain.state_dict()


def test_patches_of_two_axes_have_the_components_of_their_planes(crowded: Store) -> None:
    planes, volumes = (map_components(crowded, by_plane=by_plane) for by_plane in (True, False))
    assert len(planes.whole) > len(volumes.whole)
    for patch_size, expected in (((8, 8), planes), ((4, 8, 8), volumes)):
        sampler = PatchSampler(
            crowded, patch_size=patch_size, batch_size=1, seed=0, components=True
        )
        assert sampler.cutter.components is not None
        np.testing.assert_array_equal(sampler.cutter.components.whole, expected.whole)


@pytest.mark.parametrize("workers", [0, 2])
def test_worker_processes_cut_the_same_components(crowded: Store, workers: int) -> None:
    def make() -> PatchSampler:
        return PatchSampler(crowded, patch_size=(8, 8), batch_size=4, seed=1, components=True)

    delivered = list(itertools.islice(PatchLoader(make(), workers=workers), 3))
    for batch in delivered:
        again = make().batch(batch.number)
        assert batch.components is not None
        assert again.components is not None
        assert same(batch.components, again.components)


def test_a_cutter_that_is_pickled_keeps_them(crowded: Store) -> None:
    sampler = PatchSampler(crowded, patch_size=(8, 8), batch_size=4, seed=1, components=True)
    cutter = pickle.loads(pickle.dumps(sampler.cutter))
    assert same(cutter.batch(0, sampler.plan(0)).components, sampler.batch(0).components)


def a_batch(store: Store, patch_size: tuple[int, ...], seed: int) -> tuple[Batch, Components]:
    """Return windows that are larger than the patches by four voxels, and their components."""
    batch = PatchSampler(
        store,
        patch_size=patch_size,
        cut_size=tuple(side + 4 for side in patch_size),
        batch_size=3,
        seed=seed,
        components=True,
    ).batch(0)
    assert batch.components is not None
    return batch, batch.components


def a_plan(settings: AugmentationSection, patch_size: tuple[int, ...], seed: int):
    generator = torch.Generator().manual_seed(seed)
    return draw_plan(settings, patches=3, patch_size=patch_size, generator=generator)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**20),
    patch_size=st.sampled_from([(9, 8), (5, 8, 7)]),
    labels_by=st.sampled_from(["nearest", "votes"]),
)
def test_after_an_augmentation_every_voxel_has_a_piece_of_its_class(
    crowded: Store, seed: int, patch_size: tuple[int, ...], labels_by: str
) -> None:
    batch, before = a_batch(crowded, patch_size, seed)
    class_of = torch.zeros(len(before.component), dtype=torch.uint8)
    foreground = before.pieces > 0
    class_of[before.pieces[foreground].long()] = batch.class_indices[foreground]
    plan = a_plan(MOVED.model_copy(update={"labels": labels_by}), patch_size, seed)
    ignored = (batch.class_indices == IGNORE).float().unsqueeze(1)
    near, labels = apply_plan(ignored, batch.class_indices, plan)
    after = apply_to_components(before, plan)
    held = class_of[after.pieces.long()]
    # Where one of the voxels that vote is ignored, which has no piece, they may come to differ.
    compared = near[:, 0] == 0 if labels_by == "votes" else torch.full_like(held, True)
    expected = torch.where(labels == IGNORE, 0, labels)
    assert torch.equal(held[compared.bool()], expected[compared.bool()])


def test_pieces_move_as_labels_do(crowded: Store) -> None:
    """The same numbers, taken for labels, end at the same places."""
    batch, before = a_batch(crowded, (9, 8), 5)
    assert 3 < int(before.pieces.max()) < IGNORE
    plan = a_plan(MOVED, (9, 8), 5)
    _, moved = apply_plan(batch.images, before.pieces.to(torch.uint8), plan)
    after = apply_to_components(before, plan)
    assert torch.equal(torch.where(moved == IGNORE, 0, moved).int(), after.pieces)


@pytest.mark.parametrize(("patch_size", "axes"), [((8, 8), 2), ((6, 8, 8), 3), ((1, 8, 8), 2)])
def test_a_magnified_component_is_larger_as_a_whole(patch_size: tuple[int, ...], axes: int) -> None:
    labels = torch.zeros((2, *patch_size), dtype=torch.uint8)
    middle = tuple(
        slice(side // 2 - 1, side // 2 + 1) if side > 1 else slice(1) for side in patch_size
    )
    labels[(slice(None), *middle)] = 1
    components = components_in(labels, ((1,),))
    plan = draw_plan(
        STILL, patches=2, patch_size=patch_size, generator=torch.Generator().manual_seed(0)
    )
    plan = replace(plan, scale=torch.tensor([1.0, 2.0]))
    after = apply_to_components(components, plan)
    assert after.magnified.tolist() == [1, 2**axes]
    inside = (after.pieces > 0).flatten(1).sum(1)
    assert inside.tolist() == (components.whole[1:] * after.magnified).tolist()


def test_a_pasted_object_is_a_component_of_its_own() -> None:
    labels = torch.zeros((2, 6, 8), dtype=torch.uint8)
    labels[1, 2:4, 1:5] = 1
    regions = ((1, 2), (2,))
    before = components_in(labels, regions)
    pasted = torch.zeros((6, 8), dtype=torch.uint8)
    pasted[2:4, 4:6] = 2  # over a quarter of what is there
    pasted[2, 6] = 1
    after = before.pasted(1, pasted, regions)
    whole, core = (after.component[after.pieces.long(), region] for region in (0, 1))
    assert torch.equal(after.pieces[0], before.pieces[0])
    assert torch.equal(before.pieces > 0, labels > 0), "the record before is as it was"
    assert len(whole[1, 2:4, 1:4].unique()) == 1
    assert len(torch.cat([whole[1, 2:4, 4:6].flatten(), whole[1, 2, 6:7]]).unique()) == 1
    assert whole[1, 2, 3] != whole[1, 2, 4]
    assert after.whole[whole[1, 2, [3, 4]]].tolist() == [8, 5]
    assert after.whole[core[1, 2, 4]] == 4
    assert core[1, 2, 6] == core[1, 2, 3] == 0
    assert len(after.magnified) == 2
