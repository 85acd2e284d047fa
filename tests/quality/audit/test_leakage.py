"""What pairs mean: which leak, which contradict, and what is only worth a look."""

from rareseg.data.checks.fingerprint import CaseFacts
from rareseg.data.look_alikes import LookAlike
from rareseg.quality.audit.leakage import find_pair_facts, group_findings, leak_findings

NAMES = ("background", "spot")


def fact(name, group=None, role=None, positive=True):
    return CaseFacts(
        name, group, role, (1, 64, 64), (1.0, 1.0, 1.0), 2, 1, "uint8",
        (4000, 96 * positive), 0, (), "",
    )  # fmt: skip


def said(facts, pairs, roles=None, *, copy=True):
    known = {f.id: f.role for f in facts if f.role} if roles is None else roles
    alike = [LookAlike(a, b, 0.97, "as they are", copy, None) for a, b in pairs]
    similar_pairs = find_pair_facts(alike, facts, {}, known, NAMES)
    return similar_pairs, {finding.name: finding for finding in leak_findings(similar_pairs, facts)}


def test_a_pair_across_the_declared_split_must_be_fixed():
    facts = [fact("a", "p", "train"), fact("b", "q", "test")]
    similar_pairs, findings = said(facts, [("a", "b")])
    assert set(findings) == {"leak-across-splits"}
    assert findings["leak-across-splits"].stops
    assert findings["leak-across-splits"].cases == ("a", "b")
    record = similar_pairs[0].to_dict()
    assert record["crosses_groups"]
    assert record["crosses_splits"]
    assert record["roles"] == ("train", "test")


def test_a_pair_across_groups_is_worth_a_look_and_says_what_the_planned_split_does():
    facts = [fact(name) for name in "abcd"]
    roles = {"a": "train", "b": "test", "c": "train", "d": "train"}
    _, findings = said(facts, [("a", "b"), ("c", "d")], roles)
    assert set(findings) == {"look-alikes-across-groups"}
    assert "1 of them on both sides" in findings["look-alikes-across-groups"].text
    assert not findings["look-alikes-across-groups"].stops


def test_pairs_within_a_group_or_within_a_declared_role_are_no_leak():
    facts = [fact("a", "p"), fact("b", "p"), fact("c", "q", "train"), fact("d", "r", "train")]
    similar_pairs, findings = said(facts, [("a", "b"), ("c", "d")])
    assert len(similar_pairs) == 2
    assert findings == {}


def test_a_group_in_two_roles_must_be_fixed():
    facts = [fact("a", "p", "train"), fact("b", "p", "test"), fact("c", "q", "train")]
    _, findings = said(facts, [])
    assert findings["group-in-two-splits"].stops
    assert set(findings["group-in-two-splits"].cases) == {"a", "b"}


def test_different_things_of_one_kind_are_no_leak_but_are_shown():
    facts = [fact("a", "p", "train"), fact("b", "q", "test")]
    _, findings = said(facts, [("a", "b")], copy=False)
    assert set(findings) == {"look-alikes-of-one-kind"}
    assert findings["look-alikes-of-one-kind"].kind.severity == "note"
    assert findings["look-alikes-of-one-kind"].cases == ("a", "b")


def test_notes_of_groups_and_of_few_cases():
    names = [f.name for f in group_findings([fact("a"), fact("b", "p")])]
    assert names == ["ungrouped-cases", "few-cases"]
    assert group_findings([fact(f"c{k}", "p") for k in range(20)]) == []
    assert group_findings([]) == []
