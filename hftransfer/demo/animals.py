"""The cats and dogs of the drawn pets: coats, builds, heads, bodies and poses."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Literal

import numpy as np

from hftransfer.demo.brush import (
    BLUSH,
    BRIGHTS,
    CREAM,
    INK,
    SHADOW,
    Brush,
    Colour,
    Edge,
    Point,
    Points,
    blend,
    curve,
    grow_fur,
    oval,
    smooth,
    tube,
    twin_curve,
    way,
)

Kind = Literal["cat", "dog"]
WHITE: Colour = (255, 255, 255)

# --- looks ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Coat:
    """Colours and markings, which cats and dogs share."""

    base: Colour
    mark: Colour
    pale: Colour
    pattern: str
    line: Colour

    @property
    def sock(self) -> Colour:
        """The colour of the paws."""
        return {"tuxedo": self.pale, "patches": self.pale, "mask": self.mark}.get(self.pattern, self.base)


@dataclass(frozen=True)
class Build:
    """Proportions and breed-like traits of one animal."""

    kind: Kind
    wide: float  # of the head
    ears: str
    ear_size: float
    fur: str
    muzzle: float
    body: float  # thickness of the trunk
    legs: float
    tail: str
    eyes: Colour = INK
    tongue: bool = False
    look: float = 0.0


COAT_COLOURS: tuple[Colour, ...] = (
    *((72, 64, 70), (122, 122, 132), (166, 162, 168), (242, 234, 222), (236, 212, 174)),
    *((232, 156, 84), (202, 126, 70), (150, 102, 70), (110, 78, 62), (212, 180, 134)),
)
# Plain coats come twice as often.
PATTERNS = ("plain", "plain", "stripes", "patches", "tuxedo", "spots", "mask")
CAT_EYES: tuple[Colour, ...] = ((142, 190, 88), (230, 186, 66), (222, 146, 56), (104, 176, 214), (98, 184, 156))
DOG_EYES: tuple[Colour, ...] = ((92, 54, 32), (70, 44, 30), (112, 70, 36), (78, 52, 44))
CATS: tuple[Build, ...] = (
    Build("cat", 1.0, "upright", 1.0, "short", 1.0, 1.0, 1.0, "long"),
    Build("cat", 1.02, "upright", 1.05, "short", 1.0, 1.0, 1.0, "long"),
    Build("cat", 1.08, "upright", 0.95, "long", 1.0, 1.12, 0.95, "fluffy"),
    Build("cat", 1.12, "upright", 0.85, "short", 1.1, 1.2, 0.92, "long"),
    Build("cat", 0.92, "upright", 1.2, "short", 0.92, 0.85, 1.06, "long"),
)
DOGS: tuple[Build, ...] = (
    Build("dog", 1.0, "floppy", 1.0, "short", 1.05, 1.05, 1.05, "wag"),
    Build("dog", 0.96, "long", 1.15, "short", 1.0, 1.0, 0.95, "wag"),
    Build("dog", 0.94, "pointed", 1.0, "long", 1.12, 1.05, 1.1, "brush"),
    Build("dog", 1.1, "folded", 0.9, "short", 1.2, 1.2, 0.85, "curl"),
    Build("dog", 0.94, "floppy", 0.95, "short", 1.1, 0.95, 1.15, "wag"),
    Build("dog", 1.02, "floppy", 1.15, "curly", 0.95, 1.05, 1.05, "pompom"),
    Build("dog", 0.98, "folded", 1.0, "long", 1.1, 0.95, 0.95, "wag"),
    Build("dog", 0.98, "long", 1.25, "long", 1.0, 1.1, 0.8, "brush"),
)


def choose_coat(random: Random) -> Coat:
    """Return a coat; which animal wears it plays no part."""
    base, jitter = random.choice(COAT_COLOURS), random.randint(-10, 12)
    base = (min(255, base[0] + jitter), min(255, base[1] + jitter), min(255, base[2] + jitter))
    # Markings are darker than the coat; pale coats may have coloured ones.
    mark = blend(base, INK, 0.5)
    if sum(base) > 480:
        mark = blend(base, random.choice(COAT_COLOURS[:2] + COAT_COLOURS[5:9]), 0.85)
    pale = blend(base, (253, 247, 238), random.uniform(0.65, 0.94))
    line = blend(blend(base, INK, 0.72), (48, 28, 30), 0.25)
    return Coat(base, mark, pale, random.choice(PATTERNS), line)


def choose_build(kind: Kind, random: Random) -> Build:
    """Return a breed-like build of the animal, slightly varied."""
    breed = random.choice(CATS if kind == "cat" else DOGS)
    return replace(
        breed,
        wide=breed.wide * random.uniform(0.96, 1.04),
        ear_size=breed.ear_size * random.uniform(0.94, 1.06),
        muzzle=breed.muzzle * random.uniform(0.94, 1.06),
        body=breed.body * random.uniform(0.94, 1.06),
        eyes=random.choice(CAT_EYES if kind == "cat" else DOG_EYES),
        tongue=kind == "dog" and random.random() < 0.6,
        look=random.uniform(-1, 1),
    )


# --- markings -------------------------------------------------------------------------------------------------


def mark_trunk(pen: Brush, coat: Coat, box: tuple[float, float, float, float]) -> None:
    """Mark a trunk that fills the box (left, top, right, bottom)."""
    left, top, right, bottom = box
    wide, high, random = right - left, bottom - top, pen.random
    pen.glow(left + wide / 2, bottom, wide * 0.55, high * 0.45, coat.pale, 0.55)
    if coat.pattern == "stripes":
        count = random.randint(5, 7)
        for k in range(count):
            x, w = left + wide * (k + 0.7) / (count + 0.4), wide * 0.035
            deep, lean = high * random.uniform(0.4, 0.62), random.uniform(-0.04, 0.1) * wide
            # Stripes begin above the back and narrow downwards.
            foot = [(x + lean + w, top + deep * 0.6), (x + lean * 1.5, top + deep)]
            pen.fill(smooth([(x - w, top - 0.1), (x + w, top - 0.1), *foot]), coat.mark)
    elif coat.pattern == "spots":
        for _ in range(random.randint(9, 15)):
            blot(pen, random.uniform(left, right), random.uniform(top, bottom), random.uniform(0.06, 0.15), coat.mark)
    elif coat.pattern == "patches":
        for _ in range(3):
            blot(pen, random.uniform(left, right), random.uniform(top, top + high * 0.7), wide * 0.19, coat.mark)
    elif coat.pattern == "tuxedo":
        pen.fill(oval(left + wide * 0.45, bottom + high * 0.1, wide * 0.45, high * 0.42), coat.pale)
    elif coat.pattern == "mask":
        pen.glow(left + wide / 2, top, wide * 0.7, high * 0.5, coat.mark, 0.75)


def blot(pen: Brush, x: float, y: float, size: float, colour: Colour) -> None:
    """Fill an irregular patch."""
    # Seven points at about the same distance, flattened a little: no two patches are alike.
    turns = [(k * math.tau / 7, size * pen.random.uniform(0.8, 1.2)) for k in range(7)]
    pen.fill(smooth([(x + r * math.cos(a), y + 0.85 * r * math.sin(a)) for a, r in turns], 5), colour)


def mark_face(pen: Brush, coat: Coat, build: Build) -> None:
    """Mark a face seen from the front."""
    side = 1 if pen.random.random() < 0.5 else -1
    if coat.pattern == "stripes":
        for x, deep in ((-0.28, 0.3), (0.0, 0.42), (0.28, 0.3)):
            pen.fill(smooth([(x - 0.07, -1.0), (x + 0.07, -1.0), (x * 0.8, -0.92 + deep)]), coat.mark)
        for flip in (-1, 1):
            for y in (0.08, 0.3):
                wedge = [(flip * 1.1, y - 0.06), (flip * 1.1, y + 0.08), (flip * 0.7, y + 0.07)]
                pen.fill(smooth(wedge), coat.mark)
    elif coat.pattern == "spots":
        for x, y in way("-0.6,-0.5 0.1,-0.72 0.7,-0.35 -0.78,0.25 0.72,0.3"):
            blot(pen, x * side, y, 0.09, coat.mark)
    elif coat.pattern == "patches":
        blot(pen, 0.5 * side, -0.3, 0.5, coat.mark)
    elif coat.pattern == "tuxedo":
        pen.fill(twin_curve("0,-0.8 0.09,-0.35 0.22,0.05 0.6,0.5 0.4,1"), coat.pale)
    elif coat.pattern == "mask":
        pen.glow(0, 0.25, 0.95, 0.8, coat.mark, 0.95)
    # Cats have a pale chin whatever their coat, unless the markings cover it.
    if build.kind == "cat" and coat.pattern not in {"mask", "tuxedo"}:
        pen.glow(0, 0.62, 0.6, 0.42, coat.pale, 0.7)


def mark_chest(pen: Brush, coat: Coat, top: float, bottom: float) -> None:
    """Mark a trunk seen from the front."""
    mark_trunk(pen, coat, (-1.1, top, 1.1, bottom))
    pen.glow(0, top + 0.55, 0.6, 0.95, coat.pale, 0.7)


def draw_bib(brush: Brush, coat: Coat, build: Build, top: float, long: float) -> None:
    """Draw the paler fur of the chest over the tops of the legs."""
    bright = coat.pattern in {"tuxedo", "patches"}
    colour = coat.pale if bright else blend(coat.base, coat.pale, 0.4)
    fur = "curly" if build.fur == "curly" else "long"
    half = [(0.0, top), (0.5, top + 0.1), (0.46, top + long * 0.55), (0.24, top + long * 0.85), (0.0, top + long)]
    outline = smooth([*half, *[(-x, y) for x, y in reversed(half[1:-1])]])
    brush.form(grow_fur(outline, fur, brush.random, 0.9), colour, shade=0.25, light=0.15)


# --- heads ----------------------------------------------------------------------------------------------------


def draw_eye(brush: Brush, x: float, y: float, size: float, build: Build, closed: bool, squeeze: float = 1.0) -> None:
    """Draw one eye: slit and almond for a cat, round and brown for a dog, an arc when asleep."""
    eye = brush.at(x, y, size, wide=squeeze)
    if closed:
        eye.stroke("-1,-0.1 -0.45,0.4 0.45,0.4 1,-0.1", INK, 0.24)
        return
    gaze = build.look * 0.16
    if build.kind == "cat":
        # The outer corner of a cat's eye is the higher one: the left eye mirrors the right.
        almond = eye.at(0, 0, mirror=x < 0)
        almond.fill(curve("-1.16,0.34 -0.58,-0.66 0.29,-0.96 1.24,-0.44 0.84,0.6 -0.24,0.86"), INK)
        almond.fill(curve("-1,0.28 -0.5,-0.55 0.25,-0.78 1.05,-0.35 0.7,0.5 -0.2,0.72"), build.eyes)
        eye.glow(0, 0.45, 0.8, 0.5, blend(build.eyes, CREAM, 0.7), 0.8)
        eye.disc(gaze, -0.02, 0.27, 0.68, (24, 18, 22))
    else:
        eye.disc(0, 0, 1.0, 1.05, INK)
        eye.disc(0, 0.03, 0.86, 0.9, build.eyes)
        eye.glow(0, 0.45, 0.7, 0.5, blend(build.eyes, (230, 170, 110), 0.7), 0.8)
        eye.disc(gaze, 0, 0.55, 0.58, (20, 14, 16))
    eye.disc(-0.28 + gaze, -0.34, 0.27, 0.27, WHITE)
    eye.disc(0.3 + gaze, 0.3, 0.12, 0.12, WHITE)


def draw_cat_ear(ear: Brush, coat: Coat, build: Build) -> None:
    """Draw one upright cat's ear with its pink inside."""
    shell = curve("-0.4,0 -0.22,-0.38 0.1,-0.72 0.25,-0.8 0.36,-0.6 0.44,-0.15 0.42,0.35 0,0.4")
    colour = coat.mark if coat.pattern in {"mask", "patches"} else coat.base
    ear.form(grow_fur(shell, build.fur, ear.random, 0.6), colour, edge=Edge(coat.line), shade=0.35)
    ear.fill(curve("-0.2,0.02 -0.05,-0.35 0.2,-0.62 0.3,-0.2 0.28,0.2"), blend((238, 158, 152), coat.base, 0.2))
    for dx in (0.0, 0.09, 0.18):
        ear.stroke([(-0.16 + dx, 0.15), (-0.02 + dx, -0.18)], blend(coat.pale, coat.base, 0.2), 0.035)


