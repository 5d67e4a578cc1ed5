"""The paint box of the drawn pets: colours, curves, textures and a brush."""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from random import Random
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

Colour = tuple[int, int, int]
Point = tuple[float, float]
Points = NDArray[np.float64]

SIDE = 512  # the drawing is made at this size and brought down at the end
INK: Colour = (58, 42, 44)
CREAM: Colour = (255, 248, 232)
SHADOW: Colour = (44, 30, 54)
BLUSH: Colour = (240, 128, 128)
PASTELS: tuple[Colour, ...] = (
    *((246, 214, 190), (206, 224, 230), (222, 230, 198), (240, 222, 160), (226, 206, 226), (196, 216, 200)),
    *((250, 234, 214), (214, 180, 160), (150, 176, 196), (178, 150, 140), (120, 140, 132)),
)
BRIGHTS: tuple[Colour, ...] = (
    *((214, 92, 84), (70, 130, 180), (240, 180, 70)),
    *((96, 160, 110), (160, 110, 170), (236, 140, 90)),
)

# --- colours and curves ---------------------------------------------------------------------------------------


def blend(first: Colour, second: Colour, amount: float) -> Colour:
    """Return the colour `amount` of the way from the first to the second."""
    (r, g, b), (red, green, blue) = first, second
    return (round(r + (red - r) * amount), round(g + (green - g) * amount), round(b + (blue - b) * amount))


@lru_cache(maxsize=512)
def way(text: str) -> tuple[Point, ...]:
    """Return the points of a text such as "0,1 0.5,2"."""
    pairs = (pair.split(",") for pair in text.split())
    return tuple((float(x), float(y)) for x, y in pairs)


@lru_cache(maxsize=16)
def curve_weights(steps: int) -> Points:
    """Return the Catmull-Rom weights of four neighbouring knots at each step between the middle two."""
    t = np.arange(steps) / steps
    columns = (2 * t**2 - t - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2)
    return np.stack(columns, axis=1) / 2


def smooth(points: Sequence[Point] | Points, steps: int = 7, closed: bool = True) -> Points:
    """Return a Catmull-Rom curve through the points."""
    knots = np.asarray(points, dtype=np.float64)
    if closed:
        knots = np.concatenate([knots[-1:], knots, knots[:2]])
    else:
        # An open curve has no neighbours at its ends: they are mirrored.
        knots = np.concatenate([2 * knots[:1] - knots[1:2], knots, 2 * knots[-1:] - knots[-2:-1]])
    # Each piece between two knots is shaped by these and by the one before and behind.
    windows = np.stack([knots[:-3], knots[1:-2], knots[2:-1], knots[3:]], axis=1)  # (pieces, 4, 2)
    flat: Points = (curve_weights(steps) @ windows).reshape(-1, 2)
    return flat if closed else np.concatenate([flat, knots[-2:-1]])


@lru_cache(maxsize=256)
def curve(text: str) -> Points:
    """Return the closed curve through the points of a text."""
    return smooth(way(text))


@lru_cache(maxsize=64)
def twin_curve(text: str, wide: float = 1.0) -> Points:
    """Return the closed curve whose right half is given from top to bottom and whose left half mirrors it."""
    right = [(x * wide, y) for x, y in way(text)]
    left = [(-x, y) for x, y in reversed(right) if x > 0]
    return smooth([*right, *left])


def oval(x: float, y: float, rx: float, ry: float, steps: int = 28) -> Points:
    """Return the outline of an ellipse."""
    angles = np.arange(steps) * (2 * math.pi / steps)
    return np.stack([x + rx * np.cos(angles), y + ry * np.sin(angles)], axis=1)


