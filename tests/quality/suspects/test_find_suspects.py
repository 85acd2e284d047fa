"""Hand-made predictions: every kind is found where it was made, and nothing where all is right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rareseg.decision.operating_point import OperatingPoint, default_point
from rareseg.errors import ScoreError
from rareseg.quality.suspects.component_evidence import collect_evidence
from rareseg.quality.suspects.find_suspects import judge
from rareseg.quality.suspects.place import ComponentEvidence, SetAside
from rareseg_runner.image_records import IGNORE, Classes

ONE = Classes(("background", "object"), (0, 1), {"object": (1,)})
TWO = Classes(("background", "a", "b"), (0, 1, 2), {"a": (1,), "b": (2,)})
NESTED = Classes(("background", "shell", "core"), (0, 1, 2), {"whole": (1, 2), "core": (2,)})


def disc(shape, centre, radius):
    """A ball in the plane, in voxels; (z, y, x)."""
    z, y, x = np.indices(shape)
    return (np.hypot(y - centre[1], x - centre[2]) <= radius) & (z == centre[0])


def predict(labels, *, sure=0.95, count=2, seed=0):
    """Probabilities of a model that says ``sure`` of the labels, with a little noise."""
    rng = np.random.default_rng(seed)
    labels = np.where(labels == IGNORE, 0, labels)
    odds = np.where(labels == 0, -3.0, np.log(sure / (1 - sure))) + rng.normal(0, 0.3, labels.shape)
    foreground = 1 / (1 + np.exp(-odds))
    # What is no background and not the class itself: next to nothing.
    p = np.full((count, *labels.shape), 1e-3)
    p[0] = 1 - foreground
    for index in range(1, count):
        p[index][labels == index] = foreground[labels == index]
        others = (labels != index) if count == 2 else (labels == 0)
        p[index][others] = foreground[others] / (count - 1)
    return (p / p.sum(axis=0)).astype(np.float32)


def plate(seed, *, radii=(3, 5, 8), size=96, value=1):
    """One image with an object of each radius, well apart."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((1, size, size), np.uint8)
    rows = np.linspace(15, size - 15, len(radii))
    for y, radius in zip(rows, radii, strict=True):
        labels[disc(labels.shape, (0, y, rng.uniform(20, size - 20)), radius)] = value
    return labels


def usual(classes=ONE, *, n=12, **more):
    """Sightings of cases whose labels the model agrees with."""
    found = []
    for seed in range(n):
        labels = plate(seed, value=1 + seed % (classes.count - 1), **more)
        p = predict(labels, count=classes.count, seed=seed)
        found += collect_evidence(p, labels, classes, {}, case_id=f"fine {seed}", scorer="fold 1")
    return found


def look(p, labels, classes=ONE, *, among=None, **more):
    """The suspects in one odd case among usual ones."""
    own = collect_evidence(p, labels, classes, {}, case_id="odd", scorer="fold 1", **more)
    return judge([*(usual(classes) if among is None else among), *own], classes)


def test_labels_that_the_model_agrees_with_are_not_suspected():
    assert judge(usual(), ONE) == ()
    assert judge(usual(TWO), TWO) == ()
    assert judge([], ONE) == ()


def test_nothing_in_a_case_gives_nothing():
    labels = np.zeros((1, 64, 64), np.uint8)
    assert collect_evidence(predict(labels), labels, ONE, {}, case_id="empty", scorer="s") == ()


def test_a_object_that_nobody_drew_is_missed():
    labels = plate(100)
    seen = labels.copy()
    extra = disc(labels.shape, (0, 30, 80), 5)
    assert not labels[extra].any()
    seen[extra] = 1
    [found] = look(predict(seen), labels)
    assert (found.kind, found.case_id, found.region) == ("missed object", "odd", "object")
    y, x = np.nonzero(extra[0])
    assert found.box == ((0, 1), (y.min(), y.max() + 1), (x.min(), x.max() + 1))
    assert found.voxels == extra.sum()
    assert found.score > 0.7
    assert "Nothing is drawn here" in found.reason


