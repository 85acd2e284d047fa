"""Measures: what is counted of each case, and how it is summed up in a scorecard.

In go masks and tables of cases. Out come `CaseResult` and `Scorecard`; every number has its entry
in the measure table. Imports `metrics`, `tables` and `statistics`.
"""
