"""The default point: dice and alarms of groups, smoothed, and what is reached without each group.

In go tables. Out comes the point that is chosen where nothing is asked for, with its evidence.
Imports `point_search`.
"""
