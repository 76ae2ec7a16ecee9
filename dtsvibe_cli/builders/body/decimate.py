"""Thin out a mesh by symmetric half-edge collapses with quadric errors (Garland and Heckbert 1997).

Vertices are only removed, never moved or made, so every attribute of the thin mesh is a selection
of the full one's. Errors are summed over several configurations (shapes and bent poses) at once,
mirrored vertices go together, and texture seams stay seams.
"""

import heapq
from typing import Final

import numpy as np
from jaxtyping import Float, Int

_EDGE_COST: Final = 1e-7
"""Weight of squared edge length against quadric error: prefers short edges on flat skin."""
_MIN_COSINE: Final = (0.5, 0.1)
"""How far a face may turn: in the first configuration, and in any other."""
_MIN_SHAPE: Final = 0.08
"""Twice the area over the longest edge squared: thinner faces are slivers."""


def decimate(
    shapes: Float[np.ndarray, "config vertex 3"],
    triangles: Int[np.ndarray, "triangle 3"],
    corners: Int[np.ndarray, "triangle 3"],
    mirror: Int[np.ndarray, " vertex"],
    num_vertices: int,
    importance: Float[np.ndarray, " vertex"] | None = None,
) -> tuple[Int[np.ndarray, " kept"], Int[np.ndarray, "thin 3"], Int[np.ndarray, "thin 3"]]:
    """Remove vertices of a closed mesh until ``num_vertices`` are left.

    Args:
        shapes: The mesh in several configurations.
        triangles: Its faces.
        corners: Texture coordinate of each face corner.
        mirror: The vertex on the other side of the symmetry plane, itself for those on it.
        num_vertices: How many vertices to keep; one more may stay, as mirrored pairs go together.
        importance: Factor on the cost of removing each vertex, ones when not given.

    Returns:
        The kept vertices, the faces in their numbers, and the faces' texture coordinates.
    """
    mesh = _Mesh(shapes, triangles, corners, mirror)
    costs = np.ones(shapes.shape[1]) if importance is None else importance
    _collapse_cheapest(mesh, costs, num_vertices)
    kept = np.where(~mesh.removed)[0]
    position = np.full(shapes.shape[1], -1)
    position[kept] = np.arange(len(kept))
    faces = [i for i, alive in enumerate(mesh.alive) if alive]
    return (
        kept,
        position[np.array([mesh.faces[i] for i in faces])],
        np.array([mesh.corners[i] for i in faces]),
    )


def _collapse_cheapest(
    mesh: "_Mesh", importance: Float[np.ndarray, " vertex"], num_vertices: int
) -> None:
    """Collapse the cheapest allowed edges, both sides of the body at once."""
    mirror = mesh.mirror
    heap: list[tuple[float, int, int, int, int]] = []
    version = [0] * len(mirror)  # entries made before a vertex changed are out of date

    def push(gone: int, stays: int) -> None:
        if mirror[gone] == gone and mirror[stays] != stays:
            return  # the seam between the halves stays on the symmetry plane
        cost = float(importance[gone] * mesh.cost(gone, stays))
        heapq.heappush(heap, (cost, gone, stays, version[gone], version[stays]))

    for vertex in range(len(mirror)):
        if mirror[vertex] >= vertex:
            for other in mesh.neighbours(vertex):
                push(vertex, other)
    left = len(mirror)
    while heap and left > num_vertices:
        _, gone, stays, *made = heapq.heappop(heap)
        if made != [version[gone], version[stays]] or not mesh.may_collapse(gone, stays):
            continue
        gone_too, stays_too = mirror[gone], mirror[stays]
        paired = gone_too != gone
        if paired and not mesh.may_collapse(gone_too, stays_too):
            continue
        mesh.collapse(gone, stays)
        left -= 1
        if paired and mesh.may_collapse(gone_too, stays_too):
            mesh.collapse(gone_too, stays_too)
            left -= 1
            version[stays_too] += 1
        version[stays] += 1
        for vertex in (stays, stays_too):
            if not mesh.removed[vertex]:
                for other in mesh.neighbours(vertex):
                    push(vertex, other)
                    push(other, vertex)


