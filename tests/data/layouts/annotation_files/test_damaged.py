"""Damaged annotation files give a sentence or a data set, never an error of Python's own."""

import json
import random

import pytest

from rareseg.data.checks.case_checks import examine
from rareseg.data.dataset import open_dataset
from rareseg.errors import RaresegError

TEXTS = (".json", ".txt", ".xml", ".csv", ".yaml")
STRANGE = (None, "x", "", -1, 0, 10**30, 1.5, float("nan"), float("inf"), [], {}, [[]], [1], True)
ROUNDS = 25


def places(value, path=()):
    """Yield the path of everything in a JSON value."""
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list):
        for k in range(min(len(value), 6)):
            yield from places(value[k], (*path, k))


def exchanged(text, rng):
    """Return JSON in which one thing is something else."""
    content = json.loads(text)
    path = rng.choice([path for path in places(content) if path])
    inner = content
    for key in path[:-1]:
        inner = inner[key]
    if rng.random() < 0.2 and isinstance(inner, dict):
        del inner[path[-1]]
    else:
        inner[path[-1]] = rng.choice(STRANGE)
    return json.dumps(content).encode()


def damaged(content, suffix, rng):
    kind = rng.randrange(4)
    if kind < 2 and suffix == ".json":
        return exchanged(content.decode(), rng)
    at = rng.randrange(len(content))
    if kind == 0:
        return content[:at]
    if kind == 1:
        return content[:at] + bytes([rng.randrange(256)]) + content[at + 1 :]
    if kind == 2:
        return (
            content[:at]
            + rng.choice((b"-", b"1e999", b"nan", b"9" * 30, b",", b'"', b"<"))
            + content[at:]
        )
    return content[:at] + content[at + rng.randrange(1, 9) :]


def test_damage_is_a_sentence_or_a_data_set(written, scenes, tmp_path):
    written.writer(tmp_path, scenes)
    paths = [p for p in tmp_path.rglob("*") if p.suffix in TEXTS and p.stat().st_size]
    if not paths:
        pytest.skip("this layout has no text file")
    rng = random.Random(written.layout)
    for _ in range(ROUNDS):
        path = rng.choice(sorted(paths))
        whole = path.read_bytes()
        path.write_bytes(damaged(whole, path.suffix, rng))
        for layout in (None, written.layout):
            said = problems_of(tmp_path, layout)
            assert all(20 < len(text) < 900 for text in said)
        path.write_bytes(whole)
    assert problems_of(tmp_path, written.layout) == []


def problems_of(root, layout):
    try:
        dataset = open_dataset(root, layout=layout)
    except RaresegError as error:
        return [str(error)]
    found = [text for case in dataset.cases for text in examine(case)[1]]
    return [*dataset.problems, *found]
