"""Scores and masks that another tool wrote, and its scores of whole images.

In go folders and tables of another tool. Out come arrays on the grid of each case. Imports `store`
for resampling, `formats` and the records.
"""
