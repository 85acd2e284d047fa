"""Findings from masks alone: islands, frames, parts, values, annotators."""

from dataclasses import replace

import numpy as np
import PIL.Image

from rareseg.data.checks.fingerprint import CaseFacts
from rareseg.data.records import Case, Dataset
from rareseg.quality.audit.backgrounds import Tiles
from rareseg.quality.audit.case_features import CaseFeatures
from rareseg.quality.audit.finding import Move
from rareseg.quality.audit.label_findings import (
    annotator_findings,
    nesting_findings,
    outline_findings,
    shape_findings,
    value_findings,
)
from rareseg.quality.audit.placement import MaskFit, MisplacedMasks
from rareseg.quality.audit.shapes import NestedRegions, Shapes
from rareseg_runner.image_records import Classes

PLACE = ((0, 1), (3, 4), (5, 6))
TWO = Classes(("background", "a", "b"), (0, 1, 2), {"a": (1,), "b": (2,)})
USUAL = Shapes({"a": (50,)}, 1, 50.0, 0, 0, (), 0, (), (), ())
NO_TILES = Tiles(np.zeros((0, 7), np.float32), ())


def features(shapes):
    return {
        f"c{k}": CaseFeatures(f"c{k}", "", own, None, NO_TILES, None)
        for k, own in enumerate(shapes)
    }


def names(findings):
    return [finding.name for finding in findings]


def test_clean_masks_and_none_say_nothing():
    assert shape_findings(features([USUAL] * 5)) == []
    assert shape_findings(features([replace(USUAL, n_objects=0, usual_size=0.0)])) == []
    assert shape_findings({}) == []


def test_islands_holes_frames_and_cut_objects_are_counted():
    odd = replace(USUAL, n_islands=2, islands=(PLACE,) * 2, n_objects=3)
    found = shape_findings(
        features(
            [
                USUAL,
                odd,
                replace(odd, n_islands=1, islands=(PLACE,)),
                replace(USUAL, n_holes=1, holes=(PLACE,), n_cut=1, frame=(PLACE,)),
            ]
        )
    )
    assert names(found) == ["one-voxel-islands", "small-holes", "drawn-frames", "touching-border"]
    assert found[0].text.startswith("3 islands of one voxel among 8 objects of usually 50 voxels")
    assert found[0].cases == ("c1", "c2")
    assert found[3].text.startswith("1 of 8 objects (12 %)")


def test_where_objects_are_tiny_single_voxels_are_no_islands():
    tiny = replace(USUAL, usual_size=3.0, n_islands=4, islands=(PLACE,) * 4)
    assert shape_findings(features([tiny] * 5)) == []


def test_parts_are_odd_only_where_nearly_all_others_are_not():
    def case(n_parts, n_bare):
        return replace(USUAL, nested=(NestedRegions("whole", "core", n_parts, (PLACE,) * n_bare),))

    (finding,) = nesting_findings(features([case(10, 0), case(10, 0), case(10, 1)]))
    assert finding.name == "parts-outside-their-whole"
    assert finding.cases == ("c2",)
    assert nesting_findings(features([case(10, 5), case(10, 5)])) == []
    assert nesting_findings(features([case(4, 1)])) == []


def test_outlines_are_told_apart_by_what_happened_to_them():
    moves = {
        "a": MaskFit(5.0, Move((0, 3, 0))),
        "b": MaskFit(6.0, Move(flips=(1,))),
        "c": MaskFit(7.0, Move((0, 0, 9))),
    }
    flipped, shifted = outline_findings(MisplacedMasks(moves, n_judged=40, aligned=0.9))
    assert (flipped.name, flipped.cases) == ("flipped-masks", ("b",))
    assert (shifted.name, shifted.cases) == ("shifted-masks", ("c", "a"))
    assert "2 masks of 40" in shifted.text
    assert outline_findings(MisplacedMasks({})) == []
    (whole,) = outline_findings(MisplacedMasks({}, Move(transposed=True), n_judged=30))
    assert whole.name == "flipped-masks"
    assert "y and x exchanged" in whole.text


def fact(name, a, b, group=None):
    voxels = (10000 - a - b, a, b)
    extent = (1, 100, 100), (1.0, 1.0, 1.0)
    return CaseFacts(name, group, None, *extent, 2, 1, "uint8", voxels, 0, (), "")


def test_a_value_that_hardly_occurs_strays_unless_it_is_declared(tmp_path):
    facts = [fact(f"c{k}", 800, 0) for k in range(60)] + [fact("odd", 800, 3)]
    dataset = Dataset(tmp_path, "folders", ())
    (finding,) = value_findings(dataset, facts, TWO)
    assert finding.name == "stray-values"
    assert finding.cases == ("odd",)
    assert "The mask value 2 occurs in 1 case (odd) and 3 voxels alone" in finding.text
    declared = replace(dataset, labels={"a": 1, "b": 2})
    assert names(value_findings(declared, facts, TWO)) == ["class-in-few-groups"]


def test_a_class_in_two_groups_cannot_be_learned_chosen_and_judged(tmp_path):
    dataset = Dataset(tmp_path, "folders", ())
    facts = [fact(f"c{k}", 800, 500 * (k < 6), f"g{k // 3}") for k in range(30)]
    (finding,) = value_findings(dataset, facts, TWO)
    assert (finding.name, len(finding.cases)) == ("class-in-few-groups", 6)
    facts = [fact(f"c{k}", 800, 500 * (k < 9), f"g{k // 3}") for k in range(30)]
    assert value_findings(dataset, facts, TWO) == []


def test_a_class_that_one_annotator_alone_draws(tmp_path):
    for name, values in {"one": (1,), "both": (1, 2), "bad": None}.items():
        if values is None:
            (tmp_path / "bad.png").write_bytes(b"no picture")
            continue
        mask = np.zeros((10, 10), np.uint8)
        mask[0, : len(values)] = values
        PIL.Image.fromarray(mask).save(tmp_path / f"{name}.png")
    one, both, bad = (tmp_path / f"{name}.png" for name in ("one", "both", "bad"))

    def case(name, ann, bob):
        return Case(name, (), None, annotations=(("ann", ann), ("bob", bob)))

    cases = [case("x", both, one), case("y", both, one), case("z", one, None), case("w", bad, one)]
    (finding,) = annotator_findings(cases, TWO)
    assert finding.name == "class-by-one-annotator"
    assert finding.cases == ("x", "y")
    assert finding.text.startswith("ann draws b in 2 cases (x, y) that bob looked at")
    assert annotator_findings([case("x", both, both), case("y", both, one)], TWO) == []
    assert annotator_findings([Case("x", (), None)], TWO) == []