def draw_whiskers(brush: Brush, coat: Coat, side: int, dots: bool = True) -> None:
    """Draw the whiskers of one cheek."""
    x = 0.3
    hair = (252, 248, 242) if sum(coat.base) < 520 else (126, 108, 104)
    for k in range(3):
        droop = 0.1 * (k - 1)
        tip, middle = (side * (x + 1.02), 0.36 + 2.6 * droop), (side * (x + 0.5), 0.36 + 1.5 * droop)
        brush.stroke([(side * x, 0.47 + droop * 0.6), middle, tip], hair, 0.02)
        if dots:
            brush.disc(side * (x - 0.13 + 0.07 * (k % 2)), 0.42 + 0.05 * k, 0.015, 0.015, INK)


def draw_cat_face(brush: Brush, coat: Coat, build: Build, closed: bool = False) -> None:
    """Draw a cat's head seen from the front."""
    head = brush.at(0, 0, wide=build.wide)
    for side in (-1, 1):
        draw_cat_ear(head.at(side * 0.56, -0.58, build.ear_size, side * 8.0, mirror=side < 0), coat, build)
    cheek = 1.08 if build.fur == "long" else 0.97
    outline = twin_curve(f"0,-0.86 0.45,-0.8 0.86,-0.42 0.99,0.02 {cheek},0.36 0.7,0.66 0.35,0.82 0,0.86")
    fringe = grow_fur(outline, build.fur, head.random)
    head.form(fringe, coat.base, marks=lambda pen: mark_face(pen, coat, build), edge=Edge(coat.line))
    for side in (-1, 1):
        head.glow(side * 0.66, 0.34, 0.27, 0.19, BLUSH, 0.4)
        draw_eye(head, side * 0.43, -0.06, 0.235, build, closed)
    pad = blend(coat.pale, coat.mark, 0.55) if coat.pattern == "mask" else coat.pale
    head.disc(0, 0.63, 0.17, 0.14, blend(pad, SHADOW, 0.08))
    for side in (-1, 1):
        head.form(oval(side * 0.2, 0.47, 0.26, 0.19 * build.muzzle), pad, shade=0.25, light=0.2, fur=0.1)
    nose = curve("-0.13,0.24 0,0.22 0.13,0.24 0.06,0.35 0,0.38 -0.06,0.35")
    head.form(nose, (232, 138, 140), edge=Edge((150, 78, 84), width=0.02), fur=0, light=0.6)
    head.stroke([(0.0, 0.38), (0.0, 0.48)], INK, 0.03)
    for side in (-1, 1):
        head.stroke([(0.0, 0.48), (side * 0.1, 0.57), (side * 0.24, 0.54), (side * 0.3, 0.46)], INK, 0.03)
        draw_whiskers(head, coat, side)


