#!/usr/bin/python3
"""Writes pictures of every kind of TIFF, WebP, CMYK JPEG, PAM and PFM to a folder, for
spec/tools/pictures.lua to compare readers on:

    /usr/bin/python3 spec/tools/make_pictures.py DIR

Needs python3-pil and python3-numpy.
"""
import os
import sys

import numpy as np
from PIL import Image

COMPRESSIONS = ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"]


def photo(channels, top=255, kind=np.uint8):
    """37 rows and 51 columns, smooth with some noise."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[0:37, 0:51]
    planes = [(np.sin(x / (5 + c)) + np.cos(y / (4 + c)) + 2) / 4 for c in range(channels)]
    a = np.stack(planes, -1) + rng.normal(0, 0.02, (37, 51, channels))
    a = np.clip(a * top, 0, top).round().astype(kind)
    return a[..., 0] if channels == 1 else a


def tiffs(folder):
    kinds = {
        "bilevel": Image.fromarray(photo(1)).convert("1"), "grey": Image.fromarray(photo(1)),
        "grey16": Image.fromarray(photo(1, 65535, np.uint16)), "float": Image.fromarray(photo(1).astype(np.float32) / 40 - 1),
        "rgb": Image.fromarray(photo(3)), "rgba": Image.fromarray(photo(4)), "cmyk": Image.fromarray(photo(4), "CMYK"),
        "palette": Image.fromarray(photo(3)).quantize(17), "la": Image.fromarray(photo(2), "LA"),
    }
    for name, image in kinds.items():
        for compression in COMPRESSIONS:
            image.save(f"{folder}/{name}-{compression}.tif", compression=compression)
        for orientation in range(2, 9):
            image.save(f"{folder}/{name}-turned-{orientation}.tif", tiffinfo={274: orientation}, compression="tiff_lzw")
    for compression in ["group3", "group4", "tiff_ccitt"]:
        kinds["bilevel"].save(f"{folder}/bilevel-{compression}.tif", compression=compression)
    for name in ["grey", "rgb", "cmyk"]:
        kinds[name].save(f"{folder}/{name}-jpeg.tif", compression="jpeg")
    kinds["rgb"].save(f"{folder}/pages.tif", save_all=True, append_images=[kinds["grey"], kinds["palette"]])


def webps(folder):
    for name, image in {"rgb": Image.fromarray(photo(3)), "rgba": Image.fromarray(photo(4))}.items():
        image.save(f"{folder}/{name}-lossless.webp", lossless=True, exact=True)
        image.save(f"{folder}/{name}-lossy.webp", quality=80)
        for orientation in range(2, 9):
            exif = Image.Exif()
            exif[274] = orientation
            image.save(f"{folder}/{name}-turned-{orientation}.webp", lossless=True, exact=True, exif=exif)
        image.save(f"{folder}/{name}-animated.webp", lossless=True, save_all=True,
                   append_images=[image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)], duration=50)


def netpbm(folder):
    kinds = {1: "GRAYSCALE", 2: "GRAYSCALE_ALPHA", 3: "RGB", 4: "RGB_ALPHA"}
    for channels, kind in kinds.items():
        for top, dtype in [(255, "u1"), (65535, ">u2"), (1, "u1"), (1000, ">u2")]:
            with open(f"{folder}/{kind}-{top}.pam", "wb") as f:
                f.write(b"P7\nWIDTH 51\nHEIGHT 37\nDEPTH %d\nMAXVAL %d\nTUPLTYPE %s\nENDHDR\n"
                        % (channels, top, kind.encode()))
                f.write(photo(channels, top, dtype).tobytes())
    for channels, letter in [(1, b"f"), (3, b"F")]:
        for order, scale in [("<", b"-1.0"), (">", b"0.003922")]:
            with open(f"{folder}/{letter.decode()}{'little' if order == '<' else 'big'}.pfm", "wb") as f:
                f.write(b"P%s\n51 37\n%s\n" % (letter, scale))
                f.write((photo(channels) / 50 - 1).astype(order + "f4").tobytes())
    Image.fromarray(photo(1)).convert("1").save(f"{folder}/bilevel.pbm")


def main():
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    tiffs(folder)
    webps(folder)
    netpbm(folder)
    Image.fromarray(photo(4), "CMYK").save(f"{folder}/cmyk.jpg")


main()
