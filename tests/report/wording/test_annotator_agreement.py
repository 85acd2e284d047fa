"""How far annotators agree, in words that follow the numbers."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from rareseg.data.dataset import open_annotations
from rareseg.data.records import Case
from rareseg.quality.annotators import ConsensusSettings, measure_agreement, write_consensus
from rareseg.report.wording.annotator_agreement import agreement_lines, consensus_lines


def cases_of(folder, boxes, *, count=1, group=None):
    """Write cases in which annotator k drew a square of ``boxes[k]`` pixels' side; 0 is nothing."""
    cases = []
    for number in range(count):
        image = folder / f"{number}.png"
        PIL.Image.fromarray(np.zeros((30, 30), np.uint8)).save(image)
        annotations = []
        for k, side in enumerate(boxes):
            mask = np.zeros((30, 30), np.uint8)
            mask[5 : 5 + side, 5 : 5 + side] = 1
            PIL.Image.fromarray(mask).save(folder / f"{number}_{k}.png")
            annotations.append((f"n{k}", folder / f"{number}_{k}.png" if side else None))
        own = None if group is None else f"{group}{number}"
        cases.append(Case(str(number), (image,), None, own, annotations=tuple(annotations)))
    return open_annotations(cases)


@pytest.mark.parametrize(
    ("boxes", "dice", "word"),
    [((10, 10), "1.00", "good"), ((10, 8), "0.78", "fair"), ((10, 4), "0.28", "poor")],
)
def test_dice_is_called_by_name(boxes, dice, word, tmp_path):
    lines = agreement_lines(measure_agreement(cases_of(tmp_path, boxes), jobs=1))
    assert f"a dice of {dice} (fewer than 5 groups), which is {word}" in lines[1]
    assert "over 1 case (too few cases to rely on)" in lines[1]


def test_groups_take_the_assumption_away_and_twenty_cases_are_not_too_few(tmp_path):
    alone = agreement_lines(measure_agreement(cases_of(tmp_path, (9, 8), count=20), jobs=1))
    assert alone[-1].startswith("The intervals assume independent images")
    grouped = cases_of(tmp_path, (9, 8), count=20, group="p")
    lines = agreement_lines(measure_agreement(grouped, jobs=1))
    assert not any("assume" in line or "too few" in line for line in lines)
    assert "20 objects: 20 drawn by everyone who looked, 0 by one alone." in lines[4]


def test_what_the_consensus_leaves_is_said(tmp_path):
    dataset = cases_of(tmp_path, (6, 0, 0), count=12)
    out = tmp_path / "out"
    agreed = write_consensus(dataset, out, ConsensusSettings(minimum_reviews=3), jobs=1)
    lines = consensus_lines(agreed, out)
    assert "12 masks with 0 voxels of foreground; 432 voxels on which less than 0.75" in lines[0]
    assert lines[1].startswith("In 12 cases nothing of what was drawn is foreground")
    assert "No consensus mask holds foreground" in lines[2]
    assert lines[-1] == f"Train on them with: rareseg train {out}"


def test_long_lists_are_cut(tmp_path):
    dataset = cases_of(tmp_path, (6, 6), count=12)
    out = Path(tmp_path / "out")
    settings = ConsensusSettings(minimum_reviews=3, keep_few=True)
    lines = consensus_lines(write_consensus(dataset, out, settings, jobs=1), out)
    (few,) = [line for line in lines if line.startswith("Fewer than 3 reviews, kept: 0 (2), 1 (2)")]
    assert few.endswith(" and 2 more.")
