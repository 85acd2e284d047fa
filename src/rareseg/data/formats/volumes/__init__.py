"""Files with a frame in the world: NIfTI, MGH, NRRD, MetaImage, DICOM, and segmentations of Slicer.

In goes a path, out comes a canonical :class:`~rareseg.data.records.Image`; masks and probabilities
are written in the file's own frame. Imports the register, the limits and the geometry.
"""
