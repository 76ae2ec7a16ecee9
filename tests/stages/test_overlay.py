import functools
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch

from dtsvibe_cli.datatypes import (
    PersonMotion,
    PinholeCamera,
    SmplParams,
    Track,
    VideoInfo,
    VideoMotion,
    WeakPerspectiveCamera,
)
from dtsvibe_cli.errors import ConfigError, VideoError
from dtsvibe_cli.smpl_files import load_body_model
from dtsvibe_cli.stages.overlay import (
    PALETTE,
    OverlayOptions,
    OverlayPerson,
    draw_frame,
    draw_video,
    panel_size,
    person_color,
)
from dtsvibe_cli.stages.rendering import make_renderer
from dtsvibe_cli.stages.rendering.views import place_view, view_camera
from dtsvibe_cli.video import VideoWriter, read_frames

WIDTH, HEIGHT = 240, 180
CAMERA = PinholeCamera(focal_length_px=240.0, center_px=(120.0, 90.0), source="option")
UPRIGHT = np.diag([1.0, -1.0, -1.0])  # the body model stands along +y, camera axes point down
RENDERER = make_renderer("numpy")

body_model = functools.cache(load_body_model)


def _pose():
    pose = np.tile(np.eye(3), (24, 1, 1))
    pose[0] = UPRIGHT
    return pose


@functools.cache
def _person(track_id=1, x=0.0, z=4.0):
    body = body_model()
    pose = torch.as_tensor(_pose()[None], dtype=torch.float32)
    betas, transl = torch.zeros(1, body.num_betas), torch.tensor([[x, 0.2, z]])
    posed = body.pose(pose, betas)
    return OverlayPerson(
        track_id=track_id,
        vertices_cam=(body.skin(posed, betas, pose) + transl[:, None])[0].numpy(),
        joints_cam=(posed.joints + transl[:, None])[0].numpy(),
    )


def _image(width=WIDTH, height=HEIGHT):
    """Smooth, so that it survives video encoding, and darker than any body."""
    y, x = np.mgrid[:height, :width]
    return np.stack([30 + 40 * x / width, 30 + 40 * y / height, 60 + 0 * x], -1).astype(np.uint8)


def _draw(people, image=None, camera=CAMERA, **options):
    image = _image() if image is None else image
    return draw_frame(
        image,
        people,
        body_model().faces.numpy(),
        camera,
        options=OverlayOptions(**options),
        renderer=RENDERER,
    )


def _box(mask):
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])


def _projected_box(vertices, camera=CAMERA, scale=1.0):
    px = vertices[:, :2] / vertices[:, 2:] * camera.focal_length_px + np.array(camera.center_px)
    return np.concatenate([px.min(0), px.max(0)]) * scale


def _colored(panel):
    """Where a panel with a grey backdrop shows a body."""
    return np.ptp(panel.astype(int), axis=-1) > 12


def test_colors_are_steady_and_apart():
    assert person_color(3) == person_color(3 + len(PALETTE))
    colors = np.array([person_color(i) for i in range(1, len(PALETTE) + 1)])
    distances = np.linalg.norm(colors[:, None] - colors, axis=-1)
    assert distances[~np.eye(len(colors), dtype=bool)].min() > 0.15
    assert all(np.linalg.norm(a - b) > 0.3 for a, b in pairwise(colors[:6]))


