"""Motion capture files that tests write, and what their bones do, worked out from positions."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

ASF_PARENTS = {
    "lhipjoint": "root", "lfemur": "lhipjoint", "ltibia": "lfemur", "lfoot": "ltibia",
    "ltoes": "lfoot", "rhipjoint": "root", "rfemur": "rhipjoint", "rtibia": "rfemur",
    "rfoot": "rtibia", "rtoes": "rfoot", "lowerback": "root", "upperback": "lowerback",
    "thorax": "upperback", "lowerneck": "thorax", "upperneck": "lowerneck", "head": "upperneck",
    "lclavicle": "thorax", "lhumerus": "lclavicle", "lradius": "lhumerus", "lwrist": "lradius",
    "rclavicle": "thorax", "rhumerus": "rclavicle", "rradius": "rhumerus", "rwrist": "rradius",
}  # fmt: skip

BVH_PARENTS = {
    "Hip": "", "Pelvis": "Hip", "L_Thigh": "Pelvis", "L_Calf": "L_Thigh", "L_Foot": "L_Calf",
    "L_ToeBase": "L_Foot", "R_Thigh": "Pelvis", "R_Calf": "R_Thigh", "R_Foot": "R_Calf",
    "R_ToeBase": "R_Foot", "Waist": "Hip", "Spine01": "Waist", "Spine02": "Spine01",
    "NeckTwist01": "Spine02", "Head": "NeckTwist01", "L_Clavicle": "Spine02",
    "L_Upperarm": "L_Clavicle", "L_Forearm": "L_Upperarm", "L_Hand": "L_Forearm",
    "L_Mid1": "L_Hand", "R_Clavicle": "Spine02", "R_Upperarm": "R_Clavicle",
    "R_Forearm": "R_Upperarm", "R_Hand": "R_Forearm", "R_Mid1": "R_Hand",
}  # fmt: skip


def asf_directions(seed: int = 0) -> dict[str, np.ndarray]:
    """A made-up rest direction of each bone."""
    rng = np.random.default_rng(seed)
    drawn = rng.normal(size=(len(ASF_PARENTS), 3)).round(5)
    return dict(zip(ASF_PARENTS, drawn, strict=True))


def write_asf(
    path: Path,
    directions: Mapping[str, np.ndarray] | None = None,
    axes: Mapping[str, Sequence[float]] | None = None,
    dofs: Mapping[str, str] | None = None,
) -> None:
    """A skeleton with CMU's bones; ``axes`` in degrees, ``dofs`` like ``rx rz``."""
    directions = asf_directions() if directions is None else directions
    lines = [":version 1.10", ":name test", ":units", "  length 0.45", "  angle deg", ":root"]
    lines += ["  order TX TY TZ RX RY RZ", "  axis XYZ", ":bonedata"]
    for number, name in enumerate(ASF_PARENTS, start=1):
        axis = (axes or {}).get(name, (0, 0, 0))
        dof = (dofs or {}).get(name, "rx ry rz")
        lines += ["  begin", f"    id {number}", f"    name {name}"]
        lines += ["    direction " + " ".join(map(str, directions[name])), "    length 2.5"]
        lines += ["    axis " + " ".join(map(str, axis)) + "  XYZ"]
        lines += [f"    dof {dof}"] if dof else []
        lines += ["  end"]
    lines += [":hierarchy", "  begin"]
    for parent in ("root", *ASF_PARENTS):
        children = [name for name, above in ASF_PARENTS.items() if above == parent]
        lines += [f"    {parent} " + " ".join(children)] if children else []
    lines += ["  end"]
    path.write_text("\n".join(lines) + "\n")


