#!/usr/bin/env python3
"""Make the embedded sample sets, one for each of the five tasks.

Every set has the folder layout of the published data set of its task, so that one reader reads both.
Material: Fashion-MNIST garments, photographs and the Middlebury disparity map that come with Debian's
dataset-fashion-mnist, python3-skimage and python3-scipy (sources and licences: README.md beside this file).
Everything is drawn from fixed seeds: the same package versions give the same bytes.

    /usr/bin/python3 data/make_samples.py --out data
"""
import argparse
import bz2
import colorsys
import gzip
import os
import shutil

import numpy as np
import scipy
import skimage
from PIL import Image
from scipy import ndimage

SEED = 20200207                       # one seed; each set draws from its own stream of it
FASHION = "/usr/share/datasets/fashion-mnist"
SUPER = 4                             # composites are painted at 4 times the size, then averaged down
TOPS, TROUSERS = (0, 2, 4, 6), (1,)   # Fashion-MNIST labels: T-shirt, pullover, coat, shirt; trousers
SOLID = (0, 1, 2, 3, 4, 6, 7, 9)      # with dress, sneaker, boot; without sandal and bag, whose holes show through


def stream(name):
    """The random stream of one set: changing one set leaves the bytes of the others alone."""
    return np.random.default_rng([SEED, *name.encode()])


# ---------------------------------------------------------------------------------------------------------------------
# Material
# ---------------------------------------------------------------------------------------------------------------------

def skimage_photo(name):
    path = os.path.join(os.path.dirname(skimage.__file__), "data", name)
    return np.asarray(Image.open(path).convert("RGB"), np.float32) / 255


def raccoon():
    """scipy.misc.face without its deprecation warning: 768x1024 RGB bytes, bzip2."""
    with open(os.path.join(os.path.dirname(scipy.__file__), "misc", "face.dat"), "rb") as f:
        return np.frombuffer(bz2.decompress(f.read()), np.uint8).reshape(768, 1024, 3).astype(np.float32) / 255


def tinted(name, dark, light):
    """A grey photograph given a colour ramp, so that brick looks like brick and grass like grass."""
    grey = skimage_photo(name)[..., :1]
    return np.float32(dark) * (1 - grey) + np.float32(light) * grey


def backgrounds():
    return [raccoon(), skimage_photo("chelsea.png"), skimage_photo("coffee.png"),
            tinted("brick.png", (.20, .08, .05), (.95, .62, .50)),
            tinted("grass.png", (.04, .12, .02), (.75, .88, .45)),
            tinted("gravel.png", (.10, .09, .08), (.92, .88, .80)),
            tinted("camera.png", (.05, .06, .10), (.92, .95, 1.0))]


def fabrics():
    """Grey textures of mean zero, for weave and print on a garment."""
    greys = [skimage_photo(n)[..., 0] for n in ("brick.png", "grass.png", "gravel.png")]
    return [(g - g.mean()) / g.std() for g in greys]


def fashion(split):
    """Images (n, 28, 28) and labels (n) of a split, "train" or "t10k"."""
    def idx(kind, header):
        with gzip.open(f"{FASHION}/{split}-{kind}-ubyte.gz") as f:
            return np.frombuffer(f.read(), np.uint8, offset=header)
    return idx("images-idx3", 16).reshape(-1, 28, 28), idx("labels-idx1", 8)


