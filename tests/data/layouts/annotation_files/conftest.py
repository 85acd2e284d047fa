"""Six pictures with two classes, and writers of every layout of annotation files."""

import base64
import io
import json
from dataclasses import dataclass, field

import numpy as np
import pytest
from PIL import Image as Picture

from rareseg.data.masks.mask_run_lengths import encode_counts, encode_pairs
from rareseg.data.masks.polygons import one_ring, trace_polygons

CLASSES = ("crack", "hole")


@dataclass
class Scene:
    """A picture (y, x, 3) and where each class is on it; nothing of both is a negative."""

    name: str
    image: np.ndarray
    crack: np.ndarray
    hole: np.ndarray
    split: str = "train"

    @property
    def height(self):
        return len(self.crack)

    @property
    def width(self):
        return self.crack.shape[1]

    @property
    def objects(self):
        """(class, mask) of each connected object, later ones on top."""
        from scipy.ndimage import label

        found = []
        for name in CLASSES:
            numbered, count = label(getattr(self, name))
            found += [(name, numbered == k) for k in range(1, count + 1)]
        return found

    def save(self, folder, suffix=".png"):
        folder.mkdir(parents=True, exist_ok=True)
        Picture.fromarray(self.image).save(folder / f"{self.name}{suffix}")


@pytest.fixture(scope="session")
def scenes():
    rng = np.random.default_rng(5)
    made = []
    for k in range(6):
        shape = (20 + k, 30)
        crack, hole = np.zeros(shape, bool), np.zeros(shape, bool)
        if k != 3:
            crack[4:9, 3:11] = rng.random((5, 8)) < 0.8
            crack[6, 6] = False  # a hole in it
            crack[0, 0] = crack[-1, -1] = True  # single pixels in the corners
        if k in (0, 4):
            hole[12:17, 14:22] = rng.random((5, 8)) < 0.7
        image = rng.integers(0, 90, (*shape, 3), np.uint8)
        image[crack | hole] += 120
        split = "train" if k < 4 else "valid"
        made.append(Scene(f"photo{k}", image, crack, hole, split))
    return made


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))


def ring_of(mask):
    """One closed line round an object and its holes, exact to the pixel."""
    return one_ring(trace_polygons(mask))


def coco(scenes, segment, prefix=""):
    """A COCO file of scenes; ``segment`` makes the segmentation of a mask."""
    images, annotations = [], []
    for number, scene in enumerate(scenes, start=10):
        images.append(
            {
                "id": number,
                "file_name": f"{prefix}{scene.name}.png",
                "width": scene.width,
                "height": scene.height,
            }
        )
        for name, mask in scene.objects:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": 7 + CLASSES.index(name),
                    "segmentation": segment(mask),
                    "iscrowd": int(isinstance(segment(mask), dict)),
                    "bbox": [0, 0, 1, 1],
                }
            )
    categories = [{"id": 7, "name": "crack"}, {"id": 8, "name": "hole"}]
    return {"images": images, "annotations": annotations, "categories": categories}


def polygon(mask):
    return [ring_of(mask).ravel().tolist()]


def plain_runs(mask):
    return {"size": list(mask.shape), "counts": encode_counts(mask)}


def pycocotools_runs(mask):
    tools = pytest.importorskip("pycocotools.mask", reason="pycocotools is not installed")
    made = tools.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(made["size"]), "counts": made["counts"].decode()}


def _coco_folder(segment):
    def writer(root, scenes):
        for scene in scenes:
            scene.save(root / "images")
        write(root / "annotations" / "instances_default.json", coco(scenes, segment))

    return writer


def coco_splits(root, scenes):
    """As COCO itself lies: one file a split, its pictures in a folder of the split's name."""
    for split, folder in (("train", "train2017"), ("valid", "val2017")):
        own = [scene for scene in scenes if scene.split == split]
        for scene in own:
            scene.save(root / folder)
        write(root / "annotations" / f"instances_{folder}.json", coco(own, polygon))
    write(root / "annotations" / "captions_train2017.json", {"images": [], "annotations": []})


def roboflow_coco(root, scenes):
    for split in ("train", "valid"):
        own = [scene for scene in scenes if scene.split == split]
        for scene in own:
            scene.save(root / split)
        write(root / split / "_annotations.coco.json", coco(own, polygon))