def tube(spine: Sequence[Point], widths: Sequence[float]) -> Points:
    """Return the outline of a limb that follows a spine, with half-widths spread along it and a round end."""
    line = smooth(spine, steps=6, closed=False)
    width = np.interp(np.linspace(0, 1, len(line)), np.linspace(0, 1, len(widths)), widths)[:, None]
    along = unit(np.gradient(line, axis=0))
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    # The cap is half a circle, its ends left out: they are the sides' last points.
    turn = np.linspace(math.pi / 2, -math.pi / 2, 9)[1:-1, None]
    cap = line[-1] + width[-1] * (np.cos(turn) * along[-1] + np.sin(turn) * across[-1])
    return np.concatenate([line + across * width, cap, (line - across * width)[::-1]])


def unit(vectors: Points) -> Points:
    """Return the vectors at length one."""
    scaled: Points = vectors / np.maximum(np.hypot(vectors[:, 0], vectors[:, 1])[:, None], 1e-9)
    return scaled


def grow_fur(points: Points, fur: str, random: Random, amount: float = 1.0) -> Points:
    """Return the outline with tufts of long fur or with curls."""
    if fur == "short":
        return points
    if fur == "curly":
        points = np.concatenate([points, points[:1]])
        # Curls of one size all around: they are spaced by length, not by points.
        length = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
        bumps = max(6, round(length[-1] / 0.27))
        t = np.arange(bumps * 6) / 6
        at = t * length[-1] / bumps
        points = np.stack([np.interp(at, length, points[:, 0]), np.interp(at, length, points[:, 1])], axis=1)
        push = np.abs(np.sin(t * math.pi)) * 0.085 * amount
    else:
        push = np.array([random.uniform(0.02, 0.1) if k % 3 == 0 else 0.0 for k in range(len(points))]) * amount
    before, after = np.concatenate([points[-1:], points[:-1]]), np.concatenate([points[1:], points[:1]])
    along = unit(after - before)
    # Its sign tells which way round the outline goes, and with that which side is outside.
    area = float(np.sum(points[:, 0] * after[:, 1] - points[:, 1] * after[:, 0]))
    out = np.stack([along[:, 1], -along[:, 0]], axis=1) * (1.0 if area > 0 else -1.0)
    moved: Points = points + out * push[:, None]
    if fur == "long":
        # Long hair hangs.
        moved[:, 1] += push * 0.8
    return moved


def flat_list(points: Points) -> list[float]:
    """Return the coordinates x, y, x, y... of the points."""
    numbers: list[float] = points.round(2).ravel().tolist()
    return numbers


# --- textures -------------------------------------------------------------------------------------------------


def mask_of(values: Points, strength: float) -> Image.Image:
    """Return values between 0 and 1 as a mask of some strength."""
    return Image.fromarray(np.rint(np.clip(values, 0, 1) * (255 * strength)).astype(np.uint8))


@lru_cache(maxsize=32)
def form_shadow(strength: float) -> Image.Image:
    """Return the shadow of a ball lit from the upper left, as a mask."""
    y, x = np.mgrid[-1:1:40j, -1:1:40j]
    return mask_of((0.45 * x + 0.9 * y) * 0.75 + 0.12 * (x**2 + y**2), strength)


@lru_cache(maxsize=32)
def form_light(strength: float) -> Image.Image:
    """Return the light on a ball lit from the upper left, as a mask."""
    y, x = np.mgrid[-1:1:40j, -1:1:40j]
    return mask_of(np.exp(-((x + 0.25) ** 2 + (y + 0.55) ** 2) / 0.32), strength)


@lru_cache(maxsize=32)
def soft_spot(strength: float) -> Image.Image:
    """Return a round spot that fades to nothing at its rim, as a mask."""
    y, x = np.mgrid[-1:1:48j, -1:1:48j]
    return mask_of(np.clip(1 - (x**2 + y**2), 0, 1) ** 1.4, strength)


