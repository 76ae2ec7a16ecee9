import logging
import subprocess
import sys
from collections.abc import Callable

import click
import pytest
from click.testing import CliRunner, Result

from dtsvibe_cli import __version__
from dtsvibe_cli.cli import COMMANDS
from dtsvibe_cli.cli._console import configure_logging, progress_bars
from dtsvibe_cli.cli._errors import report_errors
from dtsvibe_cli.errors import DtsVibeError

Call = Callable[..., Result]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_starts_its_help_with_an_example(dtsvibe: Call, command: str) -> None:
    result = dtsvibe(command, "--help")
    assert result.exit_code == 0
    assert f"dtsvibe {command}" in result.stdout.partition("Options:")[0]


def test_help_lists_the_commands_in_order(dtsvibe: Call) -> None:
    listed = dtsvibe("--help").stdout.partition("Commands:")[2]
    assert [line.split()[0] for line in listed.splitlines() if line[2:3].isalpha()] == list(
        COMMANDS
    )
    assert dtsvibe("-h").stdout == dtsvibe("--help").stdout


def test_version(dtsvibe: Call) -> None:
    assert dtsvibe("--version").stdout == f"dtsvibe, version {__version__}\n"


def test_an_unknown_command_is_a_usage_error(dtsvibe: Call) -> None:
    result = dtsvibe("dance")
    assert result.exit_code == 2
    assert "No such command 'dance'" in result.stderr


@pytest.mark.parametrize("args", [[], *([command] for command in COMMANDS)])
def test_help_imports_nothing_heavy(args: list[str]) -> None:
    code = (
        "import sys; from dtsvibe_cli.cli import main\n"
        f"main({[*args, '--help']}, standalone_mode=False)\n"
        "heavy = {'torch', 'numpy', 'cv2', 'av', 'scipy', 'rich', 'ultralytics', 'pyrender'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_python_m_runs_the_same_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dtsvibe_cli", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert __version__ in done.stdout


def _command(error: BaseException) -> click.Command:
    @click.command()
    @report_errors
    def command() -> None:
        raise error

    return command


def test_a_users_mistake_is_one_sentence() -> None:
    result = CliRunner().invoke(_command(DtsVibeError("There is no x.mp4.")), [])
    assert (result.exit_code, result.stdout, result.stderr) == (
        1,
        "",
        "Error: There is no x.mp4.\n",
    )


def test_debug_shows_where_it_came_from() -> None:
    result = CliRunner().invoke(_command(DtsVibeError("There is no x.mp4.")), ["--debug"])
    assert isinstance(result.exception, DtsVibeError)


def test_our_own_mistakes_keep_their_traceback() -> None:
    result = CliRunner().invoke(_command(ValueError("shape")), [])
    assert isinstance(result.exception, ValueError)


def test_ctrl_c_stops_quietly() -> None:
    result = CliRunner().invoke(_command(KeyboardInterrupt()), [])
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "Stopped.\n")


@pytest.mark.parametrize(
    ("quiet", "debug", "shown"),
    [
        (False, False, "made\nWarning: odd\n"),
        (True, False, "Warning: odd\n"),
        (False, True, "tried\nmade\nWarning: odd\n"),
    ],
)
def test_messages_go_to_stderr(
    capsys: pytest.CaptureFixture[str], quiet: bool, debug: bool, shown: str
) -> None:
    for _ in range(2):  # a second command in one process does not say everything twice
        configure_logging(quiet=quiet, debug=debug)
    logger = logging.getLogger("dtsvibe_cli.test")
    logger.debug("tried")
    logger.info("made")
    logger.warning("odd")
    assert capsys.readouterr() == ("", shown)


def test_bars_show_stage_count_and_rate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    with progress_bars(quiet=False) as on_progress:
        for done in range(4):
            on_progress("tracking", done, None)
            on_progress("poses", done, 3)
    out, err = capsys.readouterr()
    assert out == ""
    assert "tracking" in err
    assert "3/3" in err
    assert "/s" in err


@pytest.mark.parametrize(("quiet", "terminal"), [(True, True), (False, False)])
def test_no_bars_when_quiet_or_not_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], quiet: bool, terminal: bool
) -> None:
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
    with progress_bars(quiet=quiet) as on_progress:
        on_progress("poses", 1, 3)
    assert capsys.readouterr() == ("", "")
