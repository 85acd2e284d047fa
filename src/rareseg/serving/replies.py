"""Say in JSON what was found in an image."""

from __future__ import annotations

import base64
import io
from typing import Any, Literal

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from rareseg.data.masks.mask_run_lengths import compress_counts, encode_counts
from rareseg_runner.decision.detection import Detection

MaskForm = Literal["png", "rle", "none"]


def found_reply(found: Detection, masks: MaskForm) -> dict[str, Any]:
    """Return what was found as JSON values.

    ``masks`` by region: as PNG (0 and 255) in base64, of a volume one for each slice; as COCO's run
    lengths, which pycocotools decodes, of a volume one for each slice; or left out.
    """
    reply: dict[str, Any] = {
        "flagged": found.flagged,
        "image_scores": dict(found.image_scores),
        "objects": [
            {
                "region": one.region,
                "number": one.number,
                "box": [list(side) for side in one.box],
                "centre": list(one.centre),
                "voxels": one.voxels,
                "top_score": one.top_score,
                "mean_score": one.mean_score,
            }
            for one in found.objects
        ],
        "shape": list(found.label_map.shape),
        "spacing_mm": list(found.image.geometry.spacing),
        "remarks": list(found.remarks),
    }
    if masks != "none":
        write = _png if masks == "png" else _run_lengths
        reply["masks"] = {
            region: write(mask) if mask.ndim == 2 else [write(plane) for plane in mask]
            for region, mask in found.masks.items()
        }
    return reply


def _png(mask: NDArray[np.bool_]) -> str:
    with io.BytesIO() as stream:
        PIL.Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).save(stream, format="PNG")
        return base64.b64encode(stream.getvalue()).decode("ascii")


def _run_lengths(mask: NDArray[np.bool_]) -> dict[str, Any]:
    return {"size": list(mask.shape), "counts": compress_counts(encode_counts(mask))}