def test_a_label_that_the_model_does_not_see_is_spurious():
    labels = plate(100)
    extra = disc(labels.shape, (0, 30, 80), 5)
    p = predict(labels)
    labels[extra] = 1
    [found] = look(p, labels)
    assert (found.kind, found.voxels) == ("spurious label", extra.sum())
    assert found.score > 0.7
    assert found.reason.endswith(".")


def test_an_outline_that_is_moved_is_wrong_and_its_object_is_not():
    labels = plate(100)
    shifted = np.roll(labels, 4, axis=2)
    [small, middle, large] = sorted(look(predict(labels), shifted), key=lambda s: s.voxels)
    assert {small.kind, middle.kind, large.kind} == {"wrong boundary"}
    # The same step is less of a shift for a larger object.
    assert small.score > large.score
    assert "band" in middle.reason


def test_a_class_that_the_model_calls_otherwise_is_named_once():
    labels = plate(100, radii=(4, 6, 8), value=1)
    swapped = labels.copy()
    which = disc(labels.shape, (0, 15, 0), 0)
    assert not labels[which].any()
    top = labels[0, :30] == 1
    swapped[0, :30][top] = 2
    [found] = look(predict(labels, count=3), swapped, TWO)
    assert (found.kind, found.region, found.voxels) == ("wrong class", "b", top.sum())
    assert "calls it 'a'" in found.reason
    assert found.score > 0.7


def nested(seed):
    """An object of two parts, one within the other."""
    labels = np.zeros((1, 96, 96), np.uint8)
    for y in (25, 65):
        x = 30 + 5 * (seed % 6)
        labels[disc(labels.shape, (0, y, x), 12)] = 1
        labels[disc(labels.shape, (0, y, x), 6)] = 2
    return labels


def nested_usual():
    return [
        evidence
        for seed in range(8)
        for evidence in collect_evidence(
            predict(nested(seed), count=3, seed=seed),
            nested(seed),
            NESTED,
            {},
            case_id=f"fine {seed}",
            scorer="fold 1",
        )
    ]


def test_regions_within_each_other_name_a_fault_by_the_outermost_that_has_it():
    labels = nested(0)
    among = nested_usual()
    assert judge(among, NESTED) == ()
    gone = labels.copy()
    gone[0, :45] = 0
    [missed] = look(predict(labels, count=3), gone, NESTED, among=among)
    assert (missed.kind, missed.region) == ("missed object", "whole")
    [spurious] = look(predict(gone, count=3), labels, NESTED, among=among)
    assert (spurious.kind, spurious.region) == ("spurious label", "whole")
    flat = labels.copy()
    flat[0, :45][flat[0, :45] == 2] = 1
    [lacking] = look(predict(labels, count=3), flat, NESTED, among=among)
    assert (lacking.kind, lacking.region) == ("wrong class", "core")
    assert "'shell' is drawn here" in lacking.reason
    [beyond] = look(predict(flat, count=3), labels, NESTED, among=among)
    assert (beyond.kind, beyond.region) == ("wrong class", "core")
    assert "calls it 'shell'" in beyond.reason


def three_parts(seed):
    """Objects of a shell, a ring and a centre: classes 1, 2 and 3."""
    labels = np.zeros((1, 96, 96), np.uint8)
    for y in (25, 65):
        x = 30 + 5 * (seed % 6)
        for value, radius in ((1, 14), (2, 9), (3, 4)):
            labels[disc(labels.shape, (0, y, x), radius)] = value
    return labels


PARTS = Classes(
    ("background", "shell", "ring", "centre"),
    (0, 1, 2, 3),
    {"whole": (1, 2, 3), "core": (2, 3), "active": (2,)},
)


def confused(labels, *, seed, share=0.0):
    """A model that calls some voxels of the ring, here and there, a shell."""
    p = predict(labels, count=4, seed=seed)
    swapped = (np.random.default_rng(seed).random(labels.shape) < share) & (labels == 2)
    p[1][swapped], p[2][swapped] = p[2][swapped], p[1][swapped].copy()
    return p