def yolo(root, scenes):
    for scene in scenes:
        scene.save(root / "images" / scene.split)
        size = (scene.width, scene.height)
        lines = [
            " ".join(
                [str(CLASSES.index(name)), *map(repr, (ring_of(mask) / size).ravel().tolist())]
            )
            for name, mask in scene.objects
        ]
        write(root / "labels" / scene.split / f"{scene.name}.txt", "\n".join(lines))
    write(root / "data.yaml", "train: images/train\nval: images/valid\nnames: [crack, hole]\n")


def yolo_roboflow(root, scenes):
    """Splits outside, names as an object, no text file for negatives."""
    for scene in scenes:
        scene.save(root / scene.split / "images", ".jpg")
        size = (scene.width, scene.height)
        if scene.objects:
            lines = [
                " ".join(
                    [str(CLASSES.index(name)), *map(repr, (ring_of(mask) / size).ravel().tolist())]
                )
                for name, mask in scene.objects
            ]
            write(root / scene.split / "labels" / f"{scene.name}.txt", "\n".join(lines) + "\n")
    write(
        root / "data.yaml",
        "train: ../train/images\nval: ../valid/images\nnc: 2\nnames:\n  0: crack\n  1: hole\n",
    )


def labelme_file(scene, shapes, **more):
    return {
        "version": "5.4.1",
        "flags": {},
        "shapes": [{"group_id": None, "flags": {}, **shape} for shape in shapes],
        "imagePath": f"{scene.name}.png",
        "imageData": None,
        "imageHeight": scene.height,
        "imageWidth": scene.width,
        **more,
    }


def labelme(root, scenes):
    for scene in scenes:
        scene.save(root)
        shapes = [
            {"label": name, "shape_type": "polygon", "points": ring_of(mask).tolist()}
            for name, mask in scene.objects
        ]
        write(root / f"{scene.name}.json", labelme_file(scene, shapes))


def png(array):
    file = io.BytesIO()
    Picture.fromarray(array).save(file, "PNG")
    return file.getvalue()


def geojson(root, scenes):
    """Features with their holes, in pixels, named as QuPath does and in a plain property."""
    for scene in scenes:
        scene.save(root / "images")
        features = []
        for number, (name, mask) in enumerate(scene.objects):
            parts = [
                [[*ring.tolist(), ring[0].tolist()] for ring in polygon.rings]
                for polygon in trace_polygons(mask)
            ]
            said = {"classification": {"name": name}} if number % 2 else {"label": name}
            single = len(parts) == 1
            drawn = {
                "type": "Polygon" if single else "MultiPolygon",
                "coordinates": parts[0] if single else parts,
            }
            features.append({"type": "Feature", "properties": said, "geometry": drawn})
        content = {"type": "FeatureCollection", "features": features}
        write(root / "drawn" / f"{scene.name}.geojson", content)


def labelme_inside(root, scenes):
    """Pictures that stand in their JSON files alone."""
    labelme(root, scenes)
    for scene in scenes:
        picture, path = root / f"{scene.name}.png", root / f"{scene.name}.json"
        content = json.loads(path.read_text(encoding="utf-8"))
        content["imageData"] = base64.b64encode(picture.read_bytes()).decode()
        write(path, content)
        picture.unlink()


def labelme_masks(root, scenes):
    """Drawings in a folder beside, as masks in a box, one of each class."""
    for scene in scenes:
        scene.save(root / "images")
        shapes = []
        for name in CLASSES:
            rows, columns = np.nonzero(getattr(scene, name))
            if len(rows):
                top, left, below, right = rows.min(), columns.min(), rows.max(), columns.max()
                part = getattr(scene, name)[top : below + 1, left : right + 1]
                shapes.append(
                    {
                        "label": name,
                        "shape_type": "mask",
                        "points": [[float(left), float(top)], [float(right), float(below)]],
                        "mask": base64.b64encode(png(part)).decode(),
                    }
                )
        content = labelme_file(scene, shapes, imagePath=f"..\\images\\{scene.name}.png")
        write(root / "json" / f"{scene.name}.json", content)


