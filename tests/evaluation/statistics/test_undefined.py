from __future__ import annotations

import json

import pytest

from rareseg.evaluation.statistics.undefined import (
    Undefined,
    count_defined,
    format_value,
    mean_of_defined,
    ratio,
    value_from_json,
    value_to_json,
)

NOTHING = Undefined("nothing is predicted")


def test_a_ratio_without_denominator_is_undefined():
    assert ratio(0, 0, undefined="nothing is predicted") == NOTHING
    assert ratio(1, 4, undefined="never") == 0.25


def test_means_leave_undefined_values_out_and_can_say_how_many():
    assert mean_of_defined([1.0, NOTHING, 0.0], undefined="no case") == 0.5
    assert count_defined([1.0, NOTHING, 0.0]) == 2
    assert mean_of_defined([NOTHING], undefined="no case") == Undefined("no case")


@pytest.mark.parametrize("value", [0.8125, NOTHING])
def test_values_survive_json(value):
    assert value_from_json(json.loads(json.dumps(value_to_json(value)))) == value


def test_values_are_readable():
    assert format_value(0.8125) == "0.812"
    assert format_value(NOTHING) == "undefined (nothing is predicted)"
