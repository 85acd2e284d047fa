"""Telling what lies in windows."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rareseg.sampling.pools.window_contents import FOREGROUND, ClassSelection, window_runs
from rareseg.sampling.pools.windows import BORDERS, Border, corners
from rareseg_runner.image_records import IGNORE


@settings(max_examples=300, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 5), st.integers(1, 7), st.integers(1, 9)),
    patch=st.tuples(st.integers(1, 8), st.integers(1, 8), st.integers(1, 12)),
    border=st.sampled_from(BORDERS),
    wanted=st.sampled_from(
        [
            FOREGROUND,
            ClassSelection(0),
            ClassSelection(1),
            ClassSelection(2),
            ClassSelection(1, others=True),
        ]
    ),
    at_least=st.sampled_from([1, 1, 2, 3, 10, 1000]),
    share=st.sampled_from([0.0, 0.0, 0.07, 0.1, 0.25, 0.5, 1.0]),
    centre=st.sampled_from([None, None, 0, 1]),
    negate=st.booleans(),
    # Of background, of the classes 1 and 2, and of what is not known.
    weights=st.sampled_from(
        [(8, 1, 1, 0), (8, 0, 0, 2), (60, 1, 0, 1), (1, 1, 1, 1), (0, 0, 0, 1)]
    ),
    seed=st.integers(0, 1000),
)
def test_runs_are_those_of_every_window(
    shape: tuple[int, int, int],
    patch: tuple[int, int, int],
    border: Border,
    wanted: ClassSelection,
    at_least: int,
    share: float,
    centre: int | None,
    negate: bool,
    weights: tuple[int, ...],
    seed: int,
) -> None:
    """Against a look into the window of every single voxel."""
    probabilities = np.array(weights) / sum(weights)
    label = np.random.default_rng(seed).choice([0, 1, 2, IGNORE], shape, p=probabilities)
    label = label.astype(np.uint8)
    expected = []
    for place, voxel in enumerate(np.ndindex(shape)):
        first = corners(np.array(voxel), np.array(shape), patch, border)
        window = label[tuple(slice(max(c, 0), c + n) for c, n in zip(first, patch, strict=True))]
        known = window[window != IGNORE]
        held = int(((known != wanted.index) if wanted.others else (known == wanted.index)).sum())
        holds = held >= at_least and held / max(1, known.size) >= share
        is_centre = label[voxel] != IGNORE if centre is None else label[voxel] == centre
        if is_centre and holds != negate:
            expected.append(place)
    starts, lengths = window_runs(
        label, patch, border, wanted, at_least=at_least, share=share, centre=centre, negate=negate
    )
    found = [place for s, n in zip(starts, lengths, strict=True) for place in range(s, s + n)]
    assert found == expected
    assert (starts[1:] > (starts + lengths)[:-1]).all()  # none touch


def test_a_share_is_not_lost_to_binary_fractions() -> None:
    """0.07 · 100 is 7.000000000000001 in binary; 7 voxels of 100 are 7 % all the same."""
    label = np.zeros((1, 10, 10), np.uint8)
    label[0, 0, :7] = 1
    starts, lengths = window_runs(label, (1, 19, 19), "background", FOREGROUND, share=0.07)
    middle = 55
    assert ((starts <= middle) & (middle < starts + lengths)).any()