class Wardrobe:
    """Draws garments, each at most once, as (shade, silhouette), both 224x224 in [0,1]."""
    GRID = 224

    def __init__(self, split, rng):
        self.images, self.labels = fashion(split)
        self.order = rng.permutation(len(self.labels))

    def draw(self, labels):
        for i, item in enumerate(self.order):
            if item >= 0 and self.labels[item] in labels:
                self.order[i] = -1
                garment = self.cut_out(self.images[item])
                if garment:
                    return garment
        raise RuntimeError(f"Fashion-MNIST has no garment of the labels {labels} left")

    def cut_out(self, image):
        """Smooth silhouette and shading of one 28x28 image; None if it has no clear silhouette."""
        level = np.median(image[image > 24]) if (image > 24).any() else 0
        if level < 70:                # white on white: the silhouette would be guesswork
            return None
        padded = Image.fromarray(np.pad(image, 2))
        value = np.asarray(padded.resize((self.GRID, self.GRID), Image.BICUBIC), np.float32)
        inside = ndimage.binary_closing(np.pad(value > 0.4 * level, 8), iterations=6)[8:-8, 8:-8]
        filled = ndimage.binary_fill_holes(inside)
        parts, _ = ndimage.label(filled)
        sizes = np.bincount(parts.ravel())[1:]
        if sizes.max() < 0.97 * sizes.sum() or inside.sum() < 0.96 * filled.sum():
            return None
        silhouette = parts == 1 + sizes.argmax()
        shade = np.clip(value / np.percentile(value[silhouette], 90), 0, 1.1)
        return shade, silhouette.astype(np.float32)


# ---------------------------------------------------------------------------------------------------------------------
# Painting
# ---------------------------------------------------------------------------------------------------------------------

def resized(image, width, height):
    """Float image resized per channel with a filter as wide as the reduction (no aliasing)."""
    planes = [Image.fromarray(np.ascontiguousarray(p)) for p in np.moveaxis(np.atleast_3d(image), 2, 0)]
    return np.stack([np.asarray(p.resize((width, height), Image.BICUBIC)) for p in planes], -1)


def crop(rng, photo, width, height, zoom):
    """A random width x height crop of a photograph, `zoom` = range of photograph pixels per pixel."""
    limit = min(photo.shape[1] / width, photo.shape[0] / height)
    scale = min(rng.uniform(*zoom), limit)
    w, h = int(width * scale), int(height * scale)
    left, top = rng.integers(photo.shape[1] - w + 1), rng.integers(photo.shape[0] - h + 1)
    piece = photo[top:top + h, left:left + w]
    return resized(piece[:, ::-1] if rng.random() < .5 else piece, width, height)


def background(rng, photos, learning, width, height, zoom):
    """A background crop.  Learning pictures take it from the left 70 % of a photograph, held-out ones from the rest."""
    photo = photos[rng.integers(len(photos))]
    edge = int(photo.shape[1] * .7)
    return crop(rng, photo[:, :edge] if learning else photo[:, edge:], width, height, zoom)


def place(layer, centre, height, angle, flip, width_px, height_px):
    """A garment layer (224x224) on a canvas SUPER times the picture.  Centre and height in pixels, angle in radians."""
    grid = Wardrobe.GRID
    scale = grid / (height * SUPER)
    c, s = np.cos(angle) * scale, np.sin(angle) * scale
    x, y = centre[0] * SUPER, centre[1] * SUPER
    m = -1 if flip else 1
    affine = (m * c, m * s, grid / 2 - m * (c * x + s * y), -s, c, grid / 2 + s * x - c * y)
    image = Image.fromarray(layer)
    return np.asarray(image.transform((width_px * SUPER, height_px * SUPER), Image.AFFINE, affine, Image.BILINEAR))


def reduce_super(layer):
    h, w = layer.shape[0] // SUPER, layer.shape[1] // SUPER
    return layer.reshape(h, SUPER, w, SUPER, *layer.shape[2:]).mean((1, 3))


def dye(rng, shade, texture):
    """Colour for a shading: a tint between a dark and a bright tone, with a touch of weave."""
    tint = np.float32(colorsys.hsv_to_rgb(rng.random(), rng.uniform(.05, .7), 1))
    dark, bright = rng.uniform(.05, .25), rng.uniform(.45, 1)
    weave = 1 + rng.uniform(0, .12) * resized(texture, shade.shape[1], shade.shape[0])
    return np.clip((dark + (bright - dark) * shade[..., None]) * tint * weave, 0, 1)


