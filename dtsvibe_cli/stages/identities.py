"""Who is who once the whole video was seen: the tracker's fragments become people."""

from collections.abc import Mapping

from dtsvibe_cli.datatypes import Observations
from dtsvibe_cli.errors import ConfigError
from dtsvibe_cli.stages.stitching_tracks import StitchedTracks, stitch_tracks
from dtsvibe_cli.stages.track_rows import SeenTrack, join


def who_is_who(
    tracks: Mapping[int, SeenTrack], time_s: Mapping[int, float], max_people: int | None
) -> StitchedTracks:
    """Join fragments, drop glimpses; in a very short video even a glimpse counts.

    Args:
        tracks: What was seen, by tracker identity.
        time_s: Time of each frame by its index, seconds.
        max_people: Keep only the people who are seen largest and longest.
    """
    return stitch_tracks(
        [seen.observations.track for seen in tracks.values()],
        times_s=dict(time_s),
        appearance={k: seen.colours for k, seen in tracks.items() if seen.colours is not None},
        min_frames=1 if len(time_s) < 16 else None,
        max_people=max_people,
    )


def people_of(
    tracks: Mapping[int, SeenTrack], stitched: StitchedTracks, track_id: int | None
) -> list[Observations]:
    """What was seen of each person, numbered from 1; of one person only when one is asked for.

    Raises:
        ConfigError: There is no such person.
    """
    people = [
        join([tracks[old].observations for old in group], number)
        for number, group in enumerate(stitched.groups, start=1)
    ]
    if track_id is None:
        return people
    chosen = [seen for seen in people if seen.track.track_id == track_id]
    if not chosen:
        known = ", ".join(str(seen.track.track_id) for seen in people) or "nobody"
        raise ConfigError(f"There is no person {track_id}; found: {known}.")
    return chosen