def draw_cat_profile(brush: Brush, coat: Coat, build: Build, closed: bool = False) -> None:
    """Draw a cat's head seen from the side, looking left."""
    # The far ear first: the head hides its root.
    far = brush.at(-0.12, -0.68, 0.9 * build.ear_size, -14.0, mirror=True)
    draw_cat_ear(far, coat, build)
    outline = curve(
        "0.88,0.35 0.9,-0.2 0.55,-0.7 0.05,-0.86 -0.45,-0.66 -0.7,-0.26 -0.95,0.02 -0.99,0.18 -0.9,0.34 "
        "-0.84,0.52 -0.55,0.72 0.05,0.84 0.6,0.74"
    )

    def marks(pen: Brush) -> None:
        mark_face(
            pen.at(-0.1, 0, 0.95), replace(coat, pattern="plain" if coat.pattern == "tuxedo" else coat.pattern), build
        )
        pen.glow(-0.65, 0.5, 0.6, 0.45, coat.pale, 0.6 if coat.pattern == "mask" else 0.95)

    brush.form(grow_fur(outline, build.fur, brush.random, 0.55), coat.base, marks=marks, edge=Edge(coat.line))
    draw_cat_ear(brush.at(0.36, -0.58, build.ear_size, 6.0, mirror=True), coat, build)
    brush.glow(-0.2, 0.38, 0.24, 0.18, BLUSH, 0.4)
    draw_eye(brush, -0.44, -0.1, 0.22, build, closed, squeeze=0.75)
    nose = curve("-0.98,0.03 -0.84,0.04 -0.86,0.16 -0.95,0.22 -1.03,0.15")
    brush.form(nose, (232, 138, 140), edge=Edge((150, 78, 84), width=0.02), fur=0, light=0.5)
    brush.stroke("-0.93,0.22 -0.84,0.36 -0.68,0.42 -0.52,0.36", INK, 0.03)
    draw_whiskers(brush.at(-0.42, -0.1, 0.85), coat, -1, dots=False)
    draw_whiskers(brush.at(-0.86, -0.06, 0.95), coat, 1)


