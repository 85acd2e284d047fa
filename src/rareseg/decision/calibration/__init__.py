"""Calibration: scores as probabilities, and what an alarm is worth at another prevalence.

In go score tables. Out come a slope and a bias, and predictive values. Imports `guarantees` for
the losses of groups.
"""
