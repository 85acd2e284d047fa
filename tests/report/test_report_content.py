from dataclasses import replace

import pytest

from rareseg.data.checks.fingerprint import CaseFacts, Fingerprint
from rareseg.data.checks.problems import Problem
from rareseg.data.look_alikes import LookAlike
from rareseg.errors import UsageError
from rareseg.report.report_content import (
    ClassFacts,
    Leakage,
    RoleCount,
    data_facts,
    find_leakage,
    role_counts,
)
from rareseg_runner.image_records import Classes

CLASSES = Classes(("background", "pit"), (0, 7), {"pit": (1,)})


def facts(case_id, group, voxels, shape=(1, 10, 10)):
    return CaseFacts(
        case_id, group, None, shape, (1.0, 1.0, 1.0), 2, 1, "uint8", voxels, 0, (), "00"
    )


CASES = (
    facts("a", "g1", (90, 10)),
    facts("b", "g1", (100, 0)),
    facts("c", "g2", (200, 0), (1, 10, 20)),
    facts("d", None, (99, 1)),
)
ALIKE = LookAlike("a", "c", 0.97, "as they are", copy=True, placement=None)
FINGERPRINT = Fingerprint(CASES, CLASSES, (), (Problem("data", "look"),), (ALIKE,), "0")


def test_data_facts_are_the_counts_of_the_fingerprint():
    found = data_facts(FINGERPRINT)
    assert (found.n_cases, found.n_empty, found.n_without_group) == (4, 2, 1)
    assert found.n_groups == 3  # g1, g2 and the lonely d
    assert found.classes[1] == ClassFacts("pit", 11, 11 / 500, 2)
    assert found.shapes == ((1, 10, 10), (1, 10, 20))
    assert found.regions == {"pit": ("pit",)}
    assert found.warnings == ("look",)


def test_data_facts_of_nothing_are_refused():
    with pytest.raises(UsageError, match="without a readable case"):
        data_facts(replace(FINGERPRINT, cases=()))


def test_roles_are_counted_with_their_groups():
    roles = {"a": "train", "b": "train", "d": "test"}
    assert role_counts(CASES, roles) == {"train": RoleCount(2, 1, 1), "test": RoleCount(1, 1, 1)}


def test_leakage_is_what_lies_across_roles():
    within = {"a": "train", "b": "train", "c": "train", "d": "test"}
    assert find_leakage(FINGERPRINT, within) == Leakage()
    alike = find_leakage(FINGERPRINT, {**within, "c": "test"})
    assert alike == Leakage(1, 0, "a (train) and c (test)")
    shared = find_leakage(FINGERPRINT, {**within, "b": "test"})
    assert (shared.near_duplicates, shared.shared_groups) == (0, 1)
    assert "g1" in shared.example


def test_cases_without_a_role_leak_nothing():
    assert find_leakage(FINGERPRINT, {"a": "train"}) == Leakage()


def test_the_main_label_must_be_one_of_the_scorecards(content):
    with pytest.raises(UsageError, match="did you mean 'at the chosen point'"):
        replace(content, main_label="at the chosen pint")


def test_parts_and_results_are_of_one_region(content):
    assert content.regions == ("foreground", "pit", "crack")
    assert [label for label, _ in content.parts("pit")] == ["at 0.5", "at the chosen point"]
    assert {result.region for result in content.results_of("pit")} == {"pit"}