def draw_dog_ear(ear: Brush, coat: Coat, build: Build) -> None:
    """Draw one dog's ear: hanging, folded or pointed."""
    plain = coat.pattern in {"plain", "stripes"}
    colour = blend(coat.base, coat.mark, 0.45) if plain else coat.mark
    shells = {
        "pointed": "-0.32,0.05 -0.2,-0.4 0.06,-0.86 0.3,-0.5 0.4,0.1 0.1,0.3",
        "folded": "-0.34,0.02 -0.1,-0.3 0.28,-0.34 0.55,-0.1 0.62,0.2 0.42,0.3 0.2,0.12 0.05,0.22",
        "long": "-0.2,-0.06 0.15,-0.18 0.45,0.1 0.62,0.7 0.6,1.2 0.34,1.38 0.1,1.1 0.08,0.5",
        "floppy": "-0.22,-0.04 0.15,-0.2 0.5,0.05 0.7,0.5 0.66,0.9 0.42,1 0.2,0.66 0.06,0.3",
    }
    shell = grow_fur(curve(shells[build.ears]), build.fur, ear.random, 0.6)
    ear.form(shell, colour, edge=Edge(coat.line), shade=0.55)
    if build.ears == "pointed":
        pink = blend(colour, (220, 154, 144), 0.6)
        ear.fill(curve("-0.16,0 -0.04,-0.38 0.07,-0.62 0.2,-0.35 0.22,0.1"), pink)


def draw_tongue(brush: Brush) -> None:
    """Draw a tongue that hangs from the origin."""
    lick = curve("-0.17,-0.05 0.17,-0.05 0.2,0.35 0.1,0.52 -0.1,0.52 -0.2,0.35")
    brush.form(lick, (240, 124, 134), fur=0, edge=Edge((164, 74, 88), width=0.025))
    brush.stroke([(0.0, 0.05), (0.0, 0.36)], (206, 90, 104), 0.025)


def draw_dog_muzzle(m: Brush, coat: Coat, build: Build, tongue: bool) -> None:
    """Draw the muzzle, the big nose, the mouth and perhaps the tongue."""
    # A mask covers the muzzle, too.
    pale = coat.mark if coat.pattern == "mask" else coat.pale
    if tongue:
        m.form(curve("-0.3,0.2 0.3,0.2 0.24,0.5 0,0.6 -0.24,0.5"), (124, 56, 62), fur=0, edge=Edge(coat.line))
        draw_tongue(m.at(0, 0.34))
    else:
        m.form(oval(0, 0.36, 0.3, 0.2), blend(pale, SHADOW, 0.15), fur=0.2, edge=Edge(coat.line))
    outline = twin_curve("0,-0.44 0.26,-0.36 0.42,-0.08 0.52,0.18 0.4,0.4 0.14,0.42 0,0.34")
    m.form(grow_fur(outline, build.fur, m.random, 0.6), pale, shade=0.35, light=0.35, fur=0.25)
    for side in (-1, 1):
        m.stroke([(0.0, 0.16), (side * 0.06, 0.34), (side * 0.26, 0.4), (side * 0.47, 0.24)], INK, 0.045)
        for x, y in way("0.22,0.12 0.32,0.2 0.26,0.26"):
            m.disc(side * x, y, 0.018, 0.018, INK)
    nose = twin_curve("0,-0.34 0.17,-0.33 0.25,-0.2 0.14,-0.04 0,0.02")
    m.form(nose, (48, 36, 42), fur=0, shade=0.3, light=0.0)
    m.glow(-0.05, -0.25, 0.14, 0.08, WHITE, 0.8)
    m.stroke([(0.0, 0.0), (0.0, 0.18)], INK, 0.04)


