"""The scenes of the drawn pets: backgrounds, clutter on the ground and things close to the viewer."""

import math
from collections.abc import Callable
from random import Random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from hftransfer.demo.brush import (
    BRIGHTS,
    CREAM,
    INK,
    PASTELS,
    SHADOW,
    SIDE,
    Brush,
    Colour,
    Edge,
    Point,
    blend,
    oval,
    smooth,
)


def gradient(top: Colour, bottom: Colour, size: int) -> Image.Image:
    """Return a square that fades from one colour at the top to another at the bottom."""
    # Eight shades in a column; resizing blends them.
    strip = Image.new("RGB", (1, 8))
    for k in range(8):
        strip.putpixel((0, k), blend(top, bottom, k / 7))
    return strip.resize((size, size), Image.Resampling.BILINEAR)


def paint_background(random: Random) -> Image.Image:
    """Return a scene without the animal."""
    # At half the size: backgrounds are out of focus anyway.
    half = SIDE // 2
    painter = random.choice(
        (paint_room, paint_room, paint_garden, paint_garden, paint_street, paint_night, paint_plain)
    )
    scene = painter(random, half)
    scene = scene.filter(ImageFilter.BoxBlur(random.uniform(0.5, 1.4)))
    return scene.resize((SIDE, SIDE), Image.Resampling.NEAREST)


