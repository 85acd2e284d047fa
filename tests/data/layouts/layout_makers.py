"""Write scenes in every layout: what the contract suite reads back.

Each maker is a function of a folder and of scenes, entered under its layout's name. It returns the
names of the classes by their values in the scenes' masks, or None where the layout knows values
alone. ``dimension`` is that of the scenes; with ``apart`` each scene has one class at most.

Other files of this name below this folder are read as well.
"""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
import SimpleITK as sitk

MAKERS = {}


@dataclass(frozen=True)
class Maker:
    write: object
    dimension: int
    apart: bool


def writes(layout, dimension=2, apart=False):
    def keep(function):
        MAKERS[layout] = Maker(function, dimension, apart)
        return function

    return keep


def picture(path: Path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(np.asarray(array, np.uint8)).save(path)


def volume(path: Path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))


@writes("folders")
def folders(root, scenes):
    for k, (image, mask) in enumerate(scenes):
        part = "train" if k < 4 else "val"
        picture(root / "Images" / part / f"c{k}.png", image)
        picture(root / "labels" / part / f"c{k}_mask.png", mask)


@writes("voc")
def voc(root, scenes):
    names = [f"2007_{k:06d}" for k in range(len(scenes))]
    for name, (image, mask) in zip(names, scenes, strict=True):
        picture(root / "JPEGImages" / f"{name}.png", image)
        picture(root / "SegmentationClass" / f"{name}.png", mask)
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("\n".join(names[:4]) + "\n")
    (lists / "val.txt").write_text("\n".join(names[4:]) + "\n")


@writes("cityscapes")
def cityscapes(root, scenes):
    for k, (image, mask) in enumerate(scenes):
        name, part = f"ulm_{k:06d}_000019", "train/ulm" if k < 4 else "val/bonn"
        picture(root / "leftImg8bit" / part / f"{name}_leftImg8bit.png", image)
        picture(root / "gtFine" / part / f"{name}_gtFine_labelIds.png", mask)
        picture(root / "gtFine" / part / f"{name}_gtFine_color.png", mask * 9)


@writes("industrial", apart=True)
def industrial(root, scenes):
    for k, (image, mask) in enumerate(scenes):
        kind = {0: "good", 1: "crack", 2: "hole"}[int(mask.max())]
        picture(root / ("train" if k == 2 else "test") / kind / f"{k:03d}.png", image)
        if mask.any():
            picture(root / "ground_truth" / kind / f"{k:03d}_mask.png", (mask > 0) * 255)
    return {"crack": 1, "hole": 2}


@writes("slices", dimension=3)
def slices(root, scenes):
    for k, (image, mask) in enumerate(scenes):
        for z, (plane, drawn) in enumerate(zip(image, mask, strict=True)):
            picture(root / "images" / f"p{k}" / f"{z:03d}.png", plane)
            picture(root / "masks" / f"p{k}" / f"{z:03d}.png", drawn)


@writes("case_folders", dimension=3)
def case_folders(root, scenes):
    for k, (image, mask) in enumerate(scenes):
        volume(root / f"p{k}" / f"p{k}_t1.nii.gz", image)
        volume(root / f"p{k}" / f"p{k}_flair.nii.gz", image[::-1].copy())
        volume(root / f"p{k}" / f"p{k}_seg.nii.gz", mask)


@writes("side_by_side")
def side_by_side(root, scenes):
    for k, (image, mask) in enumerate(scenes):
        picture(root / f"kos{k // 2:02d}" / f"Part{k % 2}.png", image)
        picture(root / f"kos{k // 2:02d}" / f"Part{k % 2}_label.bmp", mask)


@writes("manifest")
def manifest(root, scenes):
    rows = [("Image_Path", "mask_class_crack", "mask_class_hole", "Patient", "Split")]
    for k, (image, mask) in enumerate(scenes):
        picture(root / "pictures" / f"c{k}.png", image)
        files = []
        for value, name in ((1, "crack"), (2, "hole")):
            drawn = mask == value
            files.append(f"drawn\\{name}_{k}.png" if drawn.any() else "empty")
            if drawn.any():
                picture(root / "drawn" / f"{name}_{k}.png", drawn * 255)
        rows.append((f"pictures\\c{k}.png", *files, f"p{k // 2}", "Train"))
    with (root / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return {"crack": 1, "hole": 2}


@writes("nnunet", dimension=3)
def nnunet(root, scenes):
    for k, (image, mask) in enumerate(scenes):
        part = "Tr" if k < 4 else "Ts"
        volume(root / f"images{part}" / f"c{k}_0000.nii.gz", image)
        volume(root / f"labels{part}" / f"c{k}.nii.gz", mask)
    labels = {"background": 0, "crack": 1, "hole": 2}
    content = {"channel_names": {"0": "CT"}, "labels": labels, "file_ending": ".nii.gz"}
    (root / "dataset.json").write_text(json.dumps(content))
    return {"crack": 1, "hole": 2}


@writes("decathlon", dimension=3)
def decathlon(root, scenes):
    listed = {"training": [], "validation": []}
    for k, (image, mask) in enumerate(scenes):
        volume(root / f"P{k}" / "flair.nii.gz", image)
        volume(root / f"P{k}" / "drawn.nii.gz", mask)
        entry = {"image": [f"P{k}/flair.nii.gz"], "label": f"P{k}/drawn.nii.gz", "fold": k % 3}
        listed["training" if k < 4 else "validation"].append(entry)
    (root / "datalist.json").write_text(json.dumps(listed))


@writes("image_with_mask")
def image_with_mask(root, scenes):
    for k, (image, mask) in enumerate(scenes):
        folder = root / ("train" if k < 4 else "val")
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(folder / f"c{k}.npz", image=image, label=mask)
