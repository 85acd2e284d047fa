"""Write drawn objects with the writers of datumaro, in an environment of its own.

    python datumaro_writers.py FOLDER

FOLDER holds pictures, ``drawn.npz`` (``masks``: picture, object, y, x; ``outlines``: picture,
object, corner, x and y) and ``writers.json`` (format, shape, how many objects a picture). Each is
written into ``FORMAT-SHAPE``.
"""

import json
import sys
from pathlib import Path

import datumaro
import numpy as np
from datumaro.components.media import Image

CLASSES = ["crack", "hole"]


def annotation(drawn: dict[str, np.ndarray], shape: str, picture: int, number: int) -> object:
    """Return one object as a polygon or a mask, of the class of its number."""
    told = {"label": number, "id": number + 1, "group": number + 1, "z_order": number}
    if shape == "polygons":
        return datumaro.Polygon(drawn["outlines"][picture, number].ravel().tolist(), **told)
    return datumaro.Mask(drawn["masks"][picture, number].astype(np.uint8), **told)


def main() -> None:
    """Write all that ``writers.json`` names."""
    folder = Path(sys.argv[1])
    drawn = dict(np.load(folder / "drawn.npz"))
    for form, shape, count in json.loads((folder / "writers.json").read_text()):
        items = [
            datumaro.DatasetItem(
                id=path.stem,
                subset="train",
                media=Image.from_file(path=str(path)),
                annotations=[annotation(drawn, shape, picture, k) for k in range(count)],
            )
            for picture, path in enumerate(sorted(folder.glob("*.png")))
        ]
        dataset = datumaro.Dataset.from_iterable(items, categories=CLASSES, media_type=Image)
        dataset.export(str(folder / f"{form}-{shape}"), form, save_media=True)


if __name__ == "__main__":
    main()
