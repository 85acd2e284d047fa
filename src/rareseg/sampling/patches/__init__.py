"""Patches: from pools to positions, and from positions to batches.

In go a mixture and a generator. Out come `Places`, the `Batch` cut at them, and an account of what
they held. Imports `pools` and `strategies`.
"""