def paint_room(random: Random, size: int) -> Image.Image:
    """Return a room with a patterned wall, furniture and a floor."""
    wall, floor = (
        random.choice(PASTELS),
        random.choice(((188, 140, 98), (160, 118, 88), (206, 176, 140), (140, 130, 128))),
    )
    scene = gradient(blend(wall, CREAM, 0.2), blend(wall, INK, 0.12), size)
    pen = ImageDraw.Draw(scene)
    level = random.uniform(0.55, 0.78) * size
    pattern, tone = random.choice(("none", "stripes", "dots")), blend(wall, random.choice((CREAM, INK)), 0.14)
    gap = random.randint(18, 34)
    if pattern == "stripes":
        for left in range(0, size, gap):
            pen.rectangle((left, 0, left + gap // 2, level), fill=tone)
    elif pattern == "dots":
        for column, left in enumerate(range(0, size + gap, gap)):
            for top in range(column % 2 * gap // 2, size, gap):
                pen.ellipse((left - 3, top - 3, left + 3, top + 3), fill=tone)
    pen.rectangle((0, level, size, size), fill=floor)
    # Boards of the floor lie closer towards the wall, as in perspective.
    for k in range(1, 6):
        y = level + (size - level) * (k / 6) ** 1.4
        pen.line((0, y, size, y), fill=blend(floor, INK, 0.22), width=1)
    pen.rectangle((0, level - 6, size, level), fill=blend(wall, CREAM, 0.6))
    for _ in range(random.randint(1, 3)):
        x = random.uniform(-0.05, 0.8) * size
        random.choice((paint_window, paint_picture, paint_shelf, paint_plant, paint_sofa))(pen, random, x, level, size)
    if random.random() < 0.5:
        rug, x, w = random.choice(BRIGHTS), random.uniform(0.2, 0.8) * size, random.uniform(0.3, 0.5) * size
        for k in range(3):
            r = 1 - 0.2 * k
            box = (x - w * r, size * 0.88 - w * r * 0.22, x + w * r, size * 0.88 + w * r * 0.22)
            pen.ellipse(box, fill=blend(rug, CREAM, 0.25 + 0.3 * (k % 2)))
    return scene


def paint_window(pen: ImageDraw.ImageDraw, random: Random, x: float, level: float, size: int) -> None:
    """Paint a window with a view of the sky."""
    w, h, y = size * random.uniform(0.22, 0.34), level * random.uniform(0.45, 0.6), level * random.uniform(0.06, 0.2)
    sky = random.choice(((176, 214, 238), (246, 206, 170), (70, 90, 140), (200, 226, 220)))
    pen.rectangle((x - 4, y - 4, x + w + 4, y + h + 4), fill=(250, 246, 238))
    pen.rectangle((x, y, x + w, y + h), fill=sky)
    pen.ellipse((x + w * 0.1, y + h * 0.65, x + w * 0.9, y + h * 1.0), fill=blend(sky, (110, 160, 100), 0.6))
    pen.rectangle((x + w / 2 - 2, y, x + w / 2 + 2, y + h), fill=(250, 246, 238))
    pen.rectangle((x, y + h / 2 - 2, x + w, y + h / 2 + 2), fill=(250, 246, 238))
    pen.rectangle((x - 8, y + h + 3, x + w + 8, y + h + 9), fill=(232, 222, 206))


def paint_picture(pen: ImageDraw.ImageDraw, random: Random, x: float, level: float, size: int) -> None:
    """Paint a framed abstract picture."""
    w, y = size * random.uniform(0.12, 0.22), level * random.uniform(0.08, 0.35)
    pen.rectangle(
        (x - 4, y - 4, x + w + 4, y + w * 1.2 + 4), fill=random.choice(((120, 84, 60), (60, 56, 60), (214, 180, 120)))
    )
    pen.rectangle((x, y, x + w, y + w * 1.2), fill=(246, 240, 228))
    pen.ellipse((x + w * 0.2, y + w * 0.2, x + w * 0.7, y + w * 0.7), fill=random.choice(BRIGHTS))
    pen.rectangle((x, y + w * 0.85, x + w, y + w * 1.2), fill=random.choice(PASTELS))


def paint_shelf(pen: ImageDraw.ImageDraw, random: Random, x: float, level: float, size: int) -> None:
    """Paint a shelf with books."""
    w, y = size * random.uniform(0.25, 0.4), level * random.uniform(0.4, 0.62)
    left = x
    while left < x + w - 8:
        thick, tall = random.randint(6, 13), random.randint(22, 40)
        pen.rectangle(
            (left, y - tall, left + thick - 1, y), fill=blend(random.choice(BRIGHTS), CREAM, random.uniform(0, 0.5))
        )
        left += thick
    pen.rectangle((x - 6, y, x + w + 6, y + 6), fill=(140, 98, 66))


def paint_plant(pen: ImageDraw.ImageDraw, random: Random, x: float, level: float, size: int) -> None:
    """Paint a plant in a pot."""
    base, leaf = level + size * 0.08, random.choice(((86, 140, 92), (110, 160, 90), (60, 112, 92)))
    for _ in range(9):
        angle, length = random.uniform(-1.1, 1.1), size * random.uniform(0.12, 0.26)
        tip = (x + math.sin(angle) * length, base - 30 - math.cos(angle) * length)
        side = (math.cos(angle) * length * 0.16, math.sin(angle) * length * 0.16)
        middle = ((x + tip[0]) / 2, (base - 30 + tip[1]) / 2)
        tone = blend(leaf, random.choice((CREAM, INK)), random.uniform(0, 0.25))
        pen.polygon(
            [x, base - 28, middle[0] + side[0], middle[1] + side[1], *tip, middle[0] - side[0], middle[1] - side[1]],
            fill=tone,
        )
    pot = random.choice(BRIGHTS)
    pen.polygon([x - 20, base - 32, x + 20, base - 32, x + 14, base, x - 14, base], fill=blend(pot, CREAM, 0.2))
    pen.rectangle((x - 22, base - 36, x + 22, base - 28), fill=blend(pot, CREAM, 0.35))


def paint_sofa(pen: ImageDraw.ImageDraw, random: Random, x: float, level: float, size: int) -> None:
    """Paint a sofa."""
    colour, w = blend(random.choice(BRIGHTS), (150, 140, 140), 0.35), size * random.uniform(0.45, 0.7)
    x -= w * 0.3
    top = level - size * 0.22
    pen.rounded_rectangle((x, top, x + w, level + 14), 14, fill=blend(colour, INK, 0.12))
    pen.rounded_rectangle((x + 8, level - 20, x + w - 8, level + 12), 8, fill=blend(colour, CREAM, 0.2))
    for left in (x - 8, x + w - 14):
        pen.rounded_rectangle((left, top + 22, left + 24, level + 16), 10, fill=colour)


def paint_garden(random: Random, size: int) -> Image.Image:
    """Return a garden or a meadow with hills, trees, flowers and grass."""
    sky = random.choice(((170, 212, 240), (250, 220, 180), (206, 226, 236), (244, 196, 190), (190, 200, 210)))
    green = random.choice(((122, 172, 88), (150, 180, 96), (98, 150, 96), (196, 176, 100), (226, 232, 238)))
    scene = gradient(sky, blend(sky, CREAM, 0.6), size)
    pen = ImageDraw.Draw(scene)
    level = random.uniform(0.45, 0.7) * size
    for _ in range(random.randint(0, 3)):
        x, y = random.uniform(0, size), random.uniform(0.05, 0.3) * size
        for shift, puff in ((-16, 9), (0, 14), (16, 10)):
            box = (x + shift - puff, y - puff, x + shift + puff, y + puff * 0.7)
            pen.ellipse(box, fill=blend(sky, (255, 255, 255), 0.7))
    for k in range(3):
        x, w = random.uniform(0, size), random.uniform(0.5, 0.9) * size
        # Hills: farther ones are nearer the colour of the sky.
        pen.ellipse((x - w, level - 26 + 8 * k, x + w, level + w), fill=blend(green, sky, 0.6 - 0.2 * k))
    for _ in range(random.randint(0, 3)):
        x, r = random.uniform(0, size), random.uniform(22, 42)
        tone = blend(green, (40, 80, 70), random.uniform(0.2, 0.6))
        pen.rectangle((x - 5, level - r, x + 5, level + 12), fill=(116, 84, 66))
        for dx, dy, q in ((-0.6, 0, 0.75), (0.6, 0, 0.75), (0, -0.5, 0.95)):
            cx, cy = x + dx * r, level - r * 1.5 + dy * r
            pen.ellipse((cx - q * r, cy - q * r, cx + q * r, cy + q * r), fill=blend(tone, CREAM, 0.08 * (dx < 0)))
    scene.paste(gradient(blend(green, CREAM, 0.12), blend(green, (40, 70, 60), 0.3), size), (0, round(level)))
    if random.random() < 0.3:
        wood = random.choice(((250, 246, 236), (176, 132, 96)))
        for left in range(-4, size, 26):
            pen.rectangle((left, level - 24, left + 16, level + 20), fill=wood)
            pen.polygon([left, level - 24, left + 8, level - 32, left + 16, level - 24], fill=wood)
        pen.rectangle((0, level - 10, size, level - 3), fill=blend(wood, INK, 0.12))
    for _ in range(random.randint(30, 70)):
        x, y = random.uniform(0, size), random.uniform(level, size)
        # Blades grow towards the viewer.
        h = 4 + 12 * (y - level) / (size - level)
        pen.line(
            (x, y, x + random.uniform(-4, 4), y - h),
            fill=blend(green, random.choice((CREAM, (40, 80, 50))), 0.3),
            width=1,
        )
    for _ in range(random.choice((0, 8, 18))):
        x, y, tone = random.uniform(0, size), random.uniform(level + 6, size), random.choice(BRIGHTS)
        r = 1.5 + 3 * (y - level) / (size - level)
        pen.ellipse((x - r, y - r, x + r, y + r), fill=blend(tone, CREAM, 0.3))
    return scene


def paint_street(random: Random, size: int) -> Image.Image:
    """Return a street with houses and a pavement."""
    sky = random.choice(((186, 214, 232), (246, 214, 186), (190, 196, 206), (140, 160, 196)))
    scene = gradient(sky, blend(sky, CREAM, 0.5), size)
    pen = ImageDraw.Draw(scene)
    level, x = random.uniform(0.58, 0.74) * size, random.uniform(-40, 0)
    while x < size:
        w, tall = random.uniform(48, 90), random.uniform(0.3, 0.62) * size
        wall = blend(random.choice(PASTELS), random.choice(BRIGHTS), random.uniform(0, 0.5))
        pen.rectangle((x, level - tall, x + w, level), fill=wall)
        pen.polygon(
            [x - 4, level - tall, x + w / 2, level - tall - 26, x + w + 4, level - tall],
            fill=blend(wall, (120, 60, 50), 0.55),
        )
        for wy in range(round(level - tall + 10), round(level - 30), 32):
            for wx in (x + w * 0.18, x + w * 0.6):
                pen.rectangle(
                    (wx, wy, wx + w * 0.22, wy + 18),
                    fill=random.choice(((250, 232, 170), (110, 130, 150), (226, 238, 240))),
                )
        pen.rectangle((x + w * 0.4, level - 26, x + w * 0.62, level), fill=random.choice(BRIGHTS))
        x += w + random.choice((0, 0, 14))
    grey = random.choice(((176, 172, 170), (150, 150, 160), (200, 188, 170)))
    pen.rectangle((0, level, size, size), fill=grey)
    for k in range(-3, 9):
        pen.line(
            (size * k / 6, size, size / 2 + (size * k / 6 - size / 2) * 0.6, level),
            fill=blend(grey, INK, 0.18),
            width=1,
        )
    pen.line(
        (0, level + (size - level) * 0.4, size, level + (size - level) * 0.4), fill=blend(grey, INK, 0.18), width=1
    )
    return scene


def paint_night(random: Random, size: int) -> Image.Image:
    """Return a night with a moon and stars over roofs or hills."""
    top = random.choice(((26, 34, 74), (44, 36, 84), (20, 50, 76)))
    scene = gradient(top, blend(top, (170, 130, 160), 0.55), size)
    pen = ImageDraw.Draw(scene)
    for _ in range(40):
        x, y, r = random.uniform(0, size), random.uniform(0, size * 0.6), random.choice((0.6, 0.8, 1.4))
        pen.ellipse((x - r, y - r, x + r, y + r), fill=(250, 244, 214))
    x, y, r = random.uniform(0.1, 0.9) * size, random.uniform(0.1, 0.3) * size, random.uniform(14, 30)
    pen.ellipse((x - r * 1.5, y - r * 1.5, x + r * 1.5, y + r * 1.5), fill=blend(top, (250, 240, 200), 0.25))
    pen.ellipse((x - r, y - r, x + r, y + r), fill=(250, 240, 206))
    level = random.uniform(0.6, 0.78) * size
    ground = blend(top, random.choice(((40, 70, 60), (60, 50, 70), (90, 80, 90))), 0.6)
    for k in range(4):
        x, w = random.uniform(0, size), random.uniform(0.3, 0.7) * size
        pen.ellipse((x - w, level - 34, x + w, level + w), fill=blend(ground, top, 0.5 - 0.1 * k))
    scene.paste(gradient(blend(ground, CREAM, 0.12), ground, size), (0, round(level)))
    return scene


def paint_plain(random: Random, size: int) -> Image.Image:
    """Return a plain studio backdrop, perhaps with soft lights or confetti."""
    colour = random.choice(PASTELS + BRIGHTS)
    scene = gradient(blend(colour, CREAM, 0.35), blend(colour, INK, 0.18), size)
    pen = ImageDraw.Draw(scene)
    if random.random() < 0.6:
        for _ in range(random.randint(8, 24)):
            x, y, r = random.uniform(0, size), random.uniform(0, size), random.uniform(3, 26)
            pen.ellipse((x - r, y - r, x + r, y + r), fill=blend(colour, random.choice((CREAM, CREAM, *BRIGHTS)), 0.3))
    return scene


def paint_clutter(brush: Brush, random: Random) -> None:
    """Put a few things on the ground around the animal; the brush spans the canvas from 0 to 1."""
    for _ in range(random.choice((0, 0, 1, 2))):
        x, y, r = random.uniform(0.05, 0.95), random.uniform(0.78, 0.97), random.uniform(0.04, 0.075)
        paint_thing(brush.at(x, y, r), random)


def paint_thing(brush: Brush, random: Random) -> None:
    """Paint a ball, a box or a cushion of radius one."""
    colour, other = random.choice(BRIGHTS), random.choice(PASTELS)
    edge = blend(colour, INK, 0.5)
    brush.glow(0.1, 0.9, 1.4, 0.4, SHADOW, 0.5)
    style = random.choice(("ball", "ball", "box", "cushion"))

    def band(pen: Brush) -> None:
        pen.fill(smooth([(-1.1, -0.2), (0.0, 0.05), (1.1, -0.2), (1.1, 0.2), (0.0, 0.45), (-1.1, 0.2)]), other)

    if style == "ball":
        brush.form(oval(0, 0, 1, 1), colour, marks=band, fur=0, light=0.7, edge=Edge(edge, width=0.07))
    elif style == "box":
        brush.form(
            np.array([(-1.1, -0.8), (1.1, -0.8), (1.05, 1.0), (-1.05, 1.0)]), colour, fur=0, edge=Edge(edge, width=0.07)
        )
        brush.form(np.array([(-0.15, -0.8), (0.15, -0.8), (0.15, 1.0), (-0.15, 1.0)]), other, fur=0)
    else:
        brush.form(
            smooth(
                [(-1.3, -0.5), (0, -0.4), (1.3, -0.5), (1.2, 0.2), (1.35, 0.9), (0, 0.8), (-1.35, 0.9), (-1.2, 0.2)]
            ),
            colour,
            fur=0.1,
            edge=Edge(edge, width=0.06),
        )


def paint_cover(brush: Brush, random: Random) -> None:
    """Hide a part of the picture behind something close; the brush spans the canvas from 0 to 1."""
    style = random.choice(("none", "none", "grass", "fence", "curtain", "leaves", "thing"))
    side = random.random() < 0.5
    # One picture in two is mirrored, so that things come from either side.
    near = brush.at(1, 0, mirror=True) if side else brush
    if style != "none":
        COVERS[style](near, random)


def cover_with_grass(near: Brush, random: Random) -> None:
    """Paint blades of grass along the lower edge."""
    green = random.choice(((96, 150, 84), (140, 172, 90), (70, 120, 90), (190, 170, 96)))
    for _ in range(46):
        x, h, lean = random.uniform(-0.02, 1.02), random.uniform(0.06, 0.2), random.uniform(-0.05, 0.05)
        tone = blend(green, random.choice((CREAM, INK)), random.uniform(0, 0.25))
        near.fill([(x - 0.012, 1.01), (x + lean, 1.0 - h), (x + 0.012, 1.01)], tone)


def cover_with_fence(near: Brush, random: Random) -> None:
    """Paint a fence across the lower part."""
    wood, top = random.choice(((248, 242, 230), (180, 136, 98), (150, 170, 160))), random.uniform(0.78, 0.86)
    near.form(
        np.array([(-0.1, top + 0.06), (1.1, top + 0.06), (1.1, top + 0.1), (-0.1, top + 0.1)]),
        blend(wood, INK, 0.1),
        fur=0,
    )
    for k in range(8):
        x = k * 0.14 + 0.02
        board: list[Point] = [(x, 1.1), (x, top + 0.03), (x + 0.04, top), (x + 0.08, top + 0.03), (x + 0.08, 1.1)]
        near.form(np.array(board), wood, fur=0.1, light=0, edge=Edge(blend(wood, INK, 0.45), width=0.006))


def cover_with_curtain(near: Brush, random: Random) -> None:
    """Paint a curtain at the left side."""
    cloth, w = random.choice(BRIGHTS + PASTELS), random.uniform(0.1, 0.2)
    near.form(
        smooth([(-0.1, -0.1), (w, -0.1), (w * 0.85, 0.3), (w * 1.1, 0.7), (w, 1.1), (-0.1, 1.1)]),
        cloth,
        fur=0,
        edge=Edge(blend(cloth, INK, 0.4), width=0.006),
    )
    for k in range(1, 4):
        near.stroke(
            [(w * k / 4, -0.1), (w * k / 4 - 0.01, 0.4), (w * k / 4 + 0.015, 1.1)], blend(cloth, INK, 0.2), 0.008
        )


def cover_with_leaves(near: Brush, random: Random) -> None:
    """Paint leaves that reach in from the left side."""
    green = random.choice(((86, 140, 92), (110, 160, 90), (60, 112, 92), (190, 130, 70)))
    for _ in range(9):
        leaf = near.at(
            random.uniform(-0.03, 0.14),
            random.uniform(0.55, 1.05),
            random.uniform(0.1, 0.2),
            random.uniform(-70, 20),
        )
        leaf.form(
            smooth([(-0.1, 0.0), (0.4, -0.26), (1.0, 0.0), (0.4, 0.26)]),
            green,
            fur=0,
            edge=Edge(blend(green, INK, 0.4), width=0.025),
        )
        leaf.stroke([(0.0, 0.0), (0.85, 0.0)], blend(green, INK, 0.25), 0.025)


def cover_with_thing(near: Brush, random: Random) -> None:
    """Paint something that stands close, near the lower edge."""
    paint_thing(near.at(random.uniform(0.1, 0.4), random.uniform(0.86, 0.95), random.uniform(0.08, 0.13)), random)


COVERS: dict[str, Callable[[Brush, Random], None]] = {
    "grass": cover_with_grass,
    "fence": cover_with_fence,
    "curtain": cover_with_curtain,
    "leaves": cover_with_leaves,
    "thing": cover_with_thing,
}