def test_a_part_that_was_given_to_its_neighbour_is_found_within_the_object():
    """It grows together with the part beside it: no component of its own is left."""
    among = [
        evidence
        for seed in range(9)
        for evidence in collect_evidence(
            confused(three_parts(seed), seed=seed),
            three_parts(seed),
            PARTS,
            {},
            case_id=f"fine {seed}",
            scorer="fold 1",
        )
    ]
    assert judge(among, PARTS) == ()
    for true, drawn, region in ((3, 2, "active"), (1, 2, "core")):
        labels = three_parts(0)
        labels[0, :45][labels[0, :45] == true] = drawn
        found = look(confused(three_parts(0), seed=0), labels, PARTS, among=among)
        assert {suspect.kind for suspect in found} == {"wrong class"}
        assert region in {suspect.region for suspect in found}
        assert max(suspect.score for suspect in found) > 0.6


def test_classes_that_the_model_often_confuses_are_rarely_suspected():
    scores = []
    for share in (0.0, 0.35):
        among = [
            evidence
            for seed in range(9)
            for evidence in collect_evidence(
                confused(three_parts(seed), seed=seed, share=share * (1 + seed % 3) / 2),
                three_parts(seed),
                PARTS,
                {},
                case_id=f"fine {seed}",
                scorer="fold 1",
            )
        ]
        labels = three_parts(0)
        p = confused(labels, seed=99, share=0.45)
        found = [s for s in look(p, labels, PARTS, among=among) if "'ring' is drawn" in s.reason]
        scores.append(max((s.score for s in found if s.case_id == "odd"), default=0.0))
    assert scores[0] > 0.7
    assert scores[1] < scores[0] - 0.3


def test_a_small_and_a_large_object_are_ranked_by_how_sure_the_model_is():
    radii = (1.8, 56.4)
    among = usual(size=224, radii=(1.8, 56.4, 4, 20))
    scores = {}
    for sure in (0.7, 0.95):
        for radius in radii:
            extra = disc((1, 224, 224), (0, 112, 112), radius).astype(np.uint8)
            nothing = np.zeros_like(extra)
            [missed] = look(predict(extra, sure=sure), nothing, among=among)
            [spurious] = look(predict(nothing), extra, among=among)
            assert (missed.kind, spurious.kind) == ("missed object", "spurious label")
            scores[sure, radius] = missed.score
            scores["spurious", radius] = spurious.score
    small, large = radii
    assert disc((1, 224, 224), (0, 112, 112), small).sum() < 13
    assert disc((1, 224, 224), (0, 112, 112), large).sum() > 9_900
    for key in (0.7, 0.95, "spurious"):
        assert scores[key, small] == pytest.approx(scores[key, large], abs=0.06)
    assert min(scores[0.95, r] for r in radii) > max(scores[0.7, r] for r in radii) + 0.1


def test_the_same_shape_drawn_larger_and_moved_further_is_as_suspect():
    moved = {}
    for scale in (1, 2, 4):
        true = disc((1, 64 * scale, 64 * scale), (0, 30 * scale, 30 * scale), 8 * scale)
        drawn = np.roll(true, 5 * scale, axis=2).astype(np.uint8)
        p = predict(true.astype(np.uint8))
        [component] = [
            s
            for s in collect_evidence(p, drawn, ONE, {}, case_id="c", scorer="s")
            if s.side == "drawn"
        ]
        moved[scale] = component.moved
    assert moved[1] == pytest.approx(moved[4], abs=0.06)
    assert moved[2] == pytest.approx(moved[4], abs=0.04)


def test_a_larger_image_around_the_same_changes_no_score():
    labels = plate(100)
    seen = np.roll(labels, 3, axis=2)
    seen[disc(labels.shape, (0, 30, 80), 4)] = 1
    p = predict(seen)
    small = look(p, labels)
    assert len(small) >= 3
    wide = np.zeros((1, 400, 400), np.uint8)
    wide[:, 150:246, 150:246] = labels
    far = np.zeros((2, 1, 400, 400), np.float32)
    far[0] = 1
    far[:, :, 150:246, 150:246] = p
    large = look(far, wide)
    assert [(s.kind, s.voxels) for s in small] == [(s.kind, s.voxels) for s in large]
    np.testing.assert_allclose([s.score for s in small], [s.score for s in large], atol=1e-9)


