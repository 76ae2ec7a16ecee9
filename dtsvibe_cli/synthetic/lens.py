"""What a camera and a codec do to light: exposure, blur, noise, compression."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8


@dataclass(frozen=True, kw_only=True)
class Footage:
    """How a video looks, the same for all its frames."""

    exposure: float
    white_balance: tuple[float, float, float]
    contrast: float
    saturation: float
    softness_px: float
    """Deviation of the lens's blur."""
    shutter: float
    """Part of the time between frames in which light is taken in; 0 for no motion blur."""
    noise: float
    """Of a sensor, at middle grey."""
    jpeg_quality: int | None
    shrink: float
    """The picture is brought to this part of its size and back, as small videos are."""


def random_footage(rng: np.random.Generator, exposure: float) -> Footage:
    """Some way that videos look."""
    poor = rng.random() < 0.3
    return Footage(
        exposure=exposure * float(np.exp(rng.normal(0, 0.25))),
        white_balance=tuple(float(v) for v in np.exp(rng.normal(0, 0.06, 3))),  # type: ignore[arg-type]
        contrast=float(np.clip(rng.normal(1.0, 0.12), 0.7, 1.4)),
        saturation=float(rng.choice([0.0, 1.0], p=[0.03, 0.97]) * rng.uniform(0.7, 1.25)),
        softness_px=rng.uniform(0.3, 0.7) if rng.random() < 0.7 else rng.uniform(0.7, 1.6),
        shutter=rng.uniform(0.2, 0.9) if rng.random() < 0.4 else 0.0,
        noise=float(np.exp(rng.normal(np.log(0.008), 0.7))),
        jpeg_quality=int(rng.integers(20, 60)) if poor else int(rng.integers(60, 97)),
        shrink=rng.uniform(0.5, 0.9) if poor else 1.0,
    )


def develop(
    light: Float[np.ndarray, "height width 3"], footage: Footage, rng: np.random.Generator
) -> UInt8[np.ndarray, "height width 3"]:
    """The frame that a viewer gets, from linear light."""
    height, width = light.shape[:2]
    picture = light * (footage.exposure * np.array(footage.white_balance, np.float32))
    picture = np.clip(picture, 0, 4).astype(np.float32)
    picture = picture / (1 + 0.25 * picture)  # highlights roll off
    picture = np.power(np.clip(picture, 0, 1), np.float32(1 / 2.2))
    if footage.softness_px > 0.35:
        picture = cv2.GaussianBlur(picture, (0, 0), footage.softness_px)
    picture = (picture - np.float32(0.5)) * np.float32(footage.contrast) + np.float32(0.5)
    if footage.saturation != 1:
        grey = picture @ np.array([0.3, 0.59, 0.11], np.float32)
        picture = grey[..., None] + np.float32(footage.saturation) * (picture - grey[..., None])
    if footage.shrink < 1:
        small = (max(8, round(width * footage.shrink)), max(8, round(height * footage.shrink)))
        picture = cv2.resize(picture, small, interpolation=cv2.INTER_AREA)
    picture = picture + np.float32(footage.noise) * rng.standard_normal(
        picture.shape, dtype=np.float32
    )
    frame = (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)
    if footage.jpeg_quality is not None:
        coding = [cv2.IMWRITE_JPEG_QUALITY, footage.jpeg_quality]
        data = cv2.imencode(".jpg", frame[..., ::-1], coding)[1]
        decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
        assert decoded is not None
        frame = np.ascontiguousarray(decoded[..., ::-1])
    if footage.shrink < 1:
        frame = cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(frame, dtype=np.uint8)