def paint(rng, picture, garment, texture, shadow=.4, **where):
    """Paint a garment with a soft cast shadow over a picture; returns the picture and the coverage of each pixel."""
    h, w = picture.shape[:2]
    shade, silhouette = (place(layer, width_px=w, height_px=h, **where) for layer in garment)
    inside = (silhouette > .5).astype(np.float32)
    cover = reduce_super(inside)
    colour = reduce_super(dye(rng, shade, texture) * inside[..., None]) / np.maximum(cover, 1e-3)[..., None]
    offset = rng.uniform(-.03, .03, 2) * h
    dim = 1 - shadow * ndimage.gaussian_filter(ndimage.shift(cover, offset, order=1), .03 * h)
    alpha = cover[..., None]
    return picture * dim[..., None] * (1 - alpha) + colour * alpha, cover


def scrap(rng, textures):
    """A small piece of a fabric texture, enlarged when it is worn."""
    texture = textures[rng.integers(len(textures))]
    top, left = rng.integers(0, texture.shape[0] - 128, 2)
    return texture[top:top + 128, left:left + 128]


# ---------------------------------------------------------------------------------------------------------------------
# Writing
# ---------------------------------------------------------------------------------------------------------------------

def path_for(*parts):
    path = os.path.join(*parts)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return path


def write_jpeg(image, quality, *parts, subsampling=2):
    data = np.uint8(np.clip(image, 0, 1) * 255 + .5)
    Image.fromarray(data).save(path_for(*parts), quality=quality, subsampling=subsampling, optimize=True)


def write_depth(depth_mm, *parts):
    Image.fromarray(depth_mm.astype(np.uint16)).save(path_for(*parts), compress_level=9)


def write_lines(lines, *parts):
    with open(path_for(*parts), "w", encoding="ascii", newline="\n") as f:
        f.writelines(line + "\n" for line in lines)


# ---------------------------------------------------------------------------------------------------------------------
# Binary segmentation: layout of the Weizmann horses
# ---------------------------------------------------------------------------------------------------------------------

def binary_segmentation(out, side=80):
    rng, photos, textures = stream("binary_segmentation"), backgrounds(), fabrics()
    for part, split, count in (("train", "train", 200), ("valid", "t10k", 64)):
        wardrobe, names = Wardrobe(split, rng), []
        for i in range(count):
            picture = background(rng, photos, part == "train", side, side, (1, 4)) * rng.uniform(.7, 1.1)
            height = rng.uniform(.6, 1.05) * side
            picture, cover = paint(rng, picture, wardrobe.draw(SOLID), scrap(rng, textures), height=height,
                                   centre=side / 2 + rng.uniform(-.22, .22, 2) * side,
                                   angle=rng.normal(0, .15), flip=rng.random() < .5)
            names.append(f"{part}{i + 1:03d}.jpg")
            write_jpeg(picture, 88, out, "rgb", names[-1])
            write_jpeg(cover > .5, 88, out, "figure_ground", names[-1])
        write_lines(names, out, part + ".txt")


# ---------------------------------------------------------------------------------------------------------------------
# Multi-class segmentation: layout of the LFW part labels
# ---------------------------------------------------------------------------------------------------------------------

PALETTE = (0, 0, 255, 0, 255, 0, 255, 0, 0)     # background, trousers, top in the colours of the LFW parts


def outfit(rng, picture, wardrobe, textures):
    """A top over trousers, as if worn; returns the picture and the label of each pixel (1 trousers, 2 top)."""
    side = picture.shape[0]
    angle = rng.normal(0, .08)
    body = rng.uniform(.45, .62) * side                          # height of the top's 32-pixel frame
    waist = side / 2 + rng.uniform(-.13, .13, 2) * side
    down = np.array([-np.sin(angle), np.cos(angle)])
    parts = ((TROUSERS, 1, 1.05 * body, waist + .40 * body * down), (TOPS, 2, body, waist - .34 * body * down))
    labels = np.zeros((side, side), np.uint8)
    for kind, label, height, centre in parts:
        picture, cover = paint(rng, picture, wardrobe.draw(kind), scrap(rng, textures), shadow=.3, height=height,
                               centre=centre, angle=angle, flip=rng.random() < .5)
        labels[cover > .5] = label
    return picture, labels


