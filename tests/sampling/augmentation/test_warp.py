import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from rareseg.recipe import AugmentationSection
from rareseg.sampling.augmentation.augmentation_plan import AugmentationPlan, draw_plan
from rareseg.sampling.augmentation.splines import control_points, spline_field
from rareseg.sampling.augmentation.warp import (
    WarpCoordinates,
    make_pull,
    rotation,
    warp,
    warp_by_torch,
)
from rareseg_runner.image_records import IGNORE

NAMES = ("mirror", "rotate", "scale", "crop", "elastic")
ALWAYS = AugmentationSection(
    **dict.fromkeys(NAMES, 1), rotate_degrees=180, scale_range=0.5, elastic_shift=3
)


def plan_of(patch_size: tuple[int, ...], patches: int = 1, **changes: object) -> AugmentationPlan:
    still = AugmentationSection(**dict.fromkeys(NAMES, 0))
    plan = draw_plan(
        still, patches=patches, patch_size=patch_size, generator=torch.Generator().manual_seed(0)
    )
    return AugmentationPlan(**{**vars(plan), **changes})


def pulled(
    images: torch.Tensor, labels: torch.Tensor, plan: AugmentationPlan
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what a plan makes in space of windows."""
    places = make_pull(plan, images.shape[2:])
    return warp(images, labels, places, patch_size=plan.patch_size, votes=plan.votes)


def numbered(*sides: int, patches: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Return windows in which every voxel is different, and labels of five classes."""
    generator = torch.Generator().manual_seed(3)
    images = torch.rand((patches, 2, *sides), generator=generator)
    labels = torch.randint(0, 5, (patches, *sides), generator=generator, dtype=torch.uint8)
    return images, labels


@pytest.mark.parametrize("about", [0, 1, 2])
def test_a_quarter_turn_of_a_volume_is_rot90(about: int) -> None:
    images, labels = numbered(7, 7, 7)
    angles = torch.zeros(1, 3)
    angles[0, about] = math.pi / 2
    new_images, new_labels = pulled(images, labels, plan_of((7, 7, 7), angles=angles))
    plane = ((1, 2), (0, 2), (0, 1))[about]
    expected = torch.rot90(images, 1, [axis + 2 for axis in plane])
    torch.testing.assert_close(new_images, expected, atol=1e-5, rtol=0)
    assert torch.equal(new_labels, torch.rot90(labels, 1, [axis + 1 for axis in plane]))


@pytest.mark.parametrize("votes", [False, True])
def test_a_quarter_turn_of_a_plane_is_rot90(votes: bool) -> None:
    images, labels = numbered(8, 8, patches=2)
    plan = plan_of((8, 8), 2, angles=torch.tensor([[math.pi / 2], [-math.pi / 2]]), votes=votes)
    new_images, new_labels = pulled(images, labels, plan)
    for patch, quarters in enumerate((1, -1)):
        turned = torch.rot90(images[patch], quarters, (1, 2))
        torch.testing.assert_close(new_images[patch], turned, atol=1e-5, rtol=0)
        assert torch.equal(new_labels[patch], torch.rot90(labels[patch], quarters, (0, 1)))


@given(sides=st.lists(st.integers(1, 6), min_size=2, max_size=3), data=st.data())
def test_mirroring_is_flip(sides: list[int], data: st.DataObject) -> None:
    images, labels = numbered(*sides)
    flipped = [data.draw(st.booleans()) for _ in sides]
    new_images, new_labels = pulled(
        images, labels, plan_of(tuple(sides), mirror=torch.tensor([flipped]))
    )
    axes = [axis for axis, flip in enumerate(flipped) if flip]
    assert torch.equal(new_images, images.flip([axis + 2 for axis in axes]))
    assert torch.equal(new_labels, labels.flip([axis + 1 for axis in axes]))


@pytest.mark.parametrize("dimension", [2, 3])
def test_a_linear_ramp_magnified_by_two_rises_half_as_steeply(dimension: int) -> None:
    ramp = torch.arange(9.0).expand(1, 1, *(9,) * dimension)
    labels = torch.zeros((1, *(9,) * dimension), dtype=torch.uint8)
    taken, _ = pulled(ramp, labels, plan_of((9,) * dimension, scale=torch.tensor([2.0])))
    expected = 4 + (torch.arange(9.0) - 4) / 2
    torch.testing.assert_close(taken, expected.expand_as(taken))


def test_what_lies_outside_the_window_is_ignored_and_its_reflection() -> None:
    images = torch.arange(5.0).expand(1, 1, 5, 5)
    labels = torch.ones(1, 5, 5, dtype=torch.uint8)
    shift = torch.tensor([[0.0, 3.0]])
    new_images, new_labels = pulled(images, labels, plan_of((5, 5), shift=shift))
    assert new_images[0, 0, 0].tolist() == [3, 4, 3, 2, 1]
    assert new_labels[0, 0].tolist() == [1, 1, IGNORE, IGNORE, IGNORE]


def test_a_shift_cuts_a_larger_window_off_its_centre() -> None:
    images, labels = numbered(12, 12)
    shift = torch.tensor([[2.0, -1.0]])
    new_images, new_labels = pulled(images, labels, plan_of((6, 8), shift=shift))
    assert torch.equal(new_images, images[:, :, 5:11, 1:9])
    assert torch.equal(new_labels, labels[:, 5:11, 1:9])


def test_rotation_is_rigid_in_a_patch_that_is_not_square() -> None:
    labels = torch.zeros(1, 64, 32, dtype=torch.uint8)
    labels[0, 28:36, 12:20] = 1  # an 8 x 8 square about the centre
    plan = plan_of((64, 32), angles=torch.tensor([[math.pi / 4]]))
    _, turned = pulled(labels.unsqueeze(1).float(), labels, plan)
    # A square of side 8 on its tip spans 8·√2 ≈ 11.3 along both axes.
    rows, columns = torch.nonzero(turned[0] == 1).T
    for spread in (rows.max() - rows.min() + 1, columns.max() - columns.min() + 1):
        assert 9 <= spread <= 12


@pytest.mark.parametrize("sides", [(9, 8), (6, 7, 8)])
def test_it_is_scipys_map_coordinates(sides: tuple[int, ...]) -> None:
    window = tuple(side + 6 for side in sides)
    images, labels = numbered(*window, patches=3)
    plan = draw_plan(
        ALWAYS, patches=3, patch_size=sides, generator=torch.Generator().manual_seed(5)
    )
    pull = make_pull(plan, window)
    new_images, new_labels = pulled(images, labels, plan)
    index = np.stack(np.meshgrid(*map(np.arange, sides), indexing="ij"))
    for patch in range(3):
        matrix = pull.matrix[patch].double().numpy()
        places = np.tensordot(matrix[:, :-1], index, 1)
        places += matrix[:, -1].reshape(-1, *(1,) * len(sides))
        places += pull.bend[pull.bent[patch]].numpy()
        for channel in range(2):
            expected = ndimage.map_coordinates(
                images[patch, channel].numpy(), places, order=1, mode="mirror"
            )
            np.testing.assert_allclose(new_images[patch, channel], expected, atol=1e-4)
        tops = np.array(window).reshape(-1, *(1,) * len(sides)) - 0.5
        outside = ((places < -0.5) | (places >= tops)).any(0)
        nearest = ndimage.map_coordinates(labels[patch].numpy(), places, order=0, mode="nearest")
        expected = np.where(outside, IGNORE, nearest)
        assert (new_labels[patch].numpy() != expected).mean() < 0.005  # rounding of ties


@settings(deadline=None, max_examples=40)
@given(
    sides=st.lists(st.integers(1, 12), min_size=2, max_size=3),
    margin=st.integers(0, 3),
    votes=st.booleans(),
    seed=st.integers(0, 2**32),
)
@example(sides=[1, 2, 2], margin=0, votes=False, seed=0)  # one slice, turned out of its plane
@example(sides=[3, 1, 4], margin=0, votes=True, seed=1)
def test_the_compiled_warp_and_torchs_are_one(
    sides: list[int], margin: int, votes: bool, seed: int
) -> None:
    window = [side + 2 * margin for side in sides]
    images, _ = numbered(*window, patches=4)
    # Large blocks of classes: a difference is then more than a tie between noisy neighbours.
    labels = (images[:, 0] > 0.8).to(torch.uint8)
    plan = draw_plan(
        ALWAYS.model_copy(update=dict.fromkeys(NAMES, 0.6)),
        patches=4,
        patch_size=sides,
        generator=torch.Generator().manual_seed(seed),
    )
    pull = make_pull(plan, window)
    ours = warp(images, labels, pull, patch_size=sides, votes=votes)
    torchs = warp_by_torch(images, labels, pull, patch_size=sides, votes=votes)
    torch.testing.assert_close(ours[0], torchs[0], atol=1e-3, rtol=0)
    differ = ours[1] != torchs[1]
    assert differ.sum() <= max(2, 0.01 * differ.numel())


@pytest.mark.parametrize("by", [warp, warp_by_torch])
def test_votes_take_the_class_with_most_weight(by) -> None:  # type: ignore[no-untyped-def]
    labels = torch.tensor([[[1, 2], [2, 3]]], dtype=torch.uint8)

    def at(y: float, x: float, votes: bool) -> int:
        pull = WarpCoordinates(
            matrix=torch.tensor([[[1.0, 0.0, y], [0.0, 1.0, x]]]),
            bend=torch.empty(0, 2, 1, 1),
            bent=torch.tensor([-1]),
            plain=torch.tensor([False]),
        )
        images = labels.unsqueeze(1).float()
        return int(by(images, labels, pull, patch_size=(1, 1), votes=votes)[1])

    # At (0.4, 0.4): class 1 holds 0.36, class 2 twice 0.24, class 3 0.16.
    assert at(0.4, 0.4, votes=True) == 2
    assert at(0.4, 0.4, votes=False) == 1
    assert at(0.2, 0.2, votes=True) == 1  # 0.64 against 0.32
    assert at(-0.6, 0.0, votes=True) == IGNORE


@pytest.mark.parametrize("by", [warp, warp_by_torch])
def test_votes_of_eight_neighbours_agree_with_interpolated_classes(by) -> None:  # type: ignore[no-untyped-def]
    images, labels = numbered(9, 9, 9)
    plan = plan_of((5, 5, 5), angles=torch.tensor([[0.3, -0.5, 0.2]]), votes=True)
    pull = make_pull(plan, (9, 9, 9))
    classes = torch.stack([(labels == k).float() for k in range(5)], 1)
    shares, _ = warp(classes, labels, pull, patch_size=(5, 5, 5), votes=False)
    _, voted = by(images, labels, pull, patch_size=(5, 5, 5), votes=True)
    assert torch.equal(voted.long(), shares.argmax(1))


class TestElastic:
    @pytest.mark.parametrize("dimension", [2, 3])
    def test_without_strength_nothing_moves(self, dimension: int) -> None:
        sides = (10,) * dimension
        images, labels = numbered(*sides)
        points = torch.zeros(1, dimension, *control_points(sides, 4.0))
        plan = plan_of(sides, elastic=points, elastic_spacing=4.0)
        new_images, new_labels = pulled(images, labels, plan)
        assert torch.equal(new_images, images)
        assert torch.equal(new_labels, labels)

    def test_where_all_points_agree_the_patch_is_moved_as_a_whole(self) -> None:
        images, labels = numbered(14, 14)
        points = torch.tensor([2.0, -1.0]).view(1, 2, 1, 1).expand(1, 2, *control_points((8, 8), 5))
        new_images, new_labels = pulled(
            images, labels, plan_of((8, 8), elastic=points, elastic_spacing=5.0)
        )
        torch.testing.assert_close(new_images, images[:, :, 5:13, 2:10], atol=1e-5, rtol=0)
        assert torch.equal(new_labels, labels[:, 5:13, 2:10])

    @given(side=st.integers(1, 40), spacing=st.floats(1, 50))
    def test_weights_sum_to_one_everywhere(self, side: int, spacing: float) -> None:
        points = torch.ones(1, 1, *control_points((side,), spacing))
        field = spline_field(points, (side,), spacing)
        torch.testing.assert_close(field, torch.ones(1, 1, side), atol=1e-5, rtol=0)

    def test_one_point_is_scipys_cubic_spline(self) -> None:
        sides, spacing = (21,), 5.0
        (count,) = control_points(sides, spacing)
        points = torch.zeros(1, 1, count)
        points[0, 0, count // 2] = 1
        places = (np.arange(21) - 10) / spacing + (count - 1) / 2
        expected = ndimage.map_coordinates(
            points[0, 0].numpy(), places[None], order=3, prefilter=False
        )
        np.testing.assert_allclose(spline_field(points, sides, spacing)[0, 0], expected, atol=1e-6)

    @pytest.mark.parametrize("dimension", [2, 3])
    def test_no_field_folds_at_the_largest_strength(self, dimension: int) -> None:
        sides, spacing = (24,) * dimension, 8.0
        generator = torch.Generator().manual_seed(0)
        shape = (20, dimension, *control_points(sides, spacing))
        points = (torch.rand(shape, generator=generator) < 0.5).float() * 2 - 1
        field = spline_field(0.4 * spacing * points, sides, spacing)
        slopes = torch.stack(torch.gradient(field, dim=list(range(2, dimension + 2))), -1)
        jacobian = slopes.movedim(1, -2) + torch.eye(dimension)
        assert torch.linalg.det(jacobian).min() > 0


def test_rotations_are_rotations() -> None:
    for axes in (1, 3):
        matrix = rotation(np.random.default_rng(0).uniform(-3, 3, (5, axes)))
        eye = np.broadcast_to(np.eye(matrix.shape[-1]), matrix.shape)
        np.testing.assert_allclose(matrix @ matrix.transpose(0, 2, 1), eye, atol=1e-12)
        np.testing.assert_allclose(np.linalg.det(matrix), 1)
