"""Formats of volumes in a patient's space: NIfTI, MGH, NRRD, MetaImage, DICOM, 3D Slicer.

In goes a path, out comes a canonical :class:`~rareseg.data.records.Image`; masks and probabilities
are written in the file's own frame. Imports the register, the limits and the geometry.
"""