def multiclass_segmentation(out, side=80):
    rng, photos, textures = stream("multiclass_segmentation"), backgrounds(), fabrics()
    for part, split, count in (("train", "train", 160), ("validation", "t10k", 48)):
        wardrobe, lines = Wardrobe(split, rng), []
        for i in range(count):
            picture = background(rng, photos, part == "train", side, side, (1, 4)) * rng.uniform(.7, 1.1)
            picture, labels = outfit(rng, picture, wardrobe, textures)
            name = f"Outfit_{part.capitalize()}_{i // 4 + 1:02d}"
            number = i % 4 + 1
            write_jpeg(picture, 88, out, "lfw_funneled", name, f"{name}_{number:04d}.jpg")
            image = Image.fromarray(labels, "P")
            image.putpalette(PALETTE)
            image.save(path_for(out, "labels", f"{name}_{number:04d}.png"), bits=2, optimize=True)
            lines.append(f"{name} {number:04d}" if part == "train" else f"{name} {number}")
        write_lines(lines, out, f"parts_{part}.txt")


# ---------------------------------------------------------------------------------------------------------------------
# Denoising: layout of BSDS500
# ---------------------------------------------------------------------------------------------------------------------

def denoising(out, long_side=192, short_side=128):
    rng = stream("denoising")
    learn = (("raccoon", raccoon(), 26), ("coffee", skimage_photo("coffee.png"), 16),
             ("ihc", skimage_photo("ihc.png"), 10), ("hubble", skimage_photo("hubble_deep_field.jpg"), 4),
             ("retina", skimage_photo("retina.jpg")[250:1160, 250:1160], 4))     # without its black surround
    held_out = (("chelsea", skimage_photo("chelsea.png"), 8), ("astronaut", skimage_photo("astronaut.png"), 12))
    for parts, photos in ((("train", "test"), learn), (("val",), held_out)):
        for name, photo, count in photos:
            for i in range(count):
                lying = rng.random() < .6
                size = (long_side, short_side) if lying else (short_side, long_side)
                piece = crop(rng, photo, *size, (1, 2.5))
                write_jpeg(piece, 92, out, "images", parts[i % len(parts)], f"{name}{i + 1:02d}.jpg", subsampling=0)


# ---------------------------------------------------------------------------------------------------------------------
# Depth refinement: layout of 7-Scenes
# ---------------------------------------------------------------------------------------------------------------------

FOCAL, CENTRE_X, CENTRE_Y, SHIFT, BASELINE = 994.978, 311.193, 254.877, 31.086, 0.193001   # published map: px and m
VIEW_W, VIEW_H, VIEW_FOCAL = 160, 120, 438.75    # the virtual cameras, px
KINECT_FB = 585 * 0.075                          # Kinect's focal length times baseline, px m
NO_READING = 65535


def motorcycle_cloud():
    """The Middlebury motorcycle as points (n, 3) in metres, camera at the origin looking along +z, y down.

    What the camera could not see behind a near surface continues the farther surface beside it, for up to 7, 20 and
    60 pixels, so that a moved camera finds something there, and every camera the same.
    """
    path = os.path.join(os.path.dirname(skimage.__file__), "data", "motorcycle_disp.npz")
    disparity = fill_from_farther(np.load(path)["arr_0"])
    layers = [back_projected(disparity, True)]
    for reach in (7, 20, 60):
        behind = ndimage.minimum_filter(disparity, (3, 2 * reach + 1))
        layers.append(back_projected(behind, disparity - behind > 2))
    return np.concatenate(layers)


