"""Calibration: scores as probabilities, and predictive values at another prevalence.

In go score tables. Out come a slope and a bias, and predictive values. Imports `guarantees` for
the losses of groups.
"""
