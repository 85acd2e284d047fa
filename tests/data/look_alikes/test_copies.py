"""Copies of one thing are told from different things of one kind, and chains unite no line."""

from itertools import combinations

import numpy as np
import PIL.Image
import pytest
from scipy import ndimage

from rareseg.data.checks.fingerprint import inspect_dataset
from rareseg.data.dataset import open_dataset
from rareseg.data.look_alikes import propose_groups
from rareseg.data.look_alikes.copies import MOST_OF_ONE, find_copies
from rareseg.data.look_alikes.groups import clusters
from rareseg.data.records import Case

LEAST = 0.72


def told(similarity, units=None, closest=16):
    """Return the copies among the ``closest`` pairs of every case, of a matrix of similarities."""
    count = len(similarity)
    near = np.argsort(2 * np.eye(count) - similarity, 1)[:, :closest]
    pairs = sorted({tuple(sorted((i, int(j)))) for i in range(count) for j in near[i] if i != j})
    listed = [(i, j, similarity[i, j]) for i, j in pairs if similarity[i, j] >= LEAST]
    copies = find_copies(
        listed,
        range(count) if units is None else units,
        least=LEAST,
        measure=lambda asked: [similarity[i, j] for i, j in asked],
    )
    return copies, {(i, j) for i, j, _ in listed}


def a_line(count, seed, middle=1.4, deviation=0.15):
    """Similarities of different parts of one kind: normal on Fisher's scale."""
    z = np.random.default_rng(seed).normal(middle, deviation, (count, count))
    return np.tanh((z + z.T) / 2**0.5 - middle * (2**0.5 - 1))


def test_in_a_production_line_only_what_stands_out_is_a_copy():
    similarity = a_line(150, 0)
    for i, j in ((3, 90), (10, 11)):
        similarity[i, j] = similarity[j, i] = 0.998
    copies, listed = told(similarity)
    assert copies > {(3, 90), (10, 11)}
    assert len(copies) <= 5
    assert len(listed) > 1000


@pytest.mark.parametrize("count", [100, 400])
def test_fewer_than_one_in_1000_pairs_of_different_parts_are_copies(count):
    found = [len(told(a_line(count, seed))[0]) for seed in range(20)]
    assert np.mean(found) / (count * (count - 1) / 2) < 1e-3
    assert np.mean(found) / count < 0.1


def test_a_chain_does_not_become_one_group():
    """Each picture overlaps the next, as on a conveyor belt; no two others are alike."""
    similarity = np.full((300, 300), 0.1)
    for k in range(299):
        similarity[k, k + 1] = similarity[k + 1, k] = 0.9
    copies, listed = told(similarity, closest=3)
    assert len(listed) == 299
    assert np.bincount(clusters(300, copies)).max() <= MOST_OF_ONE


def test_views_of_one_thing_are_copies_in_many_sets():
    similarity = np.full((120, 120), 0.2)
    views = [range(6 * k, 6 * k + 6) for k in range(20)]
    for own in views:
        similarity[np.ix_(own, own)] = 0.85
    copies, _ = told(similarity)
    assert copies == {pair for own in views for pair in combinations(own, 2)}


def test_a_group_of_many_views_is_one_thing_and_its_pairs_are_copies():
    similarity = np.full((100, 100), 0.2)
    similarity[:90, :90] = 0.8
    units = [0] * 90 + list(range(1, 11))
    copies, listed = told(similarity, units)
    assert copies == listed


def test_of_no_pairs_none_is_a_copy():
    assert find_copies([], [], least=LEAST, measure=list) == set()
    assert find_copies([], [0, 1, 2], least=LEAST, measure=list) == set()


def test_pictures_of_a_line_stay_apart_and_a_brightened_copy_is_found(tmp_path):
    """80 parts of one drawing, each with its own grain, and as many pictures of other things."""

    def grain(seed):
        return ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(90, 90)), 1.0)

    drawing, cases = grain(1000), []
    parts = [150 + 200 * (drawing + 0.2 * grain(k)) for k in range(80)]
    others = [150 + 200 * grain(2000 + k) for k in range(80)]
    for k, part in enumerate([*parts, 0.8 * parts[5] + 20, *others]):
        path = tmp_path / f"{k:03d}.png"
        PIL.Image.fromarray(np.uint8(np.clip(part, 0, 255))).save(path)
        cases.append(Case(path.stem, (path,), None))
    fingerprint = inspect_dataset(open_dataset(cases), jobs=1)
    assert {(p.a, p.b) for p in fingerprint.copies_across_groups} == {("005", "080")}
    n_of_a_kind = len(fingerprint.look_alikes) - 1
    assert n_of_a_kind > 100
    assert any(
        f"{n_of_a_kind} pairs of images look alike as different things of one kind" in str(warning)
        for warning in fingerprint.warnings
    )
    groups = propose_groups(cases, fingerprint.look_alikes)
    assert len(set(groups.values())) == 160
