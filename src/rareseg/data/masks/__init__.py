"""Masks that are not one file of mask values: one file for each class or object, drawings.

Beside them stand outlines and run lengths, to pixels and back. In goes what a layout knows of a
case's mask. Out comes a `MaskSource` that reads it. Imports `formats` and the records.
"""
