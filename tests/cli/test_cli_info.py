import json
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result

from dtsvibe_cli import __version__, weights
from dtsvibe_cli.errors import RenderError, WeightsError
from dtsvibe_cli.stages import rendering

Call = Callable[..., Result]


class _Renderer:
    name = "a pencil"

    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def _quick_renderer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "make_renderer", _Renderer)


def test_facts_for_people(dtsvibe: Call) -> None:
    result = dtsvibe("info")
    assert result.exit_code == 0, result.output
    for fact in (__version__, "torch", "libavcodec", "threads", "a pencil", "verified"):
        assert fact in result.stdout


def test_facts_for_programs(dtsvibe: Call) -> None:
    facts = json.loads(dtsvibe("info", "--json").stdout)
    assert facts["renderer"] == "a pencil"
    assert facts["weights"].keys() == weights.registry().keys()
    assert set(facts["weights"].values()) == {"verified"}
    assert facts["devices"]["cpu"].endswith("threads")


def test_what_is_broken_is_said_and_does_not_stop_it(
    monkeypatch: pytest.MonkeyPatch, dtsvibe: Call
) -> None:
    def no_renderer() -> Any:
        raise RenderError("Nothing draws here.")

    def damaged(name: str) -> None:
        raise WeightsError(f"{name} is damaged.")

    monkeypatch.setattr(rendering, "make_renderer", no_renderer)
    monkeypatch.setattr(weights, "verify", damaged)
    result = dtsvibe("info")
    assert result.exit_code == 0
    assert "Nothing draws here." in result.stdout
    assert f"{next(iter(weights.registry()))} is damaged." in result.stdout


def test_missing_weights_are_said(monkeypatch: pytest.MonkeyPatch, dtsvibe: Call) -> None:
    monkeypatch.setenv(weights.ENVIRONMENT_VARIABLE, "nowhere")
    assert "nowhere" in dtsvibe("info").stdout