def draw_dog_face(brush: Brush, coat: Coat, build: Build, closed: bool = False) -> None:
    """Draw a dog's head seen from the front."""
    head = brush.at(0, 0, wide=build.wide)
    ears = [head.at(side * 0.62, -0.62, build.ear_size, mirror=side < 0) for side in (-1, 1)]
    # Ears that hang lie over the head, others stand behind it.
    hanging = build.ears in {"floppy", "long"}
    if not hanging:
        for ear in ears:
            draw_dog_ear(ear, coat, build)
    outline = twin_curve("0,-0.92 0.4,-0.86 0.74,-0.6 0.86,-0.15 0.84,0.25 0.66,0.62 0.36,0.86 0,0.92")
    fringe = grow_fur(outline, build.fur, head.random)
    head.form(fringe, coat.base, marks=lambda pen: mark_face(pen, coat, build), edge=Edge(coat.line))
    if hanging:
        for ear in ears:
            draw_dog_ear(ear, coat, build)
    if build.fur == "curly":
        head.form(grow_fur(oval(0, -0.8, 0.5, 0.32), build.fur, brush.random), coat.base, edge=Edge(coat.line))
    # Brows must show on any coat: pale ones on dark, dark ones on pale.
    brow = blend(coat.base, coat.pale, 0.8) if sum(coat.base) < 400 else blend(coat.base, INK, 0.35)
    for side in (-1, 1):
        head.glow(side * 0.58, 0.22, 0.25, 0.18, BLUSH, 0.25)
        draw_eye(head, side * 0.36, -0.17, 0.165, build, closed)
        head.stroke([(side * 0.26, -0.45), (side * 0.36, -0.5), (side * 0.48, -0.45)], brow, 0.06)
    draw_dog_muzzle(head.at(0, 0.42, 1.02 * build.muzzle), coat, build, build.tongue)


def draw_dog_profile(brush: Brush, coat: Coat, build: Build, closed: bool = False) -> None:
    """Draw a dog's head seen from the side, looking left."""
    # How far the muzzle reaches to the left: short-haired dogs with folded ears have a short one.
    nose = -0.85 - 0.55 * build.muzzle * (0.75 if build.ears == "folded" and build.fur == "short" else 1.0)
    pale = coat.mark if coat.pattern == "mask" else coat.pale
    if build.ears in {"pointed", "folded"}:
        draw_dog_ear(brush.at(0.0, -0.66, 0.9 * build.ear_size, -8.0, mirror=True), coat, build)
    if build.tongue:
        draw_tongue(brush.at(nose * 0.66, 0.42, 0.95, 10))
    top = [(0.85, 0.4), (0.9, -0.2), (0.5, -0.76), (-0.05, -0.8), (-0.4, -0.46), (-0.62, -0.2)]
    front = [(nose + 0.15, -0.14), (nose, 0.0), (nose + 0.04, 0.28), (nose + 0.24, 0.46), (-0.5, 0.58)]
    outline = smooth([*top, *front, (-0.1, 0.76), (0.45, 0.82)])

    def marks(pen: Brush) -> None:
        mark_face(
            pen.at(0.05, 0),
            replace(coat, pattern="plain" if coat.pattern in {"tuxedo", "mask"} else coat.pattern),
            build,
        )
        pen.fill(smooth([(nose - 0.2, -0.3), (-0.72, -0.1), (-0.45, 0.2), (-0.35, 0.7), (nose, 0.8)]), pale)

    brush.form(grow_fur(outline, build.fur, brush.random, 0.6), coat.base, marks=marks, edge=Edge(coat.line))
    brush.stroke([(nose + 0.05, 0.24), (nose * 0.75, 0.33), (-0.62, 0.3), (-0.5, 0.18)], INK, 0.04)
    for x, y in way("0.3,0.1 0.4,0.18 0.5,0.09"):
        brush.disc(nose + x, y, 0.02, 0.02, INK)
    tip = curve("-0.16,-0.14 0.06,-0.17 0.16,-0.06 0.06,0.08 -0.06,0.12 -0.18,0.02")
    brush.at(nose + 0.07, 0.0).form(tip, (48, 36, 42), fur=0, light=0.3)
    brush.disc(nose + 0.02, -0.07, 0.045, 0.03, (220, 216, 220))
    draw_eye(brush, -0.26, -0.26, 0.16, build, closed, squeeze=0.85)
    brush.stroke("-0.42,-0.5 -0.28,-0.56 -0.14,-0.5", blend(coat.base, INK, 0.35), 0.05)
    brush.glow(-0.1, 0.12, 0.24, 0.17, BLUSH, 0.3)
    place = (0.3, -0.68, 0.0) if build.ears in {"pointed", "folded"} else (0.2, -0.55, -6.0)
    draw_dog_ear(brush.at(place[0], place[1], build.ear_size, place[2], mirror=build.ears == "folded"), coat, build)


def draw_head(brush: Brush, coat: Coat, build: Build, profile: bool = False, closed: bool = False) -> None:
    """Draw the animal's head over the soft shadow that it throws."""
    brush.glow(0.1, 0.75, 0.85, 0.5, coat.line, 0.4)
    if build.kind == "cat":
        (draw_cat_profile if profile else draw_cat_face)(brush, coat, build, closed)
    else:
        (draw_dog_profile if profile else draw_dog_face)(brush, coat, build, closed)


# --- limbs and trimmings --------------------------------------------------------------------------------------

TAILS: dict[str, tuple[str, tuple[float, ...]]] = {
    "long": ("-0.2,0.1 0.6,0.1 1.1,-0.5 1,-1.2 1.3,-1.75", (0.17, 0.16, 0.15, 0.14, 0.1)),
    "fluffy": ("-0.2,0.1 0.6,0.1 1.1,-0.5 1.1,-1.2 1.45,-1.6", (0.2, 0.28, 0.33, 0.3, 0.14)),
    "wag": ("-0.2,0.1 0.3,-0.05 0.7,-0.5 0.85,-1", (0.19, 0.16, 0.12, 0.05)),
    "brush": ("-0.2,0 0.4,0 0.9,-0.2 1.3,-0.7", (0.2, 0.3, 0.28, 0.06)),
    "curl": ("-0.2,0.1 0.25,-0.25 0.2,-0.62 -0.1,-0.6 -0.05,-0.38", (0.18, 0.17, 0.15, 0.13, 0.1)),
    "pompom": ("-0.2,0.1 0.3,-0.1 0.55,-0.55", (0.12, 0.1, 0.1)),
}


