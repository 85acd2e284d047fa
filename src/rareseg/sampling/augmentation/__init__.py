"""Augmentation of batches: a plan is drawn, then applied.

In go windows and the recipe's section `augmentation`. Out come patches. Imports `patches` and
`pools`; a loop may use it without a sampler.
"""
