"""Sampling: pools of voxels, strategies, mining, patches and their augmentation."""