def test_ignored_voxels_say_nothing():
    labels = plate(100)
    seen = labels.copy()
    extra = disc(labels.shape, (0, 30, 80), 5)
    seen[extra] = 1
    ignored = labels.copy()
    ignored[disc(labels.shape, (0, 30, 80), 9)] = IGNORE
    assert look(predict(seen), ignored) == ()
    # Where half of an outline is ignored, the other half alone is judged.
    component = np.zeros((1, 64, 64), np.uint8)
    component[disc(component.shape, (0, 32, 32), 8)] = 1
    half = component.copy()
    half[0, :, 32:][component[0, :, 32:] == 0] = IGNORE
    grown = np.zeros_like(component)
    grown[0, :, :32] = component[0, :, :32]
    grown[disc(component.shape, (0, 32, 32), 12)] = 1
    grown[0, :, :32] = component[0, :, :32]
    [drawn] = [
        s
        for s in collect_evidence(predict(grown), half, ONE, {}, case_id="c", scorer="s")
        if s.side == "drawn"
    ]
    assert drawn.moved < 0.1


def test_a_timid_model_calls_nothing_spurious_with_certainty():
    """One that sees every second object: not seeing another says little."""
    found = []
    for seed in range(12):
        labels = plate(seed)
        visible = labels if seed % 2 else np.zeros_like(labels)
        p = predict(visible, seed=seed)
        found += collect_evidence(p, labels, ONE, {}, case_id=f"c{seed}", scorer="fold 1")
    timid = judge(found, ONE)
    assert {s.kind for s in timid} == {"spurious label"}
    assert max(s.score for s in timid) < 0.5
    labels = plate(100)
    [alone] = look(predict(np.zeros_like(labels)), labels)[:1]
    assert alone.score > 0.7


def test_a_bold_model_calls_nothing_missed_with_certainty():
    """One that raises as many false alarms as it finds objects."""
    found = []
    for seed in range(12):
        labels = plate(seed)
        shown = labels | np.roll(plate(seed + 50), 3, axis=2)
        found += collect_evidence(
            predict(shown, seed=seed), labels, ONE, {}, case_id=f"c{seed}", scorer="fold 1"
        )
    missed = [s for s in judge(found, ONE) if s.kind == "missed object"]
    assert len(missed) > 10
    assert np.median([s.score for s in missed]) < 0.6


def test_each_network_is_measured_by_its_own_sureness():
    """Ten times the log-odds is not ten times the doubt, where they are always so large."""
    scores = []
    for factor in (1.0, 8.0):
        found = []
        for seed in range(13):
            labels = plate(seed)
            seen = labels.copy()
            if seed == 12:
                seen[0, 26:36, 70:80] = 1
            p = predict(seen, seed=seed, sure=0.9).astype(np.float64)
            odds = np.log(p[1] / p[0]) * factor
            on = 1 / (1 + np.exp(-odds))
            found += collect_evidence(
                np.stack([1 - on, on]).astype(np.float32),
                labels,
                ONE,
                {},
                case_id=f"c{seed}",
                scorer="fold 1",
            )
        [suspect] = judge(found, ONE)
        scores.append(suspect.score)
    assert scores[0] == pytest.approx(scores[1], abs=0.02)


