"""Coverage of background: whole where both sides are alike, and kinds that one side lacks."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from rareseg.data.checks.fingerprint import CaseFacts
from rareseg.evaluation.statistics.undefined import Undefined
from rareseg.quality.audit.backgrounds import (
    MOST_TILES,
    PER_CHANNEL,
    describe_background,
    tile_side,
)
from rareseg.quality.audit.negative_cases import measure_coverage, negative_findings


def texture(rng, kind):
    """Grain (0), or stripes along y (1) or x (2)."""
    sigma = {0: (1, 1), 1: (6, 0.7), 2: (0.7, 6)}[kind]
    field = ndimage.gaussian_filter(rng.normal(size=(128, 128)), sigma)
    return (100 + 20 * field / field.std())[None, None].astype(np.uint8)


def facts(name, *, positive, group=None, role=None):
    return CaseFacts(
        name, group, role, (1, 128, 128), (1, 1, 1), 2, 1, "uint8",
        (128 * 128 - 9 * positive, 9 * positive), 0, (), "",
    )  # fmt: skip


def world(positive_kinds, empty_kinds, roles=("", "")):
    rng = np.random.default_rng(4)
    cases, tiles = [], {}
    for positive, kinds, role in ((1, positive_kinds, roles[0]), (0, empty_kinds, roles[1])):
        for number, kind in enumerate(kinds):
            case = facts(f"{positive}-{number}", positive=positive, role=role or None)
            labels = np.zeros((1, 128, 128), np.uint8)
            labels[0, 60:63, 60:63] = positive
            cases.append(case)
            tiles[case.id] = describe_background(texture(rng, kind), labels, 32)
    declared = {case.id: case.role for case in cases if case.role}
    return cases, measure_coverage(cases, tiles, declared)


def test_alike_backgrounds_are_known_and_nothing_is_said():
    cases, coverages = world([0, 1] * 8, [0, 1] * 8)
    assert [coverage.known for coverage in coverages] == pytest.approx([0.97, 0.97], abs=0.04)
    assert negative_findings(cases, coverages) == []


def test_a_kind_that_no_negative_shows_is_found_with_its_cases():
    cases, coverages = world([0] * 14 + [1] * 4, [0] * 18)
    forward = coverages[0]
    assert {name for kind in forward.kinds for name in kind.cases} == {
        f"1-{k}" for k in range(14, 18)
    }
    assert 1.0 - forward.known == pytest.approx(4 / 18, abs=0.04)
    names = {finding.name for finding in negative_findings(cases, coverages)}
    assert len(names & {"negatives-without-variety", "unseen-background"}) == 1


def test_negatives_of_one_kind_lack_variety():
    cases, coverages = world([0, 1, 2] * 6, [0] * 16)
    assert coverages[0].known < 0.5
    (finding,) = negative_findings(cases, coverages)
    assert finding.name == "negatives-without-variety"
    assert "16 empty images" in finding.text
    shown = {example.case_id for example in finding.examples}
    assert not shown & {f"1-{k}" for k in range(0, 18, 3)}


def test_two_kinds_that_are_lacking_are_told_apart():
    _, coverages = world([0] * 8 + [1] * 5 + [2] * 5, [0] * 16)
    kinds = [set(kind.cases) for kind in coverages[0].kinds]
    assert {f"1-{k}" for k in range(8, 13)} in kinds
    assert {f"1-{k}" for k in range(13, 18)} in kinds


def test_what_training_never_shows_of_the_test_is_found():
    cases, coverages = world([0] * 12 + [2] * 4, [0] * 16, roles=("test", "train"))
    (held_out,) = [coverage for coverage in coverages if coverage.of == "held-out images"]
    assert held_out.kinds
    findings = [f for f in negative_findings(cases, coverages) if f.name == "unseen-background"]
    assert findings
    assert {"1-12", "1-13", "1-14", "1-15"} <= set(findings[-1].cases)


def test_without_negatives_coverage_is_undefined_and_a_note_says_so():
    cases, coverages = world([0] * 8, [])
    assert all(isinstance(coverage.known, Undefined) for coverage in coverages)
    assert [finding.name for finding in negative_findings(cases, coverages)] == ["no-negatives"]


def test_one_group_of_negatives_has_no_radius():
    cases, _ = world([0] * 8, [])
    cases += [facts(f"n{k}", positive=0, group="one") for k in range(8)]
    rng = np.random.default_rng(1)
    labels = np.zeros((1, 128, 128), np.uint8)
    tiles = {case.id: describe_background(texture(rng, 0), labels, 32) for case in cases}
    forward = measure_coverage(cases, tiles, {})[0]
    assert isinstance(forward.known, Undefined)
    assert "one group" in forward.known.reason


def test_no_case_at_all_says_nothing():
    assert negative_findings([], measure_coverage([], {}, {})) == []


def test_tiles_avoid_what_is_drawn_and_do_not_see_exposure():
    rng = np.random.default_rng(0)
    image = texture(rng, 1).astype(np.float32)
    labels = np.zeros((1, 128, 128), np.uint8)
    labels[0, 40, 40] = 1
    tiles = describe_background(image, labels, 32)
    assert len(tiles.boxes) == 15
    assert ((0, 1), (32, 64), (32, 64)) not in tiles.boxes
    brighter = describe_background(3.0 * image + 50, labels, 32)
    np.testing.assert_allclose(tiles.features, brighter.features, atol=2e-3)


def test_volumes_give_tiles_of_several_slices_and_channels():
    rng = np.random.default_rng(0)
    image = rng.normal(size=(2, 30, 40, 50))
    tiles = describe_background(image, np.zeros((30, 40, 50), np.uint8), 8)
    assert tiles.features.shape == (MOST_TILES, 2 * PER_CHANNEL)
    assert len({box[0] for box in tiles.boxes}) == 6


def test_what_is_drawn_everywhere_and_flat_images_are_no_trouble():
    full = describe_background(np.ones((1, 1, 64, 64)), np.ones((1, 64, 64), np.uint8), 8)
    assert full.features.shape == (0, PER_CHANNEL)
    flat = describe_background(np.ones((1, 1, 64, 64)), np.zeros((1, 64, 64), np.uint8), 8)
    assert np.isfinite(flat.features).all()
    holey = np.full((1, 1, 64, 64), np.nan)
    assert np.isfinite(
        describe_background(holey, np.zeros((1, 64, 64), np.uint8), 8).features
    ).all()


@pytest.mark.parametrize(
    ("shape", "side"), [((1, 256, 300), 32), ((36, 50, 35), 8), ((1, 4096, 4096), 64)]
)
def test_tiles_fit_the_images(shape, side):
    assert tile_side(shape) == side


def test_a_case_without_tiles_is_left_out():
    cases, _ = world([0] * 6, [0] * 6)
    rng = np.random.default_rng(4)
    labels = np.zeros((1, 128, 128), np.uint8)
    tiles = {case.id: describe_background(texture(rng, 0), labels, 32) for case in cases}
    tiles["1-0"] = replace(tiles["1-0"], features=np.zeros((0, PER_CHANNEL), np.float32), boxes=())
    assert measure_coverage(cases, tiles, {})[0].n_of == 5
