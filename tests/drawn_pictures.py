"""Small drawn pictures for searches of which every training is real and takes seconds."""

import numpy as np
from PIL import Image

SIDE, ANGLES = 32, {"across": 0.0, "aslant": np.pi / 4, "along": np.pi / 2}
COLOURS, FLIPPED = ("red", "green", "blue"), 0.2


def _to_picture(values):
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


def draw_stripes(angle, rng):
    y, x = np.mgrid[:SIDE, :SIDE]
    turned = angle + rng.normal(0, 0.1)
    wave = np.sin(rng.uniform(0.7, 1.0) * (x * np.cos(turned) + y * np.sin(turned)) + rng.uniform(0, 2 * np.pi))
    noise = rng.normal(0, 60, (SIDE, SIDE, 3)) + rng.uniform(-40, 40, 3)
    return _to_picture(128 + 60 * wave[..., None] * rng.uniform(0.2, 1, 3) + noise)


def draw_picture(path, number):
    """Coarse noise of its own for each number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(values).resize((40, 40)).save(path)


def write_stripes(root, count=24):
    """Stripes in noise, a class by their direction: what a network that trains learns better than a frozen one."""
    rng = np.random.default_rng(0)
    for name, angle in ANGLES.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            draw_stripes(angle, rng).save(root / name / f"{number:02}.png")
    return root


def write_colours(root, count=24):
    """Noise of three shades, a fifth with a drawn label: a head learns all there is, a network the rest too."""
    rng = np.random.default_rng(2)
    for name in COLOURS:
        (root / name).mkdir(parents=True)
    for place, name in enumerate(COLOURS):
        for number in range(count):
            shade = np.full(3, 110.0) + rng.normal(0, 12, 3)
            shade[place] += 40
            values = shade + rng.normal(0, 50, (SIDE, SIDE, 3))
            label = rng.choice(COLOURS) if rng.random() < FLIPPED else name
            _to_picture(values).save(root / label / f"{name}{number:02}.png")
    return root