def test_volumes_are_measured_in_millimetres():
    spacing = (5.0, 1.0, 1.0)
    shape = (8, 64, 64)

    def ball(z, y, x, radius):
        grid = np.indices(shape)
        square = sum(
            ((axis - at) * step) ** 2
            for axis, at, step in zip(grid, (z, y, x), spacing, strict=True)
        )
        return square <= radius**2

    labels = np.zeros(shape, np.uint8)
    labels[ball(3, 20, 20, 8)] = 1
    seen = labels.copy()
    extra = ball(5, 45, 45, 7)
    seen[extra] = 1
    found = []
    for seed in range(8):
        found += collect_evidence(
            predict(labels, seed=seed),
            labels,
            ONE,
            {},
            case_id=f"f{seed}",
            scorer="s",
            spacing=spacing,
        )
    odd = collect_evidence(
        predict(seen), labels, ONE, {}, case_id="odd", scorer="s", spacing=spacing
    )
    [missed] = judge([*found, *odd], ONE)
    assert missed.kind == "missed object"
    assert missed.plane == 5
    assert missed.box[0] == (4, 7)
    [drawn] = [s for s in odd if s.side == "drawn"]
    # The radius of the ball of that volume in mm, less what the coarse axis rounds.
    assert drawn.reach == pytest.approx(np.cbrt(3 * drawn.voxels * 5 / 4 / np.pi) / 3)
    # A step of one coarse slice moves it further than one of one voxel in the plane.
    moved = []
    for axis in (0, 2):
        p = predict(np.roll(labels, 1, axis=axis))
        [component] = [
            s
            for s in collect_evidence(p, labels, ONE, {}, case_id="c", scorer="s", spacing=spacing)
            if s.side == "drawn"
        ]
        moved.append(component.moved)
    assert moved[0] > 1.5 * moved[1]


def test_points_cut_and_a_gate_does_not_hide_a_place():
    labels = np.zeros((1, 64, 64), np.uint8)
    seen = disc(labels.shape, (0, 30, 30), 5).astype(np.uint8)
    p = predict(seen, sure=0.6)
    high = OperatingPoint("object", threshold=0.9)
    gated = OperatingPoint("object", threshold=0.3, gate=0.999)
    assert collect_evidence(p, labels, ONE, {"object": high}, case_id="c", scorer="s") == ()
    [found] = collect_evidence(p, labels, ONE, {"object": gated}, case_id="c", scorer="s")
    assert found.cut == 0.3
    small = replace(default_point("object"), smallest_component=200)
    assert collect_evidence(p, labels, ONE, {"object": small}, case_id="c", scorer="s") == ()


def test_annotators_and_what_mining_set_aside_are_told_and_change_no_score():
    labels = plate(100)
    extra = disc(labels.shape, (0, 30, 80), 5)
    p = predict(labels)
    labels[extra] = 1
    without = labels.copy()
    without[extra] = 0
    part = without.copy()
    part[0, 25:28][extra[0, 25:28]] = 1
    [plain] = look(p, labels)
    aside = [
        SetAside(((0, 1), (30, 31), (80, 81)), "object", "background"),
        SetAside(((0, 1), (0, 4), (0, 4)), "object", "background"),
    ]
    [told] = look(p, labels, annotations=[labels, without, part], aside=aside)
    assert "1 of 3 annotators drew it" in told.reason
    assert (plain.aside, told.aside) == (False, True)
    assert (told.score, told.id) == (plain.score, plain.id)
    # One that was taken for something, not drawn as something, is about another component.
    other = [SetAside(((0, 1), (30, 31), (80, 81)), "background", "object")]
    assert not look(p, labels, aside=other)[0].aside


def test_who_scored_a_held_out_case_is_said():
    labels = plate(100)
    found = [
        *usual(),
        *collect_evidence(
            predict(np.zeros_like(labels)), labels, ONE, {}, case_id="odd", scorer="all"
        ),
    ]
    said = judge(found, ONE, ensemble="all")
    assert len(said) == 3
    assert all("held-out case" in s.reason for s in said)
    assert not any("held-out case" in s.reason for s in judge(found, ONE))


def test_ids_are_one_for_each_suspect_and_stay():
    labels = plate(100)
    p = predict(np.zeros_like(labels))
    first, again = look(p, labels), look(p, labels)
    assert first == again
    assert len({suspect.id for suspect in first}) == len(first) == 3


def test_evidence_comes_back_from_json():
    import json
    from dataclasses import asdict

    labels = plate(3)
    for evidence in collect_evidence(
        predict(labels), labels, ONE, {}, case_id="c", scorer="s", annotations=[labels]
    ):
        assert ComponentEvidence.from_dict(json.loads(json.dumps(asdict(evidence)))) == evidence


def test_shapes_that_differ_are_refused():
    labels = plate(3)
    with pytest.raises(ScoreError, match=r"Case 'c' has .* original grid"):
        collect_evidence(predict(labels), labels[:, :9], ONE, {}, case_id="c", scorer="s")
