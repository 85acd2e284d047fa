"""Send an image to a service and read the answer.

Needs httpx, and a service: rareseg serve run --port 8000

    python examples/service_client.py http://127.0.0.1:8000 photo.png
"""

from __future__ import annotations

import base64
import io
import os
import sys
from pathlib import Path

import httpx
import numpy as np
import PIL.Image


def main() -> None:
    """Print what was found in an image, and how large its masks are."""
    address, photo = sys.argv[1], Path(sys.argv[2])
    token = os.environ.get("RARESEG_TOKEN")
    with httpx.Client(
        base_url=address,
        headers={"authorization": f"Bearer {token}"} if token else {},
        timeout=60,
    ) as service:
        answer = service.post("/predict", files={"file": (photo.name, photo.read_bytes())})
    if answer.is_error:
        sys.exit(f"{answer.status_code}: {answer.json()['error']}")
    said = answer.json()
    for region, flagged in said["flagged"].items():
        png = io.BytesIO(base64.b64decode(said["masks"][region]))
        mask = np.asarray(PIL.Image.open(png)) > 0
        word = "found" if flagged else "not found"
        print(f"{region}: {word}, score {said['image_scores'][region]:.3f}, {mask.sum()} pixels")
    for one in said["objects"]:
        print(f"  {one['region']} at {one['box']}: {one['voxels']} pixels")


if __name__ == "__main__":
    main()
