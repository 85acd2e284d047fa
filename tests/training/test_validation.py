"""What the validation cases say of a network, against masks that are cut and counted."""

import numpy as np
import pytest

from rareseg.evaluation.metrics.overlap import checkpoint_score
from rareseg.evaluation.statistics.undefined import is_defined
from rareseg.evaluation.tables.score_table import ScoreTable, score_cases
from rareseg.training.validation import ValidationResult, check

RNG = np.random.default_rng(2)
SCORES = {f"c{i}": RNG.random((1, 20, 20)).astype(np.float32) ** (1 + i) for i in range(6)}


def references(positive):
    return {
        name: ((scores > 0.7) & (i in positive)).astype(np.uint8)
        for i, (name, scores) in enumerate(SCORES.items())
    }


def test_dice_of_positives_and_alarms_of_negatives_at_one_half():
    truth = references({0, 1, 2})
    table = score_cases(SCORES, truth)
    found = check(table)
    dice, alarms = [], []
    for name, scores in SCORES.items():
        mask, reference = scores >= 0.5, truth[name] > 0
        if reference.any():
            dice.append(2 * (mask & reference).sum() / (mask.sum() + reference.sum()))
        else:
            alarms.append(mask.any())
    assert found.dice == pytest.approx(np.mean(dice))
    assert found.alarms == pytest.approx(np.mean(alarms))
    assert found.score == pytest.approx(checkpoint_score(table))
    assert found.strata == f"dice {np.mean(dice):.2f}, false alarms {np.mean(alarms):.0%} at 0.5"


def test_what_no_case_says_is_left_out():
    negatives = check(score_cases(SCORES, references(set())))
    assert not is_defined(negatives.dice)
    assert negatives.score == 0.0
    assert negatives.strata.startswith("false alarms")
    positives = check(score_cases(SCORES, references(set(range(6)))))
    assert not is_defined(positives.alarms)
    assert check(ScoreTable()).strata == ValidationResult(0.0).strata == ""