def pack_brush(mask):
    """Write Label Studio's run lengths of a mask: the RGBA picture, 8 bits a number."""
    samples = np.repeat(np.where(mask, 255, 0).ravel(), 4)
    sizes = (3, 5, 8, 16)
    bits = [f"{len(samples):032b}", f"{7:05b}", *(f"{size - 1:04b}" for size in sizes)]
    changes = np.flatnonzero(np.diff(samples)) + 1
    for run in np.split(samples, changes):
        while len(run):
            part, run = run[: 1 << 16], run[1 << 16 :]
            which = next(k for k, size in enumerate(sizes) if len(part) <= 1 << size)
            literal = len(part) == 4  # some runs as they stand, to read both kinds
            bits.append(f"{int(not literal)}{which:02b}{len(part) - 1:0{sizes[which]}b}")
            bits += [f"{value:08b}" for value in (part if literal else part[:1])]
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return [int(text[at : at + 8], 2) for at in range(0, len(text), 8)]


def _studio_results(scene):
    size = {"original_width": scene.width, "original_height": scene.height}
    results = []
    for number, (name, mask) in enumerate(scene.objects):
        if number % 2:
            points = ring_of(mask) * 100 / (scene.width, scene.height)
            value = {"points": points.tolist(), "polygonlabels": [name]}
            results.append({**size, "type": "polygonlabels", "value": value})
        else:
            value = {"format": "rle", "rle": pack_brush(mask), "brushlabels": [name]}
            results.append({**size, "type": "brushlabels", "value": value})
    return results


def label_studio(root, scenes):
    tasks = []
    for number, scene in enumerate(scenes, start=3):
        scene.save(root / "images")
        tasks.append(
            {
                "id": number,
                "annotations": [{"id": number, "result": _studio_results(scene)}],
                "data": {"image": f"/data/upload/1/0a1b2c3d-{scene.name}.png"},
            }
        )
    write(root / "project-1-at-2026.json", tasks)


def label_studio_min(root, scenes):
    """JSON-MIN: results under the name of the tag, brushes alone."""
    tasks = []
    for number, scene in enumerate(scenes, start=3):
        scene.save(root / "images")
        size = {"original_width": scene.width, "original_height": scene.height}
        tag = [
            {"format": "rle", "rle": pack_brush(mask), "brushlabels": [name], **size}
            for name, mask in scene.objects
        ]
        task = {"image": f"/data/local-files/?d=images%2F{scene.name}.png", "id": number}
        tasks.append({**task, "tag": tag, "annotator": 1, "annotation_id": 1, "lead_time": 2.5})
    write(root / "result.json", tasks)


def cvat(root, scenes):
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version><meta><task>',
        "<labels><label><name>crack</name></label><label><name>hole</name></label></labels>",
        "</task></meta>",
    ]
    for number, scene in enumerate(scenes):
        scene.save(root / "images")
        lines.append(
            f'<image id="{number}" name="{scene.name}.png" width="{scene.width}" '
            f'height="{scene.height}">'
        )
        for k, (name, mask) in enumerate(scene.objects):
            if k % 2:
                points = ";".join(f"{x:.2f},{y:.2f}" for x, y in ring_of(mask))
                lines.append(
                    f'<polygon label="{name}" points="{points}" occluded="0" z_order="0"></polygon>'
                )
            else:
                rows, columns = np.nonzero(mask)
                top, left = rows.min(), columns.min()
                part = mask[top : rows.max() + 1, left : columns.max() + 1]
                runs = ", ".join(map(str, encode_counts(part.T)))
                lines.append(
                    f'<mask label="{name}" rle="{runs}" left="{left}" top="{top}" '
                    f'width="{part.shape[1]}" height="{part.shape[0]}" z_order="0"></mask>'
                )
        lines.append("</image>")
    write(root / "annotations.xml", "\n".join([*lines, "</annotations>"]))


