"""Weights that come from elsewhere: read, matched by name to a network's own, and their licences.

Files of weights in, tensors and an account of what was taken out; notices of their licences for a
bundle, which ``prediction.bundle`` writes; weights are read from other bundles too.
"""