def back_projected(disparity, keep, fine=2):
    """Points (n, 3) in metres of a disparity map where `keep` holds, `fine` times as dense as its pixels."""
    jump = ndimage.maximum_filter(disparity, 3) - ndimage.minimum_filter(disparity, 3)
    keep = keep & (jump < 2)                                     # never a point between two surfaces
    rows, columns = np.mgrid[0:disparity.shape[0] - 1:1 / fine, 0:disparity.shape[1] - 1:1 / fine]
    keep = keep[np.rint(rows).astype(int), np.rint(columns).astype(int)]
    rows, columns = rows[keep], columns[keep]
    z = FOCAL * BASELINE / (ndimage.map_coordinates(disparity, (rows, columns), order=1) + SHIFT)
    return np.stack([(columns - CENTRE_X) / FOCAL * z, (rows - CENTRE_Y) / FOCAL * z, z], -1)


def fill_from_farther(disparity):
    """Pixels without a published disparity take the smaller one of the nearest known to the left and right."""
    def carried(values):
        seen = np.where(np.isfinite(values), np.arange(values.shape[1]), -1)
        last = np.maximum.accumulate(seen, 1)
        return np.where(last >= 0, np.take_along_axis(values, np.maximum(last, 0), 1), np.inf)
    return np.minimum(carried(disparity), carried(disparity[:, ::-1])[:, ::-1])


def look(position, yaw, pitch):
    """Camera-to-world matrix, metres."""
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    pose = np.eye(4)
    pose[:3, :3] = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]]) @ np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    pose[:3, 3] = position
    return pose


def render(cloud, pose):
    """Depth in metres of the cloud from a pose (0 = nothing there): the mean of the frontmost points in each pixel."""
    local = (cloud - pose[:3, 3]) @ pose[:3, :3]
    z = local[:, 2]
    u = np.rint(local[:, 0] / z * VIEW_FOCAL + VIEW_W / 2).astype(int)
    v = np.rint(local[:, 1] / z * VIEW_FOCAL + VIEW_H / 2).astype(int)
    seen = (u >= 0) & (u < VIEW_W) & (v >= 0) & (v < VIEW_H) & (z > .4)
    pixel, z = (v * VIEW_W + u)[seen], z[seen]
    front = np.full(VIEW_W * VIEW_H, np.inf)
    np.minimum.at(front, pixel, z)
    near = z < front[pixel] * 1.02
    total = np.bincount(pixel[near], z[near], front.size)
    number = np.bincount(pixel[near], minlength=front.size)
    return (total / np.maximum(number, 1)).reshape(VIEW_H, VIEW_W)


def kinect(rng, depth):
    """What a Kinect would have read, in mm: jagged edges, noisy and quantised disparity, projector shadow, dropouts."""
    rows, columns = np.indices(depth.shape)
    rows = np.clip(np.rint(rows + rng.normal(0, .4, depth.shape)), 0, VIEW_H - 1).astype(int)
    columns = np.clip(np.rint(columns + rng.normal(0, .4, depth.shape)), 0, VIEW_W - 1).astype(int)
    jagged = depth[rows, columns]
    known = (depth > 0) & (jagged > 0)
    disparity = KINECT_FB / np.where(known, jagged, 1)
    blotches = ndimage.gaussian_filter(rng.normal(0, 1, depth.shape), 1.5) * 5.3      # unit variance again
    disparity += .10 * rng.normal(0, 1, depth.shape) + .10 * blotches
    reading = KINECT_FB / np.maximum(np.rint(disparity * 8) / 8, 1)                    # eighths of a pixel
    lost = shadow(depth) | dropouts(rng, depth)
    return np.where(known & ~lost, np.rint(reading * 1000), np.where(depth > 0, NO_READING, 0))


def shadow(depth):
    """Pixels that the projector, 75 mm beside the camera, does not light: a nearer surface is in its way."""
    lit = np.arange(VIEW_W) + VIEW_FOCAL * .075 / np.where(depth > 0, depth, np.inf)
    ahead = np.maximum.accumulate(lit, 1)
    return lit < ahead - 1


def dropouts(rng, depth):
    """Readings lost at steep edges and in patches, more of them far away."""
    steep = ndimage.maximum_filter(depth, 3) - ndimage.minimum_filter(depth, 3) > .15
    patches = ndimage.gaussian_filter(rng.normal(0, 1, depth.shape), 2) * 7.1
    return (steep & (rng.random(depth.shape) < .35)) | (patches > 2.9 - .2 * depth)


