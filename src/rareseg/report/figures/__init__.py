"""Figures and pictures: curves as Plotly dictionaries, cases and patches as images.

In go results and arrays. Out come plain dictionaries and encoded pictures. Imports `wording` for
numbers.
"""
