"""Files of annotation tools: objects on pictures as outlines, run lengths and segments.

In go pictures with named objects (:mod:`~rareseg.data.annotation_export.annotated`); out come
COCO, YOLO, GeoJSON and LabelMe files 3D Slicer's .seg.nrrd and DICOM-SEG. Imports `masks`,
`formats` and the records.
"""
