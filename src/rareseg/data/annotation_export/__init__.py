"""Files of annotation tools: objects on pictures as outlines, run lengths and segments.

In go pictures with named objects (:mod:`~rareseg.data.annotation_export.annotated`); out come
COCO, YOLO, GeoJSON and LabelMe files and 3D Slicer's .seg.nrrd. Imports `masks`,
`formats` and the records.
"""