class _Mesh:
    """A closed triangle mesh that can lose vertices."""

    def __init__(
        self,
        shapes: Float[np.ndarray, "config vertex 3"],
        triangles: Int[np.ndarray, "triangle 3"],
        corners: Int[np.ndarray, "triangle 3"],
        mirror: Int[np.ndarray, " vertex"],
    ) -> None:
        num_vertices = shapes.shape[1]
        self.mirror: list[int] = mirror.tolist()
        self.faces: list[tuple[int, ...]] = [tuple(face) for face in triangles.tolist()]
        self.corners: list[tuple[int, ...]] = [tuple(face) for face in corners.tolist()]
        self.alive = [True] * len(self.faces)
        self.removed = np.zeros(num_vertices, bool)
        self._shapes = shapes
        ones = np.ones((num_vertices, len(shapes), 1))
        self._homogeneous = np.concatenate([shapes.transpose(1, 0, 2), ones], 2)
        self._quadrics = _vertex_quadrics(shapes, triangles)
        self._faces_of: list[set[int]] = [set() for _ in range(num_vertices)]
        charts: list[set[int]] = [set() for _ in range(num_vertices)]
        for number, (face, corner) in enumerate(zip(self.faces, self.corners, strict=True)):
            for vertex, texture in zip(face, corner, strict=True):
                self._faces_of[vertex].add(number)
                charts[vertex].add(texture)
        self._on_seam = [len(numbers) > 1 for numbers in charts]

    def neighbours(self, vertex: int) -> set[int]:
        """Vertices that share an edge with one."""
        around: set[int] = set()
        for number in self._faces_of[vertex]:
            around.update(self.faces[number])
        around.discard(vertex)
        return around

    def cost(self, gone: int, stays: int) -> float:
        """Mean quadric error over the configurations of moving one vertex onto another."""
        quadric, point = self._quadrics[gone] + self._quadrics[stays], self._homogeneous[stays]
        configs = len(self._shapes)
        error = np.einsum("mi,mij,mj->", point, quadric, point) / configs
        length = ((self._homogeneous[gone] - point) ** 2).sum() / configs
        return float(error + _EDGE_COST * length)

    def may_collapse(self, gone: int, stays: int) -> bool:
        """Whether the mesh stays a closed, unfolded surface and its texture stays in place."""
        if self.removed[gone] or self.removed[stays] or gone == stays:
            return False
        leaves_plane = self.mirror[gone] == gone and self.mirror[stays] != stays
        if leaves_plane or self.mirror[gone] == stays:
            return False
        around_gone, around_stays = self.neighbours(gone), self.neighbours(stays)
        if stays not in around_gone or len(around_gone) <= 3:
            return False
        if len(around_gone & around_stays) != 2:  # else two sheets would be glued together
            return False
        return self._texture_fits(gone, stays) and self._shape_survives(gone, stays)

    def _texture_fits(self, gone: int, stays: int) -> bool:
        moves = self._texture_moves(gone, stays)
        if moves is None:
            return False
        if not self._on_seam[gone]:
            return True
        charts = {self._corner(number, gone) for number in self._faces_of[gone]}
        return self._on_seam[stays] and set(moves) == charts

    def _texture_moves(self, gone: int, stays: int) -> dict[int, int] | None:
        """Which texture coordinate takes each other's place along an edge; None if ambiguous."""
        moves: dict[int, int] = {}
        for number in self._faces_of[gone] & self._faces_of[stays]:
            start, end = self._corner(number, gone), self._corner(number, stays)
            if moves.setdefault(start, end) != end:
                return None
        return moves

    def _corner(self, number: int, vertex: int) -> int:
        return self.corners[number][self.faces[number].index(vertex)]

    def _shape_survives(self, gone: int, stays: int) -> bool:
        """No face flips in any configuration or becomes a sliver in the first."""
        for number in self._faces_of[gone] - self._faces_of[stays]:
            face = list(self.faces[number])
            moved = [stays if vertex == gone else vertex for vertex in face]
            before, after = self._shapes[:, face], self._shapes[:, moved]
            old, new = _face_normals(before), _face_normals(after)
            old_length, new_length = np.linalg.norm(old, axis=1), np.linalg.norm(new, axis=1)
            if (new_length < 1e-10).any():
                return False
            cosine = (old * new).sum(1) / np.maximum(old_length * new_length, 1e-18)
            if cosine[0] < _MIN_COSINE[0] or cosine.min() < _MIN_COSINE[1]:
                return False
            edges = after[0] - after[0][[1, 2, 0]]
            if new_length[0] / np.linalg.norm(edges, axis=1).max() ** 2 < _MIN_SHAPE:
                return False
        return True

    def collapse(self, gone: int, stays: int) -> None:
        """Move one vertex onto another."""
        moves = self._texture_moves(gone, stays)
        assert moves, "may_collapse was not asked"
        fallback = next(iter(moves.values()))
        for number in self._faces_of[gone] & self._faces_of[stays]:
            self.alive[number] = False
            for vertex in self.faces[number]:
                self._faces_of[vertex].discard(number)
        for number in self._faces_of[gone]:
            at = self.faces[number].index(gone)
            texture = moves.get(self.corners[number][at], fallback)
            self.faces[number] = _replaced(self.faces[number], at, stays)
            self.corners[number] = _replaced(self.corners[number], at, texture)
            self._faces_of[stays].add(number)
        self._faces_of[gone] = set()
        self.removed[gone] = True
        self._quadrics[stays] += self._quadrics[gone]


def _replaced(values: tuple[int, ...], at: int, value: int) -> tuple[int, ...]:
    return (*values[:at], value, *values[at + 1 :])


def _face_normals(corners: Float[np.ndarray, "config 3 3"]) -> Float[np.ndarray, "config 3"]:
    """Normals whose length is twice the area."""
    return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])


def _vertex_quadrics(
    shapes: Float[np.ndarray, "config vertex 3"], triangles: Int[np.ndarray, "triangle 3"]
) -> Float[np.ndarray, "vertex config 4 4"]:
    """Sum of squared distances to the planes of a vertex's faces, weighted by their area."""
    points = shapes[:, triangles]
    normals = np.cross(points[:, :, 1] - points[:, :, 0], points[:, :, 2] - points[:, :, 0])
    double_area = np.linalg.norm(normals, axis=2, keepdims=True)
    normals = normals / np.maximum(double_area, 1e-15)
    offset = -(normals * points[:, :, 0]).sum(2, keepdims=True)
    planes = np.concatenate([normals, offset], 2)
    areas = (double_area[:, :, 0].T / 2)[:, :, None, None]
    face_quadrics = np.einsum("mfi,mfj->fmij", planes, planes) * areas
    quadrics = np.zeros((shapes.shape[1], len(shapes), 4, 4))
    for corner in range(3):
        np.add.at(quadrics, triangles[:, corner], face_quadrics)
    return quadrics
