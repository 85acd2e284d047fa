"""Layouts: how the folders and tables that people have name cases, masks and classes.

In goes a path. Out come cases and what is declared of them. Imports `formats`, `masks` and the
records. Importing this package registers the layouts, in the order in which they are tried.
"""

import rareseg.data.layouts.annotation_files.run_length_tables  # isort: skip
import rareseg.data.layouts.manifests.manifest_reading  # isort: skip
import rareseg.data.layouts.medical.datalists  # isort: skip
import rareseg.data.layouts.medical.nnunet_raw  # isort: skip
import rareseg.data.layouts.annotation_files.coco_layout  # isort: skip
import rareseg.data.layouts.annotation_files.cvat_layout  # isort: skip
import rareseg.data.layouts.annotation_files.label_studio_layout  # isort: skip
import rareseg.data.layouts.annotation_files.labelme_layout  # isort: skip
import rareseg.data.layouts.annotation_files.geojson_layout  # isort: skip
import rareseg.data.layouts.annotation_files.voc_layout  # isort: skip
import rareseg.data.layouts.annotation_files.roboflow_masks  # isort: skip
import rareseg.data.layouts.annotation_files.yolo_layout  # isort: skip
import rareseg.data.layouts.folders.cityscapes  # isort: skip
import rareseg.data.layouts.folders.industrial  # isort: skip
import rareseg.data.layouts.folders.slice_folders  # isort: skip
import rareseg.data.layouts.folders.image_folders  # isort: skip
import rareseg.data.layouts.folders.case_folders  # isort: skip
import rareseg.data.layouts.folders.image_with_mask  # isort: skip
import rareseg.data.layouts.folders.side_by_side  # noqa: F401 - importing registers the layouts
from rareseg.data.layouts.file_tree import FileTree
from rareseg.data.layouts.layout_registry import Layout, Recognised, layouts, recognise, register
from rareseg.data.layouts.listing import Listing, group_channels

__all__ = [
    "FileTree",
    "Layout",
    "Listing",
    "Recognised",
    "group_channels",
    "layouts",
    "recognise",
    "register",
]
