"""Masks that are not one file of mask values: one file for each class or object, drawings.

In goes what a layout knows of a case's mask. Out comes a `MaskSource` that reads it. Imports
`formats` and the records.
"""