def trajectory(rng, count, aim_x, aim_y):
    """A slow hand-held sweep: smooth position and direction around a line of sight (x/z, y/z)."""
    time = np.linspace(0, 2 * np.pi, count)
    phase = rng.uniform(0, 2 * np.pi, 5)
    for t in time:
        sway = np.sin(np.array([1, 2, 1, 1, 2]) * t + phase)
        position = np.array([aim_x * .5, aim_y * .5, .4]) + sway[:3] * np.array([.10, .05, .25])
        yield look(position, np.arctan(aim_x) + .06 * sway[3], -np.arctan(aim_y) + .05 * sway[4])


def depth_refinement(out):
    rng, cloud, scene = stream("depth_refinement"), motorcycle_cloud(), os.path.join(out, "sample")
    for sequence, count, aim in ((1, 40, (-.075, .0)), (2, 12, (.23, .01))):
        for i, pose in enumerate(trajectory(rng, count, *aim)):
            depth = render(cloud, pose)
            frame = (scene, f"seq-{sequence:02d}", f"frame-{i:06d}")
            write_depth(kinect(rng, depth), *frame[:2], frame[2] + ".depth.png")
            write_depth(np.rint(depth * 1000), *frame[:2], frame[2] + ".clean.png")
            write_lines(("\t".join(f"{x:.9e}" for x in row) for row in pose), *frame[:2], frame[2] + ".pose.txt")
    camera = ((VIEW_FOCAL, 0, VIEW_W / 2), (0, VIEW_FOCAL, VIEW_H / 2), (0, 0, 1))
    write_lines(("\t".join(f"{x:.9e}" for x in row) for row in camera), scene, "camera-intrinsics.txt")
    write_lines(["sequence1"], scene, "TrainSplit.txt")
    write_lines(["sequence2"], scene, "TestSplit.txt")


# ---------------------------------------------------------------------------------------------------------------------
# Inpainting: layout of the aligned CelebA
# ---------------------------------------------------------------------------------------------------------------------

def inpainting(out, width=178, height=218, centre=(89, 121)):
    """Tops and trousers, aligned as the faces are, before a blurred photograph."""
    rng, photos, textures, number, lines = stream("inpainting"), backgrounds(), fabrics(), 0, []
    seen, unseen = Wardrobe("train", rng), Wardrobe("t10k", rng)
    for part, wardrobe, count in ((0, seen, 280), (1, unseen, 20), (2, unseen, 60)):
        for _ in range(count):
            picture = background(rng, photos, part == 0, width, height, (.5, 3))
            picture = ndimage.gaussian_filter(picture, (8, 8, 0))
            picture, _ = paint(rng, picture, wardrobe.draw(TOPS + TROUSERS), scrap(rng, textures) * .5,
                               height=rng.uniform(100, 112), centre=np.array(centre) + rng.normal(0, 1.5, 2),
                               angle=rng.normal(0, .03), flip=rng.random() < .5)
            number += 1
            write_jpeg(picture, 85, out, f"{number:06d}.jpg")
            lines.append(f"{number:06d}.jpg {part}")
    write_lines(lines, out, "list_eval_partition.txt")


SETS = (binary_segmentation, multiclass_segmentation, denoising, depth_refinement, inpainting)


def main():
    parser = argparse.ArgumentParser(description="Make the embedded sample sets of the five tasks.")
    parser.add_argument("--out", required=True, metavar="DIR",
                        help="folder that receives one folder for each task, in place of an earlier one")
    out = parser.parse_args().out
    for make in SETS:
        target = os.path.join(out, make.__name__)
        shutil.rmtree(target, ignore_errors=True)     # a file that an earlier version wrote must not linger
        make(target)
        sizes = [os.path.getsize(os.path.join(d, f)) for d, _, files in os.walk(target) for f in files]
        print(f"{make.__name__:24s} {len(sizes):4d} files {sum(sizes) / 1e6:6.2f} MB")


if __name__ == "__main__":
    main()
