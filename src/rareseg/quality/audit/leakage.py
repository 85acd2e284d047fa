"""Find leakage: near-duplicates across the split or across groups, and masks that differ."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rareseg.data.checks.fingerprint import CaseFacts, Fingerprint
from rareseg.data.look_alikes import IDENTICAL, LookAlike
from rareseg.data.records import Role
from rareseg.data.splits import make_split
from rareseg.errors import DataError
from rareseg.quality.audit.case_features import CaseFeatures
from rareseg.quality.audit.finding import Example, Finding, counted, some
from rareseg.quality.audit.mask_agreement import compare_masks
from rareseg.recipe.sections import SplitSection


@dataclass(frozen=True)
class LookAlikePair:
    """A pair of look-alikes with what is known of both.

    ``how`` says how they correspond, "identical" where every pixel is equal; ``copy`` whether they
    show one thing or two things of one kind, where every pair looks alike. ``roles`` are
    declared, or, where ``planned``, those that a training with the recipe's own split would give
    (``None``: no split could be planned). ``masks`` says how the masks compare: "same", "differ",
    or "not compared"; ``difference`` in words.
    """

    a: str
    b: str
    similarity: float
    how: str
    identical: bool
    copy: bool
    groups: tuple[str | None, str | None]
    roles: tuple[Role | None, Role | None]
    planned: bool
    masks: str
    difference: str

    @property
    def crosses_groups(self) -> bool:
        """Whether no known group unites the two."""
        return self.groups[0] is None or self.groups[0] != self.groups[1]

    @property
    def crosses_splits(self) -> bool:
        """Whether the two play different roles, declared or planned."""
        return None not in self.roles and self.roles[0] != self.roles[1]

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {
            **asdict(self),
            "crosses_groups": self.crosses_groups,
            "crosses_splits": self.crosses_splits,
        }


def plan_roles(fingerprint: Fingerprint) -> dict[str, Role]:
    """Return the role of every case: declared ones, and the recipe's split for all others.

    Where no split is possible, declared roles alone.
    """
    declared = {fact.id: fact.role for fact in fingerprint.cases if fact.role is not None}
    usual = SplitSection()
    shares: dict[Role, float] = {
        "train": usual.train,
        "validation": usual.validation,
        "certify": usual.certify,
        "test": usual.test,
    }
    try:
        return make_split(fingerprint, shares=shares, seed=usual.seed)
    except DataError:
        return declared


def find_pair_facts(
    pairs: Sequence[LookAlike],
    facts: Sequence[CaseFacts],
    features: Mapping[str, CaseFeatures],
    roles: Mapping[str, Role],
    names: tuple[str, ...],
) -> tuple[LookAlikePair, ...]:
    """Join what is known of both cases of every pair; ``names`` are those of the classes.

    The order of ``pairs`` is kept. Masks are compared where the two are copies of one thing and
    both cases have a miniature.
    """
    fact_of = {fact.id: fact for fact in facts}
    similar_pairs = []
    for pair in pairs:
        first, second = fact_of[pair.a], fact_of[pair.b]
        masks, difference = _compare(pair, features, names)
        similar_pairs.append(
            LookAlikePair(
                a=pair.a,
                b=pair.b,
                similarity=pair.similarity,
                how=pair.how,
                identical=pair.how == IDENTICAL,
                copy=pair.copy,
                groups=(first.group, second.group),
                roles=(roles.get(pair.a), roles.get(pair.b)),
                planned=first.role is None or second.role is None,
                masks=masks,
                difference=difference,
            )
        )
    return tuple(similar_pairs)


def _compare(
    pair: LookAlike, features: Mapping[str, CaseFeatures], names: tuple[str, ...]
) -> tuple[str, str]:
    a, b = features.get(pair.a), features.get(pair.b)
    if a is None or b is None or not pair.copy:
        return "not compared", ""
    if pair.how == IDENTICAL:
        same = a.drawn == b.drawn
        return ("same", "") if same else ("differ", "labelled differently")
    if a.miniature is None or b.miniature is None or pair.placement is None:
        return "not compared", ""
    compared = compare_masks(a.miniature, b.miniature, pair.placement, names)
    return ("differ", compared.words) if compared.differ else ("same", "")


def leak_findings(
    similar_pairs: Sequence[LookAlikePair], facts: Sequence[CaseFacts]
) -> list[Finding]:
    """Return what the pairs and the declared groups and roles mean for training."""
    findings = [*_shared_groups(facts), *_of_one_kind(similar_pairs)]
    similar_pairs = [similar for similar in similar_pairs if similar.copy]
    grouped = "group what shows the same thing (--write-manifest FILE proposes groups)"
    leaks = [t for t in similar_pairs if t.crosses_splits and not t.planned]
    if leaks:
        findings.append(
            Finding(
                "leak-across-splits",
                f"{counted(len(leaks), 'pair')} of look-alikes "
                f"{'lies' if len(leaks) == 1 else 'lie'} on both sides of the declared split "
                f"({_pair(leaks[0])}): what is measured there was learned before; give both one "
                "role.",
                _examples(leaks),
            )
        )
    same = [t for t in similar_pairs if t.identical and t.crosses_groups and t not in leaks]
    same = [t for t in same if t.planned]
    if same:
        findings.append(
            Finding(
                "identical-images",
                f"{counted(len(same), 'pair')} of images "
                f"{'is' if len(same) == 1 else 'are'} equal in every pixel and in no common group "
                f"({_pair(same[0])}), so that a split may put one on either side; remove one, or "
                f"{grouped}.",
                _examples(same),
            )
        )
    clear = {id(t) for t in (*leaks, *same)}
    across = [t for t in similar_pairs if t.crosses_groups and t.planned and id(t) not in clear]
    if across:
        torn = sum(similar.crosses_splits for similar in across)
        told = f", {torn:,} of them on both sides of the split that training would make" * bool(
            torn
        )
        findings.append(
            Finding(
                "look-alikes-across-groups",
                f"{counted(len(across), 'pair')} of images "
                f"{'looks' if len(across) == 1 else 'look'} almost alike without a common "
                f"group{told} ({_pair(across[0])}): if they show the same thing, tests are "
                f"optimistic; {grouped}.",
                _examples(sorted(across, key=lambda similar: not similar.crosses_splits)),
            )
        )
    contradicting = [t for t in similar_pairs if t.identical and t.masks == "differ"]
    if contradicting:
        findings.append(
            Finding(
                "contradicting-masks",
                f"{counted(len(contradicting), 'pair')} of images "
                f"{'is' if len(contradicting) == 1 else 'are'} equal in every pixel and labelled "
                f"differently ({_pair(contradicting[0])}): one of the masks is wrong; keep the "
                "other.",
                _examples(contradicting),
            )
        )
    differing = [t for t in similar_pairs if not t.identical and t.masks == "differ"]
    if differing:
        compared = sum(t.masks != "not compared" for t in similar_pairs)
        findings.append(
            Finding(
                "differing-masks",
                f"{counted(len(differing), 'pair')} of look-alikes, of {compared:,} compared, "
                f"{'has' if len(differing) == 1 else 'have'} masks that differ "
                f"({_pair(differing[0])}: {differing[0].difference}): see which is right, and draw "
                "the other again.",
                _examples(differing),
            )
        )
    return findings


def _of_one_kind(similar_pairs: Sequence[LookAlikePair]) -> list[Finding]:
    found = [similar for similar in similar_pairs if not similar.copy and similar.crosses_groups]
    if not found:
        return []
    return [
        Finding(
            "look-alikes-of-one-kind",
            f"{counted(len(found), 'pair')} of images {'looks' if len(found) == 1 else 'look'} "
            f"alike as different things of one kind do ({_pair(found[0])}), and "
            f"{'counts' if len(found) == 1 else 'count'} as different; if they show one thing, "
            "group them.",
            _examples(found),
        )
    ]


def _shared_groups(facts: Sequence[CaseFacts]) -> list[Finding]:
    roles: defaultdict[str, dict[Role, list[str]]] = defaultdict(dict)
    for fact in facts:
        if fact.group is not None and fact.role is not None:
            roles[fact.group].setdefault(fact.role, []).append(fact.id)
    torn = {group: found for group, found in roles.items() if len(found) > 1}
    if not torn:
        return []
    group, found = next(iter(torn.items()))
    return [
        Finding(
            "group-in-two-splits",
            f"{counted(len(torn), 'group')} {'is' if len(torn) == 1 else 'are'} declared in more "
            f"than one role (such as {group} in {' and '.join(found)}), which leaks from one into "
            "the other; give all cases of a group one role.",
            tuple(
                Example(names[0], f"group {group}: {role}")
                for group, found in torn.items()
                for role, names in found.items()
            ),
            tuple(f"{group}: {', '.join(found)}" for group, found in torn.items()),
        )
    ]


def group_findings(facts: Sequence[CaseFacts]) -> list[Finding]:
    """Return notes of cases without a group, and of too few cases to rely on."""
    findings = []
    alone = [fact.id for fact in facts if fact.group is None]
    if alone:
        findings.append(
            Finding(
                "ungrouped-cases",
                f"{len(alone):,} of {counted(len(facts), 'case')} "
                f"{'has' if len(alone) == 1 else 'have'} no known group and "
                f"{'counts' if len(alone) == 1 else 'count'} as independent ({some(alone)}); if "
                "several show one patient or object, name it with --group-from or a manifest's "
                "group column.",
            )
        )
    positive = sum(fact.is_positive for fact in facts)
    if facts and 0 < positive < 20:
        findings.append(
            Finding(
                "few-cases",
                f"{counted(positive, 'positive case')} of {len(facts):,}: numbers that rest on "
                "fewer than 20 say little, however they come out; add cases.",
            )
        )
    return findings


def _pair(similar: LookAlikePair) -> str:
    return f"{similar.a} and {similar.b}"


def _examples(similar_pairs: Sequence[LookAlikePair]) -> tuple[Example, ...]:
    return tuple(Example(similar.a, _note(similar), other=similar.b) for similar in similar_pairs)


def _note(similar: LookAlikePair) -> str:
    alike = (
        "identical" if similar.identical else f"similarity {similar.similarity:.3f}, {similar.how}"
    )
    return f"{alike}; {similar.difference}" if similar.difference else alike
