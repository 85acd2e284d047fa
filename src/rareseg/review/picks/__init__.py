"""Label images that were drawn at random, before any prediction of them is shown.

In goes the folder that `monitor --label` wrote; out come answers beside its manifest.
"""