@lru_cache(maxsize=2)
def hairs(curly: bool) -> Image.Image:
    """Return a sheet of short hairs or of small curls, as a mask."""
    # Larger than the picture, so that each part may take its own piece of it.
    side, random = SIDE + SIDE // 2, Random(f"hairs/{curly}")  # noqa: S311
    sheet = Image.new("L", (side, side))
    pen = ImageDraw.Draw(sheet)
    for _ in range(2800 if curly else 5000):
        x, y, ink = random.uniform(0, side), random.uniform(0, side), random.randint(60, 190)
        if curly:
            r, start = random.uniform(4, 9), random.uniform(0, 360)
            pen.arc((x - r, y - r, x + r, y + r), start, start + 230, fill=ink, width=2)
        else:
            lean, length = random.uniform(-6, 6), random.uniform(7, 19)
            pen.line((x, y, x + lean, y + length), fill=ink, width=random.randint(1, 2))
    return sheet.filter(ImageFilter.BoxBlur(0.6))


@lru_cache(maxsize=16)
def fur_sheet(curly: bool, strength: float) -> Image.Image:
    """Return the sheet of hairs at some strength."""
    return hairs(curly).point([round(v * strength) for v in range(256)])


class Edge(NamedTuple):
    """The line around a body part: its width in the brush's units, and the share left open at either end."""

    colour: Colour
    width: float = 0.035
    open_part: float = 0.0


# --- the brush ------------------------------------------------------------------------------------------------


class Labels:
    """A second canvas, on which each shape leaves the class of what it is a part of; soft spots leave nothing."""

    def __init__(self, canvas: Image.Image, label: int = 0, draw: ImageDraw.ImageDraw | None = None) -> None:
        self.canvas, self.label = canvas, label
        self.draw = draw or ImageDraw.Draw(canvas)

    def of(self, label: int) -> "Labels":
        """Return the same canvas for shapes of another class."""
        return Labels(self.canvas, label, self.draw)


