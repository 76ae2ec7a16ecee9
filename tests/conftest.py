"""What every test gets: one thread, checked array shapes, and no silent error logs."""

import logging
import os
from collections.abc import Iterator

import pytest
from jaxtyping import install_import_hook

# torch reads it when it is first imported, and so do the processes that tests start
os.environ["OMP_NUM_THREADS"] = "1"

# every call in the suite checks every annotation; nothing of this in production
install_import_hook("dtsvibe_cli", "beartype.beartype")

# fixtures of the tests of the whole way: a clip, a network, a run
pytest_plugins = ["pipeline_clips"]


@pytest.fixture(autouse=True)
def _no_error_logs(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail a test during which the package logged an error: it should have raised."""
    yield
    errors = [
        record.getMessage()
        for record in caplog.get_records("call")
        if record.levelno >= logging.ERROR and record.name.startswith("dtsvibe_cli")
    ]
    assert not errors, f"logged at ERROR: {errors}"
