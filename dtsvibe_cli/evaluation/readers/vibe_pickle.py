"""People of a ``.pkl`` in VIBE's layout: ``{person: {name: array}}``, as truth."""

from pathlib import Path
from typing import Any, Final

import numpy as np

from dtsvibe_cli.errors import DataError
from dtsvibe_cli.evaluation.ground_truth import TruePerson
from dtsvibe_cli.geometry.joints import SMPL24
from dtsvibe_cli.results import SPIN49_TO_SMPL24
from dtsvibe_cli.smpl_pickle import RefusedPickleError, read_dictionary

_SPIN_ROWS: Final = {
    SMPL24[smpl]: row for row, smpl in reversed(list(enumerate(SPIN49_TO_SMPL24))) if smpl >= 0
}
"""First of SPIN's 49 joints that is each SMPL joint."""

VIBE_JOINTS: Final = tuple(name for name in SMPL24 if name in _SPIN_ROWS)
"""SMPL's joints that are among SPIN's 49."""


def people_of_vibe(path: Path) -> tuple[TruePerson, ...]:
    """Everybody in the file, with the joints :data:`VIBE_JOINTS`.

    Raises:
        DataError: It is no such file, or asks to run something.
    """
    try:
        people = read_dictionary(path.read_bytes())
    except RefusedPickleError as error:
        raise DataError(
            f"{path} was refused: it asks for {error}. If joblib wrote it, write it again with "
            "pickle.dump(joblib.load(path), file)."
        ) from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as VIBE's output: {error}.") from error
    try:
        return tuple(_person(str(name), arrays) for name, arrays in people.items())
    except (KeyError, ValueError, IndexError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is not in VIBE's layout ({error!r}).") from error


def _person(name: str, arrays: dict[str, Any]) -> TruePerson:
    rows = [_SPIN_ROWS[joint] for joint in VIBE_JOINTS]
    joints = np.asarray(arrays["joints3d"], dtype=np.float64)[:, rows]
    pixels = arrays.get("joints2d_img_coord")
    boxes = arrays.get("bboxes")
    return TruePerson(
        name=name,
        frame_index=np.asarray(arrays["frame_ids"], dtype=np.int64),
        joints_m=joints,
        absolute=False,
        joints_px=None if pixels is None else np.asarray(pixels, dtype=np.float64)[:, rows],
        # VIBE's are the network's crops, wider than the person: the joints' outline is better
        boxes_xyxy=_corners(np.asarray(boxes, dtype=np.float64))
        if boxes is not None and pixels is None
        else None,
    )


def _corners(boxes_cxcywh: np.ndarray) -> np.ndarray:
    center, size = boxes_cxcywh[:, :2], boxes_cxcywh[:, 2:]
    return np.concatenate([center - size / 2, center + size / 2], axis=1)