class Brush:
    """Paints shapes given in its own coordinates onto a canvas."""

    def __init__(
        self,
        canvas: Image.Image,
        frame: Points,
        random: Random,
        curly: bool = False,
        draw: ImageDraw.ImageDraw | None = None,
        labels: "Labels | None" = None,
    ) -> None:
        self.canvas, self.frame, self.random, self.curly = canvas, frame, random, curly
        self.labels = labels
        self.draw = draw or ImageDraw.Draw(canvas)
        # Pixels that one unit of the brush is long, the mean of both directions.
        self.unit = math.sqrt(abs(frame[0, 0] * frame[1, 1] - frame[0, 1] * frame[1, 0]))

    def at(
        self, x: float, y: float, scale: float = 1.0, tilt: float = 0.0, mirror: bool = False, wide: float = 1.0
    ) -> "Brush":
        """Return a brush on the same canvas: moved, scaled, turned by some degrees, mirrored or widened."""
        c, s = scale * math.cos(math.radians(tilt)), scale * math.sin(math.radians(tilt))
        local = np.array([[c, -s, x], [s, c, y], [0.0, 0.0, 1.0]])
        local[:2, 0] *= -wide if mirror else wide
        return Brush(self.canvas, self.frame @ local, self.random, self.curly, self.draw, self.labels)

    def labelled(self, label: int) -> "Brush":
        """Return the same brush, whose shapes are of another class."""
        labels = self.labels and self.labels.of(label)
        return Brush(self.canvas, self.frame, self.random, self.curly, self.draw, labels)

    def place(self, points: Sequence[Point] | Points) -> Points:
        """Return the points in canvas pixels."""
        placed: Points = np.asarray(points, dtype=np.float64) @ self.frame[:2, :2].T + self.frame[:2, 2]
        return placed

    def fill(self, points: Sequence[Point] | Points, colour: Colour) -> None:
        """Fill a shape with one flat colour."""
        outline = flat_list(self.place(points))
        self.draw.polygon(outline, fill=colour)
        if self.labels is not None:
            self.labels.draw.polygon(outline, fill=self.labels.label)

    def stroke(self, points: Sequence[Point] | str, colour: Colour, width: float) -> None:
        """Draw a smooth open line; the width is in the brush's units."""
        knots = way(points) if isinstance(points, str) else points
        line = smooth(knots, steps=5, closed=False) if len(knots) > 2 else knots
        thick = max(2, round(width * self.unit))
        placed, joint = flat_list(self.place(line)), "curve" if thick > 3 else None
        self.draw.line(placed, fill=colour, width=thick, joint=joint)
        if self.labels is not None:
            self.labels.draw.line(placed, fill=self.labels.label, width=thick, joint=joint)

    def disc(self, x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
        """Fill an ellipse."""
        self.fill(oval(x, y, rx, ry), colour)

    def glow(self, x: float, y: float, rx: float, ry: float, colour: Colour, strength: float) -> None:
        """Lay a soft spot of colour."""
        corners = self.place([(x - rx, y - ry), (x + rx, y - ry), (x + rx, y + ry), (x - rx, y + ry)])
        left, top = (int(v) for v in corners.min(axis=0))
        width, height = (max(1, int(v)) for v in np.ptp(corners, axis=0))
        spot = soft_spot(strength).resize((width, height), Image.Resampling.BILINEAR)
        self.canvas.paste(Image.new("RGB", spot.size, colour), (left, top), spot)

    def form(
        self,
        points: Sequence[Point] | Points,
        colour: Colour,
        *,
        marks: Callable[["Brush"], None] | None = None,
        shade: float = 0.5,
        light: float = 0.3,
        fur: float = 0.3,
        edge: Edge | None = None,
    ) -> None:
        """Paint a rounded body part: colour and marks, then fur, shadow, light and an outline."""
        placed = self.place(points)
        low, high = np.floor(placed.min(axis=0)) - 1, np.ceil(placed.max(axis=0)) + 2
        left, top = max(0, int(low[0])), max(0, int(low[1]))
        size = min(self.canvas.width, int(high[0])) - left, min(self.canvas.height, int(high[1])) - top
        # The part lies outside the picture.
        if min(size) < 1:
            return
        part = Image.new("RGB", size, colour)
        if marks is not None:
            shift = np.array([[1.0, 0.0, -left], [0.0, 1.0, -top], [0.0, 0.0, 1.0]])
            # Markings are painted on the part alone, and cut with it by its outline.
            marks(Brush(part, shift @ self.frame, self.random, self.curly))
        grain = 40 / (high - low)  # the masks of shadow and light are 40 pixels wide and high
        corner = (np.array([left, top]) - low) * grain
        right, bottom = np.minimum(40.0, corner + size * grain)
        box = (corner[0], corner[1], right, bottom)
        sheet, hairy = fur_sheet(self.curly, fur * 0.55), fur > 0 and min(size) > 30
        dark, bright = blend(colour, SHADOW, 0.7), blend(colour, CREAM, 0.8)
        for tone, strength, mask in ((dark, shade, form_shadow(shade)), (bright, light, form_light(light))):
            if strength == 0:
                continue
            film = mask.resize(size, Image.Resampling.BILINEAR, box)
            if hairy:
                x, y = self.random.randrange(240), self.random.randrange(240)
                film = ImageChops.lighter(film, sheet.crop((x, y, x + size[0], y + size[1])))
            part.paste(Image.new("RGB", size, tone), (0, 0), film)
        mask = Image.new("L", size)
        ImageDraw.Draw(mask).polygon(flat_list(placed - (left, top)), fill=255)
        self.canvas.paste(part, (left, top), mask)
        if self.labels is not None:
            self.labels.draw.polygon(flat_list(placed), fill=self.labels.label)
        if edge is not None:
            self._outline(placed, edge)

    def _outline(self, placed: Points, edge: Edge) -> None:
        """Draw the line around a body part whose points (N, 2) are pixels."""
        # An outline that is open at its root grows out of the body without a seam.
        skip = int(len(placed) * edge.open_part)
        way = flat_list(placed[skip : len(placed) - skip] if skip else np.concatenate([placed, placed[:2]]))
        thick = max(2, round(edge.width * self.unit))
        self.draw.line(way, fill=edge.colour, width=thick, joint="curve")
        if self.labels is not None:
            self.labels.draw.line(way, fill=self.labels.label, width=thick, joint="curve")
