"""How a network of the Hugging Face hub wants its pictures: `preprocessor_config.json` read as our `InputSpec` has it.

The fields are those of transformers' image processors, with a class's own defaults by its name, or of timm's
`pretrained_cfg`. What our terms cannot say exactly is said to the user.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from headstart.core.errors import DataError

Facts = Mapping[str, Any]
_BYTE = 1 / 255
_RESAMPLE = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}  # Pillow's numbers
_OURS = {"bilinear": "bilinear", "bicubic": "bicubic", "lanczos": "bicubic"}
_SHORTEST = re.compile("CLIP|Bit|MobileNet|MobileViT|Levit|PoolFormer|ConvNext|EfficientFormer|PerceptionLM")
_WARPED_FROM = 384  # ConvNext's processor crops smaller pictures alone
_MAX_NUMBER = 1e9  # of a number of a scaling


@dataclass(frozen=True, slots=True, kw_only=True)
class PreprocessingFacts:
    """What is stated, in the terms of `InputSpec`; empty and 0 where nothing is.

    Attributes:
        scale: Factor on 0..255; None where no scaling is stated.
        mean: Three numbers, or none; `std` too.
        notes: What is only nearly so, one sentence each.
    """

    size_px: int = 0
    resize: str = ""
    interpolation: str = ""
    crop_fraction: float = 0.0
    channels: str = "rgb"
    scale: float | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()


def read_preprocessing(processor: Facts, config: Facts) -> PreprocessingFacts:
    """What `preprocessor_config.json` asks for, else `config.json` of a timm network; nothing of either is nothing.

    `DataError` where it asks for what no picture can be made into: other than squares, no finite numbers.
    """
    cfg = config.get("pretrained_cfg")
    if processor:
        return _add_scaling(_read_size(processor), processor)
    return _read_timm(cfg) if isinstance(cfg, Mapping) else PreprocessingFacts()


def _read_size(processor: Facts) -> PreprocessingFacts:
    processor_type = str(processor.get("image_processor_type") or processor.get("feature_extractor_type") or "")
    shortest, side = _parse_side(processor.get("size"), processor_type)
    crop = _parse_side(processor.get("crop_size"), "")[1] if processor.get("do_center_crop", True) else 0
    channels = "bgr" if processor.get("do_flip_channel_order") is True else "rgb"
    facts = replace(_read_interpolation(processor), channels=channels)
    share = processor.get("crop_pct")
    if processor.get("do_resize", True) is False:
        note = "pictures are not resized by their processor; here they are, as they must be"
        return replace(facts, size_px=crop, notes=(*facts.notes, note) if crop else facts.notes)
    if isinstance(share, int | float) and not isinstance(share, bool) and 0 < share <= 1 and side:
        squashed = "ConvNext" in processor_type and side >= _WARPED_FROM
        how = {"resize": "squash"} if squashed else {"resize": "crop", "crop_fraction": float(share)}
        return replace(facts, size_px=crop or side, **how)
    if not side:
        return replace(facts, size_px=crop)
    if "Levit" in processor_type:
        side = round(side * 256 / 224)
    if shortest and processor.get("do_center_crop") is False:
        note = "pictures keep their form by their processor; here the middle is cut out, a square"
        facts = replace(facts, notes=(*facts.notes, note))
    if shortest or (crop and crop < side):
        return _add_crop(facts, side, crop or side, shortest)
    return replace(facts, size_px=crop or side, resize="squash")


def _add_crop(facts: PreprocessingFacts, side: int, crop: int, shortest: bool) -> PreprocessingFacts:
    """Resized to `side`, of which the middle is kept; where it was squashed before, that is only nearly ours."""
    if crop > side:
        raise DataError(f"its processor cuts {crop} px out of pictures of {side} px")
    note = f"pictures are squashed to {side} px before {crop} px are cut out; here they keep their form"
    notes = facts.notes if shortest else (*facts.notes, note)
    return replace(facts, size_px=crop, resize="crop", crop_fraction=crop / side, notes=notes)


def _parse_side(size: Any, kind: str) -> tuple[bool, int]:
    """Whether the shorter edge is meant, and the side."""
    if isinstance(size, Mapping):
        if "shortest_edge" in size:
            return True, _require_side(size["shortest_edge"])
        height, width = _require_side(size.get("height", 0)), _require_side(size.get("width", 0))
        if height != width:
            raise DataError(f"its processor makes pictures of {height} x {width} px, not squares")
        return False, height
    if isinstance(size, list | tuple) and size:
        if len(set(map(str, size))) != 1:
            raise DataError(f"its processor makes pictures of {' x '.join(map(str, size[:3]))} px, not squares")
        return False, _require_side(size[0])
    return _SHORTEST.search(kind) is not None, _require_side(size or 0)


def _require_side(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 4096:
        raise DataError(f"its processor asks for a side of `{str(value)[:40]}` px")
    return value


def _read_interpolation(processor: Facts) -> PreprocessingFacts:
    resample = processor.get("resample", processor.get("interpolation"))
    name = _RESAMPLE.get(resample, "") if isinstance(resample, int) else str(resample or "").lower()
    if not name:
        return PreprocessingFacts()
    nearest = _OURS.get(name, "bilinear")
    note = f"pictures are resized by `{name[:20]}`; here by `{nearest}`, the nearest that is known"
    return PreprocessingFacts(interpolation=nearest, notes=() if nearest == name else (note,))


def _add_scaling(facts: PreprocessingFacts, processor: Facts) -> PreprocessingFacts:
    """Rescaling, then mean and deviation; older processors rescale without saying so."""
    rescaled = processor.get("do_rescale", True) is not False
    factor = processor.get("rescale_factor", _BYTE) if rescaled else 1.0
    mean, std = processor.get("image_mean"), processor.get("image_std")
    normal = "do_flip_channel_order" not in processor  # MobileViT's processor knows no mean
    if processor.get("do_normalize", normal) is False:
        mean, std = 0.0, 1.0
    elif mean is None or std is None:
        return facts
    offset = 1.0 if processor.get("rescale_offset") is True else 0.0  # 0..255 to -1..1 by factor and offset
    scale, means, stds = _require_three([factor])[0], _require_three(mean), _require_three(std)
    if processor.get("include_top") is True:  # EfficientNet's processor divides twice
        stds = tuple(std * std for std in stds)
    if not scale or not all(stds):
        raise DataError("its processor's scaling leaves nothing of the pictures")
    return replace(facts, scale=scale, mean=tuple(channel_mean + offset for channel_mean in means), std=stds)


def _require_three(value: Any) -> tuple[float, ...]:
    numbers = list(value) if isinstance(value, list | tuple) else [value]
    finite = all(
        isinstance(number, int | float) and not isinstance(number, bool) and abs(number) < _MAX_NUMBER
        for number in numbers
    )
    if not finite or len(numbers) not in (1, 3):
        raise DataError(f"its processor's `{str(value)[:60]}` is not one number or three")
    return tuple(map(float, numbers * 3 if len(numbers) == 1 else numbers))


def _read_timm(cfg: Facts) -> PreprocessingFacts:
    """timm's own facts: (3, side, side), share of the centre crop, filter, mean and deviation on 0..1."""
    size = cfg.get("input_size")
    side = _parse_side(list(size)[1:], "")[1] if isinstance(size, list | tuple) and len(size) == 3 else 0
    share = cfg.get("crop_pct")
    fraction = float(share) if isinstance(share, int | float) and 0 < share <= 1 else 0.0
    how = {"resize": "squash"} if cfg.get("crop_mode") == "squash" else {"resize": "crop", "crop_fraction": fraction}
    facts = replace(_read_interpolation(cfg), size_px=side, **how)
    return _add_scaling(facts, {"image_mean": cfg.get("mean"), "image_std": cfg.get("std")})
