"""OpenEXR pictures: linear light, as panoramas that light a scene are kept."""

import av
import numpy as np
from av.codec.context import ThreadType
from jaxtyping import Float

from dtsvibe_cli.errors import DataError


def decode_exr(content: bytes) -> Float[np.ndarray, "height width 3"]:
    """Red, green and blue of a picture in half or single precision.

    Raises:
        DataError: It is not such a picture.
    """
    try:
        decoder = av.CodecContext.create("exr", "r")
        decoder.thread_type = ThreadType.NONE
        frames = [*decoder.decode(av.Packet(content)), *decoder.decode(None)]
        frame = frames[0]
    except (av.FFmpegError, IndexError) as error:
        raise DataError(f"This is no OpenEXR picture that can be read ({error}).") from error
    kinds = {"gbrpf16le": np.float16, "gbrpf32le": np.float32}
    if frame.format.name not in kinds:
        raise DataError(f"OpenEXR pictures of the form {frame.format.name} cannot be read.")
    kind = kinds[frame.format.name]
    green, blue, red = (
        np.frombuffer(bytes(plane), kind).reshape(plane.height, -1)[:, : plane.width]
        for plane in frame.planes
    )
    return np.stack([red, green, blue], axis=-1).astype(np.float32)