def voc(root, scenes):
    for scene in scenes:
        scene.save(root / "JPEGImages", ".jpg")
        values = np.where(scene.hole, 2, scene.crack).astype(np.uint8)
        picture = Picture.fromarray(values, mode="P")
        picture.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
        (root / "SegmentationClass").mkdir(exist_ok=True)
        picture.save(root / "SegmentationClass" / f"{scene.name}.png")
    for split in ("train", "valid"):
        names = [scene.name for scene in scenes if scene.split == split]
        name = "val" if split == "valid" else split
        write(root / "ImageSets" / "Segmentation" / f"{name}.txt", "\n".join(names))
    write(root / "ImageSets" / "Segmentation" / "trainval.txt", "\n".join(s.name for s in scenes))


def labelmap(root, scenes):
    colours = np.array([(0, 0, 0), (250, 50, 83), (51, 221, 255)], np.uint8)
    (root / "SegmentationClass").mkdir(parents=True)
    for k, scene in enumerate(scenes):
        scene.save(root / "JPEGImages")
        values = np.where(scene.hole, 2, scene.crack).astype(np.uint8)
        picture = Picture.fromarray(colours[values])
        if k % 2:  # a palette whose numbers say nothing
            picture = picture.quantize(8)
        picture.save(root / "SegmentationClass" / f"{scene.name}.png")
    write(root / "ImageSets" / "Segmentation" / "default.txt", "\n".join(s.name for s in scenes))
    write(
        root / "labelmap.txt",
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncrack:250,50,83::\n"
        "hole:51,221,255::\n",
    )


def roboflow_masks(root, scenes):
    for scene in scenes:
        scene.save(root / scene.split, ".jpg")
        values = np.where(scene.hole, 2, scene.crack).astype(np.uint8)
        Picture.fromarray(values).save(root / scene.split / f"{scene.name}_mask.png")
        write(
            root / scene.split / "_classes.csv",
            "Pixel Value, Class\n0, background\n1, crack\n2, hole\n",
        )


def run_lengths(root, scenes):
    rows = ["ImageId,Class,EncodedPixels"]
    for scene in scenes:
        scene.save(root / "train_images")
        if not scene.objects:
            rows.append(f"{scene.name}.png,crack,")
        for name in CLASSES:
            if getattr(scene, name).any():
                rows.append(f"{scene.name}.png,{name},{encode_pairs(getattr(scene, name))}")
    write(root / "train.csv", "\n".join(rows) + "\n")


@dataclass
class Written:
    """A layout as it is written: its name, and whether the split is in it."""

    layout: str
    writer: object
    splits: bool = False
    names: tuple = field(default=CLASSES)


WRITTEN = {
    "coco polygons": Written("coco", _coco_folder(polygon)),
    "coco plain run lengths": Written("coco", _coco_folder(plain_runs)),
    "coco run lengths of pycocotools": Written("coco", _coco_folder(pycocotools_runs)),
    "coco splits": Written("coco", coco_splits, splits=True),
    "coco of Roboflow": Written("coco", roboflow_coco, splits=True),
    "yolo": Written("yolo", yolo, splits=True),
    "yolo of Roboflow": Written("yolo", yolo_roboflow, splits=True),
    "geojson": Written("geojson", geojson),
    "labelme": Written("labelme", labelme),
    "labelme with pictures inside": Written("labelme", labelme_inside),
    "labelme masks": Written("labelme", labelme_masks),
    "label studio": Written("label_studio", label_studio),
    "label studio min": Written("label_studio", label_studio_min),
    "cvat": Written("cvat", cvat),
    "voc": Written("voc", voc, splits=True, names=("class_1", "class_2")),
    "labelmap": Written("labelmap", labelmap),
    "roboflow masks": Written("roboflow_masks", roboflow_masks, splits=True),
    "run lengths": Written("run_lengths", run_lengths),
}


@pytest.fixture(params=WRITTEN)
def written(request):
    return WRITTEN[request.param]


@pytest.fixture
def write_layout(scenes):
    """Write the six scenes in a layout of the list."""

    def call(root, name):
        WRITTEN[name].writer(root, scenes)
        return root

    return call


@pytest.fixture(scope="session")
def tools():
    """The parts of which tests make files of their own."""

    class Tools:
        pass

    made = Tools()
    made.__dict__.update(
        write=write,
        coco=coco,
        polygon=polygon,
        labelme_file=labelme_file,
        png=png,
        pack_brush=pack_brush,
        written=WRITTEN,
    )
    return made