def write_amc(path: Path, frames: Sequence[Mapping[str, Sequence[float]]]) -> None:
    """Values of each bone in each frame; ``root`` is x y z and three angles."""
    lines = ["# made by a test", ":FULLY-SPECIFIED", ":DEGREES"]
    for number, frame in enumerate(frames, start=1):
        lines.append(str(number))
        lines += [f"{name} " + " ".join(map(str, values)) for name, values in frame.items()]
    path.write_text("\n".join(lines) + "\n")


def still_amc_frame() -> dict[str, list[float]]:
    return {"root": [0.0] * 6} | {name: [0.0] * 3 for name in ASF_PARENTS}


def write_random_amc(folder: Path, name: str, frames: int, seed: int) -> None:
    """A smooth made-up recording beside its skeleton."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    write_asf(folder / "skeleton.asf")
    amplitude = {bone: rng.normal(0, 20, 3) for bone in ASF_PARENTS}
    recording = []
    for t in range(frames):
        wave = np.sin(2 * np.pi * t / 60)
        frame = {"root": [0.1 * t, 17.0, 0.0, 0.0, 40 * wave, 0.0]}
        frame |= {bone: (wave * size).round(4).tolist() for bone, size in amplitude.items()}
        recording.append(frame)
    write_amc(folder / f"{name}.amc", recording)


class Bvh:
    """A recording of the Character Creator rig: random offsets and, after the T-pose, angles."""

    def __init__(self, frames: int = 3, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.names = list(BVH_PARENTS)
        self.offsets_cm = {name: rng.uniform(-30, 30, 3).round(4) for name in self.names}
        self.angles_zxy = rng.uniform(-180, 180, (frames, len(self.names), 3)).round(4)
        self.root_cm = rng.uniform(-100, 100, (frames, 3)).round(4)

    def write(self, path: Path, frame_time_s: float = 1 / 60) -> None:
        lines = ["HIERARCHY", *self._joint("Hip")]
        rows = [np.concatenate([root, angles.ravel()])
                for root, angles in zip(self.root_cm, self.angles_zxy, strict=True)]  # fmt: skip
        t_pose = np.zeros(3)  # shorter than the others, as in some of CMU's files
        lines += ["MOTION", f"Frames: {len(rows) + 1}", f"Frame Time: {frame_time_s:.7f}"]
        lines += [" ".join(f"{x:.4f}" for x in row) for row in (t_pose, *rows)]
        path.write_text("\n".join(lines) + "\n")

    def _joint(self, name: str) -> list[str]:
        kind = "JOINT" if BVH_PARENTS[name] else "ROOT"
        turns = "Zrotation Xrotation Yrotation"
        channels = f"3 {turns}" if BVH_PARENTS[name] else f"6 Xposition Yposition Zposition {turns}"
        offset = " ".join(map(str, self.offsets_cm[name]))
        lines = [f"{kind} CC_Base_{name}", "{", f"OFFSET {offset}", f"CHANNELS {channels}"]
        children = [child for child, parent in BVH_PARENTS.items() if parent == name]
        for child in children:
            lines += self._joint(child)
        if not children:
            lines += ["End Site", "{", "OFFSET 0 1 0", "}"]
        return [*lines, "}"]

    def positions_cm(self) -> dict[str, np.ndarray]:
        """Each joint in each frame, by walking down the tree with 4 x 4 matrices."""
        placed: dict[str, np.ndarray] = {}
        for k, name in enumerate(self.names):
            local = np.tile(np.eye(4), (len(self.root_cm), 1, 1))
            local[:, :3, :3] = Rotation.from_euler(
                "ZXY", self.angles_zxy[:, k], degrees=True
            ).as_matrix()
            parent = BVH_PARENTS[name]
            local[:, :3, 3] = self.offsets_cm[name] if parent else self.root_cm
            placed[name] = placed[parent] @ local if parent else local
        return {name: transform[:, :3, 3] for name, transform in placed.items()}


def write_expmap(path: Path, rows: np.ndarray) -> None:
    """117 numbers a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(",".join(f"{x:.9f}" for x in row) for row in rows) + "\n")