def draw_tail(brush: Brush, coat: Coat, build: Build) -> None:
    """Draw the tail, which starts at the brush's origin and leaves towards the right."""
    colour = coat.mark if coat.pattern == "mask" else coat.base
    text, widths = TAILS[build.tail]
    spine = way(text)

    def rings(pen: Brush) -> None:
        if coat.pattern == "stripes":
            for x, y in spine[1:]:
                pen.stroke([(x - 0.3, y - 0.12), (x + 0.3, y + 0.02)], coat.mark, 0.1)
        elif coat.pattern in {"tuxedo", "patches"}:
            pen.disc(*spine[-1], 0.35, 0.35, coat.pale)

    outline = grow_fur(tube(spine, widths), build.fur, brush.random, 0.7)
    brush.form(outline, colour, marks=rings, edge=Edge(coat.line), shade=0.35)
    if build.tail == "pompom":
        brush.form(grow_fur(oval(0.65, -0.72, 0.28, 0.28), build.fur, brush.random), colour, edge=Edge(coat.line))


def draw_leg(brush: Brush, coat: Coat, spine: Sequence[Point], thick: float, far: bool = False) -> None:
    """Draw one leg along its spine, with a paw at the end."""
    # Legs on the far side lie in the shadow of the body.
    dim = 0.28 if far else 0.0
    colour, sock = blend(coat.base, SHADOW, dim), blend(coat.sock, SHADOW, dim)
    x, y = spine[-1]
    shape = tube(spine, [thick * 0.5, thick * 1.2, thick * 1.1, thick * 0.95])
    brush.form(
        shape,
        colour,
        marks=lambda pen: pen.glow(x, y, thick * 3, 0.75, sock, 1.0),
        edge=Edge(coat.line, open_part=0.05),
        shade=0.2,
        light=0.0,
    )
    paw = brush.at(x, y, thick)
    sole = curve("-1.8,0.05 -1.5,-0.7 -0.5,-1.05 0.8,-0.9 1.15,0 0.9,0.65 -1.4,0.65")
    paw.form(sole, sock, edge=Edge(coat.line, width=0.18), shade=0.3, light=0.25)
    for dx in (-1.0, -0.35):
        paw.stroke([(dx, -0.1), (dx, 0.5)], coat.line, 0.14)


def draw_front_paw(brush: Brush, coat: Coat, x: float, y: float, size: float = 0.3) -> None:
    """Draw a paw seen from the front."""
    paw = brush.at(x, y, size)
    paw.form(twin_curve("0,-0.8 0.8,-0.6 1,0 0.7,0.35"), coat.sock, edge=Edge(coat.line, width=0.12), shade=0.35)
    for dx in (-0.33, 0.33):
        paw.stroke([(dx, -0.15), (dx, 0.28)], coat.line, 0.1)


def draw_collar(brush: Brush, random: Random, wide: float, sag: float) -> None:
    """Draw a collar with a bell or a scarf around the neck at the brush's origin, or nothing."""
    style, colour = random.choice(("none", "none", "bell", "scarf")), random.choice(BRIGHTS)
    if style == "none":
        return
    band = [(-wide, -0.05), (-wide * 0.5, sag * 0.7), (0.0, sag), (wide * 0.5, sag * 0.7), (wide, -0.05)]
    # A wider, darker stroke below is the outline of the band.
    brush.stroke(band, blend(colour, INK, 0.5), 0.24)
    brush.stroke(band, colour, 0.17)
    if style == "bell":
        gold: Colour = (240, 196, 84)
        brush.form(oval(0, sag + 0.15, 0.13, 0.13), gold, fur=0, edge=Edge((130, 90, 40), width=0.025), light=0.8)
    else:
        knot = smooth([(-0.4, sag * 0.75), (0.4, sag * 0.75), (0.05, sag + 0.6), (-0.05, sag + 0.6)], 5)
        brush.form(knot, colour, fur=0.1, edge=Edge(blend(colour, INK, 0.5)))
        for dot in way("-0.16,0.12 0.1,0.1 -0.02,0.3"):
            brush.disc(dot[0], sag + dot[1], 0.04, 0.04, CREAM)


# --- poses ----------------------------------------------------------------------------------------------------


def draw_portrait(brush: Brush, coat: Coat, build: Build, extras: Random) -> None:
    """Draw head and shoulders."""
    w = 1.05 * build.body
    half = [(0.5, 0.35), (0.75, 0.85), (w, 1.5), (w * 1.12, 2.6), (w * 1.1, 3.6)]
    trunk = grow_fur(smooth([*[(-x, y) for x, y in reversed(half)], *half]), build.fur, brush.random)
    brush.form(trunk, coat.base, marks=lambda pen: mark_chest(pen, coat, 0.7, 2.6), edge=Edge(coat.line))
    draw_bib(brush, coat, build, 0.6, 1.7)
    draw_collar(brush.at(0, 0.85), extras, 0.78, 0.25)
    draw_head(brush.at(0, 0, 1.0, extras.uniform(-9, 9)), coat, build)


