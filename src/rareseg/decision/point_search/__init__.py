"""The search for a point: objectives and limits over thresholds, component sizes and gates.

In go tables. Out come sums at every point of a grid, and the best of them. Imports `evaluation`
alone.
"""
