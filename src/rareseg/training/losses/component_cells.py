"""Assign every voxel of a patch to the nearest component of a region."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from rareseg.sampling.patches.window_components import Components


@dataclass(frozen=True, eq=False)
class Cells:
    """The S cells of one region in those n of B patches that hold any of it, on the CPU.

    ``patches`` (n,) int64 are their indices in the batch, ``cell`` (n, *patch) int64 the cell of
    each voxel, 0…S − 1. ``row`` (S,) int64 is the index into ``patches`` of the patch that a cell
    lies in, ``whole`` (S,) float64 how many voxels its component would have there as a whole.
    """

    patches: Tensor
    cell: Tensor
    row: Tensor
    whole: Tensor


def find_cells(components: Components, region: int) -> Cells | None:
    """Return the cells of a region, or None where no patch holds a component of it.

    Distances are Euclidean, between voxels and counted in voxels of the patch: the cells are those
    of CC-Metrics (Jaus et al., arXiv 2410.18684). A patch with a single component is one cell.
    """
    pieces = components.pieces.numpy()
    component = components.component[:, region].numpy()
    whole, magnified = components.whole.numpy(), components.magnified.numpy()
    patches: list[int] = []
    cells, rows, wholes = [], [], []
    before = 0
    for patch, held in enumerate(pieces):
        there = np.bincount(held.reshape(-1), minlength=len(component)) > 0
        own = np.unique(component[there])
        own = own[own > 0]
        if not len(own):
            continue
        if len(own) == 1:
            cell = np.zeros(held.shape, np.int64)
        else:
            number = np.zeros(len(component), np.int64)
            of_region = np.flatnonzero(there & (component > 0))
            number[of_region] = np.searchsorted(own, component[of_region]) + 1
            cell = _nearest(number[held]) - 1
        rows.append(np.full(len(own), len(patches)))
        wholes.append(whole[own] * magnified[patch])
        patches.append(patch)
        cells.append(cell + before)
        before += len(own)
    if not patches:
        return None
    return Cells(
        patches=torch.tensor(patches),
        cell=torch.from_numpy(np.stack(cells)),
        row=torch.from_numpy(np.concatenate(rows)),
        whole=torch.from_numpy(np.concatenate(wholes)),
    )


def _nearest(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for every voxel the number of the nearest voxel that has one, other than 0."""
    places = distance_transform_edt(numbers == 0, return_distances=False, return_indices=True)
    nearest: NDArray[np.int64] = numbers[tuple(places)]
    return nearest
