"""Pasting: rare objects are copied from training cases into other windows of a batch.

In go a batch as the sampler cuts it, and a seed. Out come images and labels, and a count of what
was pasted. Imports `sampler`, `patches` and `pools`.
"""