@pytest.mark.parametrize("layout", ["side-by-side", "overlay", "stacked"])
@pytest.mark.parametrize("view", [None, "side"])
@pytest.mark.parametrize("size", [(WIDTH, HEIGHT), (181, 321), (1921, 1081)])
def test_panels_are_even_and_not_too_wide(layout, view, size):
    options = OverlayOptions(layout=layout, view=view, max_width_px=500)
    width, height = panel_size(*size, options)
    panels = 1 + (layout != "overlay") + (view is not None)
    across = 1 if layout == "stacked" else panels
    assert width % 2 == height % 2 == 0
    assert width * across <= 500
    assert width / height == pytest.approx(size[0] / size[1], rel=0.03)
    image = np.zeros((size[1], size[0], 3), np.uint8)
    drawn = _draw([], image, layout=layout, view=view, max_width_px=500)
    assert drawn.shape == (height * panels // across, width * across, 3)


def test_input_stands_beside_overlay_and_only_the_body_differs():
    drawn = _draw([_person()])
    left, right = drawn[:, :WIDTH], drawn[:, WIDTH:]
    np.testing.assert_array_equal(left, _image())
    changed = (left != right).any(-1)
    np.testing.assert_allclose(_box(changed), _projected_box(_person().vertices_cam), atol=2)
    assert changed[90, 120]


def test_overlay_still_fits_after_shrinking_an_odd_size():
    camera = PinholeCamera(focal_length_px=900.0, center_px=(310.0, 370.0), source="option")
    image = _image(905, 677)
    drawn = _draw([_person()], image, camera, layout="overlay", max_width_px=400)
    empty = _draw([], image, camera, layout="overlay", max_width_px=400)
    box = _projected_box(_person().vertices_cam, camera, scale=400 / 905)
    np.testing.assert_allclose(_box((drawn != empty).any(-1)), box, atol=2)


def test_nobody_leaves_the_picture_as_it_is():
    np.testing.assert_array_equal(_draw([], layout="overlay"), _image())
    np.testing.assert_array_equal(_draw([_person()], layout="overlay", opacity=0.0), _image())


def test_side_view_shows_the_body_from_the_side():
    front = _draw([_person()])[:, WIDTH:]
    side = _draw([_person()], view="side", layout="overlay")[:, WIDTH:]
    front_box, side_box = _box((front != _image()).any(-1)), _box(_colored(side))

    def proportion(box):
        return (box[2] - box[0]) / (box[3] - box[1])

    assert proportion(side_box) < 0.5 * proportion(front_box)  # arms spread towards the viewer
    assert side_box[3] - side_box[1] > 0.6 * HEIGHT


def test_views_keep_people_in_their_places():
    near, far = _person(1, -0.6, 3.0), _person(2, 0.6, 5.0)

    def middle_of(person, view):
        panel = _draw([near, far], view=view, layout="overlay")[:, WIDTH:].astype(int)
        alone = 1 if person is near else 2
        red = np.array(person_color(alone))
        light = panel.sum(-1, keepdims=True)
        chroma = panel / light - red / red.sum()
        rows, columns = np.nonzero(_colored(panel) & (np.linalg.norm(chroma, axis=-1) < 0.05))
        return columns.mean(), rows.mean()

    # from the right of the picture, what is farther away stands on the right
    assert middle_of(far, "side")[0] > middle_of(near, "side")[0] + 20
    # from above, what is farther away is higher up, and right stays right
    assert middle_of(far, "top")[1] < middle_of(near, "top")[1] - 20
    assert middle_of(far, "top")[0] > middle_of(near, "top")[0] + 10
    # hardly turned: as the camera sees it
    assert middle_of(far, "around:1")[0] > middle_of(near, "around:1")[0] + 10


@pytest.mark.parametrize("view", ["side", "top", "around:45", "around:-120"])
def test_views_hold_everybody(view):
    people = [_person(1, -0.6, 3.0), _person(2, 0.6, 5.0), _person(3, 2.0, 9.0)]
    joints = np.concatenate([person.joints_cam for person in people])
    seen = place_view(view, joints, WIDTH, HEIGHT).transform(joints)
    camera = view_camera(WIDTH, HEIGHT)
    px = seen[:, :2] / seen[:, 2:] * camera.focal_length_px + np.array(camera.center_px)
    assert (seen[:, 2] > 0).all()
    assert ((px > 0) & (px < [WIDTH, HEIGHT])).all()


def test_view_of_one_wild_joint_does_not_shrink_everybody():
    joints = np.tile(_person().joints_cam, (20, 1))
    wild = joints.copy()
    wild[7] = [50.0, -80.0, 900.0]
    calm_m = place_view("side", joints, WIDTH, HEIGHT).distance_m
    assert place_view("side", wild, WIDTH, HEIGHT).distance_m < 1.2 * calm_m


@pytest.mark.parametrize("view", ["behind", "around", "around:", "around:north", "around:inf", ""])
def test_unknown_views_are_refused(view):
    with pytest.raises(ConfigError, match="choose side, top or around:DEGREES"):
        _draw([_person()], view=view)


@pytest.mark.parametrize("options", [{"opacity": 1.2}, {"opacity": -0.1}, {"max_width_px": 10}])
def test_impossible_options_are_refused(options):
    with pytest.raises(ConfigError, match="must"):
        OverlayOptions(**options)


def test_ids_are_written_above_the_head_in_the_persons_color():
    plain = _draw([_person(2)], layout="overlay")
    with_id = _draw([_person(2)], layout="overlay", show_ids=True)
    box = _box((plain != with_id).any(-1))
    top = _projected_box(_person().vertices_cam)[1]
    assert box[3] <= top + 3
    assert box[0] < CAMERA.center_px[0] < box[2]
    corner = with_id[box[1] + 1, box[0] + 1] / 255
    assert np.argmax(corner) == np.argmax(person_color(2))


def test_ids_of_people_out_of_view_are_left_out():
    beside = _person(1, 9.0)
    np.testing.assert_array_equal(_draw([beside], layout="overlay", show_ids=True), _image())


# --- video ---


def _motion(path, people, num_frames, first_frame=0):
    return VideoMotion(
        video=VideoInfo(
            path=path, width_px=WIDTH, height_px=HEIGHT, frame_rate=Fraction(30000, 1001)
        ),
        camera=CAMERA,
        people=tuple(people),
        time_s=np.arange(first_frame, first_frame + num_frames) * 1001 / 30000,
        first_frame=first_frame,
    )


def _person_motion(track_id, frames, x, z=4.0):
    """A body that stands at ``x[i]`` in frame ``frames[i]``."""
    num = len(frames)
    offset = np.stack([np.asarray(x, float), np.full(num, 0.2), np.full(num, z)], 1)
    rest = body_model().joint_template.numpy()
    joints = (rest - rest[0]) @ UPRIGHT + rest[0] + offset[:, None]  # turned about the pelvis
    zeros = np.zeros(num)
    return PersonMotion(
        track=Track(
            track_id=track_id,
            frame_index=np.asarray(frames),
            boxes_xyxy=np.zeros((num, 4)),
            scores=zeros,
        ),
        smpl=SmplParams(
            global_orient=np.tile(UPRIGHT, (num, 1, 1)),
            body_pose=np.tile(np.eye(3), (num, 23, 1, 1)),
            betas=np.zeros((num, 10)),
            transl=offset,
        ),
        camera=WeakPerspectiveCamera(scale=zeros, tx=zeros, ty=zeros),
        crops_cxcys=np.zeros((num, 3)),
        joints_cam=joints,
        joints_px=np.zeros((num, 24, 2)),
        observed=np.ones(num, bool),
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("overlay") / "input.mp4"
    with VideoWriter(path, frame_rate=Fraction(30000, 1001)) as writer:
        for index in range(24):
            image = _image()
            image[:20, : 10 * (index + 1)] = 0  # tells frames apart
            writer.write(image, pts=index * 1001, time_base=Fraction(1, 30000))
    return path


def _differs(frame, reference):
    return np.abs(frame.astype(int) - reference).max(-1) > 40


def test_video_shows_each_frame_with_its_people(source, tmp_path):
    out = tmp_path / "overlay.mp4"
    first = list(range(2, 20))
    x = np.linspace(-1, 1, len(first))
    walker = _person_motion(1, first, x)
    other = _person_motion(5, [0, 18, 21], [0.8, -0.8, 0.0])
    done = []
    draw_video(
        _motion(source, [walker, other], 24),
        body_model(),
        out,
        options=OverlayOptions(),
        renderer=RENDERER,
        on_frame=done.append,
    )
    written, read = list(read_frames(out)), list(read_frames(source))
    assert done == list(range(1, 25))
    assert [round(f.time_s, 4) for f in written] == [round(f.time_s, 4) for f in read]
    shape = _projected_box(_person(1, 0.0).vertices_cam)
    shift_px = CAMERA.focal_length_px / 4.0
    for frame, original in zip(written, read, strict=True):
        left, right = frame.rgb[:, :WIDTH], frame.rgb[:, WIDTH:]
        assert not _differs(left, original.rgb).any()
        at = [x[first.index(frame.index)]] if frame.index in first else []
        at += {0: [0.8], 18: [-0.8], 21: [0.0]}.get(frame.index, [])
        mask = _differs(right, original.rgb)
        assert mask.any() == bool(at)
        if len(at) == 1:
            expected = shape + np.array([at[0], 0, at[0], 0]) * shift_px
            expected = np.clip(expected, 0, [WIDTH, HEIGHT, WIDTH, HEIGHT])
            np.testing.assert_allclose(_box(mask), expected, atol=4)  # hands are thin when encoded


def test_video_of_a_part_starts_there(source, tmp_path):
    out = tmp_path / "part.mp4"
    motion = _motion(source, [_person_motion(1, [10, 11], [0.0, 0.0])], 6, first_frame=8)
    draw_video(motion, body_model(), out, options=OverlayOptions(view="side"), renderer=RENDERER)
    written, read = list(read_frames(out)), list(read_frames(source))[8:14]
    assert len(written) == 6
    assert written[0].time_s == pytest.approx(0, abs=1e-3)
    for frame, original in zip(written, read, strict=True):
        panels = np.split(frame.rgb, 3, axis=1)
        assert not _differs(panels[0], original.rgb).any()
        seen = original.index in (10, 11)
        assert _differs(panels[1], original.rgb).any() == seen
        assert (_colored(panels[2]).sum() > 500) == seen


def test_moved_source_is_taken_from_its_new_place(source, tmp_path):
    motion = _motion(tmp_path / "gone.mp4", [], 3)
    out = tmp_path / "moved.mp4"
    kept = {"options": OverlayOptions(), "renderer": RENDERER}
    with pytest.raises(VideoError):
        draw_video(motion, body_model(), out, **kept)
    assert not out.exists()
    draw_video(motion, body_model(), out, source=source, **kept)
    assert len(list(read_frames(out))) == 3


def test_a_source_that_ends_early_is_refused(source, tmp_path):
    motion = _motion(source, [], 25)  # it has 24 frames
    with pytest.raises(ConfigError, match="ends before the result does, which has 25 frames"):
        draw_video(
            motion, body_model(), tmp_path / "out.mp4", options=OverlayOptions(), renderer=RENDERER
        )
    assert not (tmp_path / "out.mp4").exists()


def test_a_source_of_another_size_is_refused(tmp_path):
    small = tmp_path / "small.mp4"
    with VideoWriter(small, frame_rate=Fraction(25)) as writer:
        writer.write(_image(64, 48), pts=0, time_base=Fraction(1, 25))
    out = tmp_path / "out.mp4"
    with pytest.raises(ConfigError, match=r"64x48 .* 240x180"):
        draw_video(
            _motion(small, [], 1), body_model(), out, options=OverlayOptions(), renderer=RENDERER
        )
    assert list(tmp_path.iterdir()) == [small]