def draw_sitting(brush: Brush, coat: Coat, build: Build, extras: Random) -> None:
    """Draw the animal sitting and facing us; the ground is at zero."""
    tall, w = (-2.65 if build.kind == "cat" else -2.55 - 0.25 * build.legs), build.body
    # The tail is behind the trunk.
    draw_tail(brush.at(0.75, -0.3, 1.0, extras.uniform(-12, 10)), coat, build)
    half = [(0.45, tall + 0.5), (0.68 * w, tall + 1.1), (0.95 * w, -0.9), (1.05 * w, -0.35), (0.7, 0.0)]
    trunk = grow_fur(smooth([*half, *[(-x, y) for x, y in reversed(half)]]), build.fur, brush.random)
    brush.form(trunk, coat.base, marks=lambda pen: mark_chest(pen, coat, tall + 0.75, 0.0), edge=Edge(coat.line))
    for side in (-1, 1):
        haunch = brush.at(0, 0, mirror=side < 0, wide=w)
        thigh = grow_fur(curve("0.6,-0.1 0.62,-0.6 0.95,-0.85 1.22,-0.45 1.15,0"), build.fur, brush.random, 0.6)
        haunch.form(thigh, coat.base, edge=Edge(coat.line), shade=0.4, light=0.2)
        draw_front_paw(brush, coat, side * 0.95 * w, -0.02, 0.3)
    for side in (-1, 1):
        leg = tube([(side * 0.3, tall + 1.35), (side * 0.33, -0.75), (side * 0.32, -0.1)], [0.16, 0.2, 0.18])
        brush.form(leg, blend(coat.base, CREAM, 0.05), edge=Edge(coat.line, open_part=0.1), shade=0.3, light=0.1)
        draw_front_paw(brush, coat, side * 0.33, 0.02, 0.29)
    draw_bib(brush, coat, build, tall + 0.6, 1.35)
    draw_collar(brush.at(0, tall + 0.85), extras, 0.62, 0.2)
    draw_head(brush.at(0, tall, 1.0, extras.uniform(-12, 12)), coat, build)


def draw_standing(brush: Brush, coat: Coat, build: Build, extras: Random) -> None:
    """Draw the animal standing or walking, seen from the side, heading left; the ground is at zero."""
    hip, b, dog = -1.4 * build.legs, build.body, build.kind == "dog"
    back, thick, stride = hip - 0.9, 0.2 * build.body, extras.uniform(-0.15, 0.3)
    draw_tail(brush.at(1.7, back + 0.35, 1.0, -5 if dog else -25), coat, build)
    # Far legs, trunk, near legs: what is nearer is painted over what is farther.
    for x in (-0.85 - stride, 1.15 + stride):
        draw_leg(brush, coat, [(x, hip + 0.1), (x + 0.08, hip * 0.5), (x - 0.04, -0.1)], thick * 0.95, far=True)
    top = [
        (-1.3, back + 0.02),
        (-0.6, back + 0.08),
        (0.4, back + (0.06 if dog else 0.12)),
        (1.3, back),
        (1.85, back + 0.45),
    ]
    belly = [(1.75, hip + 0.1), (0.85, hip + (-0.1 if dog else 0.06) * b), (-0.4, hip + 0.26 * b)]
    outline = smooth([*top, *belly, (-1.2, hip + 0.24 * b), (-1.65, hip - 0.3)])
    trunk = grow_fur(outline, build.fur, brush.random)
    brush.form(
        trunk, coat.base, marks=lambda pen: mark_trunk(pen, coat, (-1.7, back, 1.95, hip + 0.3)), edge=Edge(coat.line)
    )
    front, rear = -1.1 + stride, 1.4 - stride
    draw_leg(brush, coat, [(front, hip - 0.3), (front + 0.04, hip * 0.5), (front - 0.02, -0.05)], thick)
    bend = [(rear - 0.05, hip - 0.35), (rear - 0.02, hip * 0.62), (rear + 0.22, hip * 0.36), (rear + 0.05, -0.05)]
    draw_leg(brush, coat, bend, thick * 1.1)
    neck = [(-1.75, back - 0.6), (-1.2, back - 0.5), (-0.75, back + 0.1), (-0.95, hip - 0.2), (-1.5, hip - 0.15)]
    scruff = grow_fur(smooth([*neck, (-1.95, back + 0.2)]), build.fur, brush.random, 0.6)
    brush.form(
        scruff, coat.base, shade=0.25, light=0.1, marks=lambda pen: pen.glow(-1.7, back + 0.6, 0.6, 0.9, coat.pale, 0.6)
    )
    draw_collar(brush.at(-1.55, back + 0.1, 0.9, 20), extras, 0.52, 0.2)
    profile, tilt = extras.random() < 0.4, extras.uniform(-10, 8)
    draw_head(brush.at(-1.75, back - 0.7, 1.06, tilt), coat, build, profile)


