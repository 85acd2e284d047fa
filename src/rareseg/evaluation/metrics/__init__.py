"""Metrics: functions of masks, or of tables at every threshold.

In go arrays or tables. Out come numbers and curves: dice, FROC, ROC, surface distance,
calibration. Imports `tables` and `statistics`.
"""
