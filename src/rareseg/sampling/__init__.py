"""Where to look: pools of voxels, mixtures over them, patches and their augmentation."""