def draw_lying(brush: Brush, coat: Coat, build: Build, extras: Random) -> None:
    """Draw the animal lying with its head up, seen from the side; the ground is at zero."""
    draw_tail(brush.at(2.0, -0.35, 0.95, 35 if build.kind == "cat" else 10), coat, build)
    b = 1.1 + 0.25 * build.body
    top = [(-1.2, -b - 0.1), (-0.4, -b), (0.7, -b + 0.12), (1.6, -b + 0.05), (2.2, -0.75), (2.15, -0.15)]
    outline = smooth([*top, (1.2, 0.05), (-0.6, 0.05), (-1.35, -0.1), (-1.55, -0.8)])
    trunk = grow_fur(outline, build.fur, brush.random)
    brush.form(trunk, coat.base, marks=lambda pen: mark_trunk(pen, coat, (-1.5, -b, 2.2, 0.05)), edge=Edge(coat.line))
    haunch = grow_fur(curve("0.85,0.02 0.8,-0.6 1.3,-1.05 1.95,-0.75 2.05,-0.1"), build.fur, brush.random, 0.6)
    brush.form(haunch, coat.base, edge=Edge(coat.line), shade=0.4)
    draw_leg(brush, coat, way("1.5,-0.12 1.1,-0.08 0.75,-0.06"), 0.17)
    draw_leg(brush, coat, way("-0.7,-0.3 -1.2,-0.16 -1.75,-0.1"), 0.18, far=True)
    draw_leg(brush, coat, way("-0.4,-0.3 -1,-0.12 -1.45,-0.02"), 0.19)
    draw_collar(brush.at(-0.95, -b + 0.05), extras, 0.6, 0.2)
    profile, tilt = extras.random() < 0.2, extras.uniform(-12, 10)
    draw_head(brush.at(-1.0, -b - 0.68, 1.08, tilt), coat, build, profile)


def draw_sleeping(brush: Brush, coat: Coat, build: Build, extras: Random) -> None:
    """Draw the animal curled up with its eyes closed; the ground is at zero."""
    outline = curve("-1.7,-0.75 -1.1,-1.35 0,-1.6 1.1,-1.45 1.85,-0.8 1.6,-0.12 0.4,0.06 -1,0.04")
    trunk = grow_fur(outline, build.fur, brush.random)
    brush.form(
        trunk, coat.base, marks=lambda pen: mark_trunk(pen, coat, (-1.7, -1.55, 1.85, 0.1)), edge=Edge(coat.line)
    )
    haunch = grow_fur(curve("0.5,-0.05 0.45,-0.7 1,-1.15 1.65,-0.75 1.5,-0.05"), build.fur, brush.random, 0.6)
    brush.form(haunch, coat.base, edge=Edge(coat.line, open_part=0.1), shade=0.4)
    if build.kind == "cat":
        wide = 0.27 if build.tail == "fluffy" else 0.17
        wrap = tube(way("1.6,-0.35 0.9,-0.05 0,0 -0.6,-0.08"), [wide * 0.8, wide, wide, wide * 0.8])
    else:
        wrap = tube(way("1.6,-0.4 1.1,-0.1 0.55,-0.08"), [0.18, 0.18, 0.1])
    tail = coat.mark if coat.pattern == "mask" else coat.base
    brush.form(grow_fur(wrap, build.fur, brush.random, 0.6), tail, edge=Edge(coat.line, open_part=0.08))
    # One paw lies under the head, the other before it.
    draw_front_paw(brush, coat, -1.75, -0.02, 0.28)
    draw_head(brush.at(-1.0, -0.82, 1.0, extras.uniform(-4, 16)), coat, build, closed=True)
    draw_front_paw(brush, coat, -0.6, 0.04, 0.28)


def draw_peeking(brush: Brush, coat: Coat, build: Build, extras: Random) -> None:
    """Draw the animal looking over the edge of a box or a wall."""
    draw_head(brush.at(0, 0, 1.0, extras.uniform(-9, 9)), coat, build)
    edge = brush.at(0, 0.72)
    wall_edge = edge.labelled(0)  # what hides the animal is none of it
    colour = extras.choice(((190, 140, 94), (214, 174, 124), (156, 168, 180), (204, 116, 98), (130, 156, 118)))
    # A box is narrow, a wall wider than the picture.
    reach = extras.uniform(1.7, 2.2) if extras.random() < 0.5 else 6.0
    line = blend(colour, INK, 0.6)
    wall: Points = np.array([(-reach, 0.0), (reach, 0.0), (reach * 0.97, 5.0), (-reach * 0.97, 5.0)])
    wall_edge.form(wall, colour, fur=0.1, shade=0.35, light=0.2, edge=Edge(line))
    rim = np.array([(-reach - 0.08, 0.0), (reach + 0.08, 0.0), (reach + 0.08, 0.24), (-reach - 0.08, 0.24)])
    wall_edge.form(rim, blend(colour, CREAM, 0.25), fur=0.1, shade=0.25, edge=Edge(line))
    for k in range(1, 4):
        wall_edge.stroke([(-reach, 0.24 + k * 0.75), (reach, 0.24 + k * 0.75)], blend(colour, INK, 0.2), 0.03)
    for side in (-1, 1):
        draw_front_paw(edge, coat, side * extras.uniform(0.85, 1.1), 0.08, 0.34)


@dataclass(frozen=True)
class Pose:
    """A way to draw the animal, with the room that it takes in head units."""

    draw: Callable[[Brush, Coat, Build, Random], None]
    high: float
    wide: float
    middle: float  # of the figure, above the brush's origin
    on_ground: bool = True


# Poses that are listed twice come twice as often.
POSES: tuple[Pose, ...] = (
    Pose(draw_portrait, 3.2, 2.5, -0.3, on_ground=False),
    Pose(draw_sitting, 4.3, 3.4, 1.95),
    Pose(draw_sitting, 4.3, 3.4, 1.95),
    Pose(draw_standing, 4.6, 5.7, 2.0),
    Pose(draw_standing, 4.6, 5.7, 2.0),
    Pose(draw_lying, 3.7, 5.0, 1.5),
    Pose(draw_sleeping, 2.6, 4.2, 0.95),
    Pose(draw_peeking, 3.2, 3.0, -0.2, on_ground=False),
)
