"""Comparisons: paired differences of runs, strategies and seeds.

In go results of several runs on the same cases. Out come differences with intervals, and what may
be claimed. Imports `measures` and `statistics`.
"""
