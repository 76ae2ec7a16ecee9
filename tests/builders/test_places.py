"""The list of photographs: complete, freely licensed, fetched from nowhere by mistake."""

from pathlib import Path

import numpy as np
import pytest

from dtsvibe_cli.builders import places
from dtsvibe_cli.builders.fetch import PackageMember
from dtsvibe_cli.errors import DataError, WeightsError
from dtsvibe_cli.synthetic.places import PlaceLibrary

FREE = {"CC0-1.0", "CC-BY-4.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0", "LGPL-3.0", "GPL-2.0-or-later"}


def test_every_place_has_a_free_licence_an_author_and_a_checksum() -> None:
    sources = places.place_sources()
    assert len(sources) == len({source.name for source in sources}) > 60
    for source in sources:
        assert source.licence in FREE, source.name
        assert source.author, source.name
        assert len(source.file.sha256) == 64, source.name
        assert source.file.version, source.name


def test_collecting_keeps_what_is_right_and_leaves_out_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import hashlib

    import cv2

    content = cv2.imencode(".png", np.full((20, 30, 3), 90, np.uint8))[1].tobytes()

    def source(name: str, sha256: str) -> places.PlaceSource:
        file = PackageMember(
            registry="debian", package="pictures", version="1", member=name, sha256=sha256
        )
        return places.PlaceSource(name=name, licence="CC0-1.0", author="nobody", file=file)

    known = (source("right", hashlib.sha256(content).hexdigest()), source("wrong", "0" * 64))
    monkeypatch.setattr(places, "place_sources", lambda: known)
    monkeypatch.setattr(places, "read_members", lambda files: dict.fromkeys(files, content))
    assert places.collect_places(tmp_path) == [tmp_path / "right.jpg"]
    assert "wrong" in caplog.text
    place = PlaceLibrary(tmp_path).draw(np.random.default_rng(0))
    assert place.picture.shape[1] == places.PHOTOGRAPH_SIDE_PX
    assert place.picture.mean() == pytest.approx((90 / 255) ** 2.2, rel=0.03)


def test_without_any_package_it_says_what_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(files: list[PackageMember]) -> dict[PackageMember, bytes]:
        raise WeightsError("offline")

    monkeypatch.setattr(places, "read_members", refuse)
    with pytest.raises(DataError, match="apt-get"):
        places.collect_places(tmp_path)
