"""Pools: exact sets of voxels over all cases of a store.

In go the store's labels, and probabilities where voxels are judged. Out come pools that voxels
are drawn from, and counts of what windows hold. Imports `data` alone.
"""
