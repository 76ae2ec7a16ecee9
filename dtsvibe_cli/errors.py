"""Everything a user can be told to mend.

The tree::

    DtsVibeError
    ├── VideoError        the input cannot be read, or the output cannot be written
    ├── WeightsError      a weights file is missing, damaged, or of another kind
    ├── BodyModelError    a body model file is missing, damaged, refused, or of another kind
    ├── RenderError       no renderer can draw here
    ├── ResultsError      a results file is missing or of another format
    ├── ConfigError       an option or a configuration file asks for something impossible
    └── DataError         training or evaluation data is missing or malformed

A message is one sentence or two: what happened, with which value, and what to do about it. The
command line prints it and exits with 1. Programming errors stay ``ValueError`` or
``AssertionError``.
"""


class DtsVibeError(Exception):
    """Base of all errors that a user can act on."""


class VideoError(DtsVibeError):
    """The input cannot be read as video, or a video cannot be written."""


class WeightsError(DtsVibeError):
    """A weights file is missing, fails its checksum, or belongs to another network."""


class BodyModelError(DtsVibeError):
    """A body model file is missing, refused, or does not hold a 24-joint SMPL model."""


class RenderError(DtsVibeError):
    """A renderer that was asked for cannot draw on this machine."""


class ResultsError(DtsVibeError):
    """A results file is missing, damaged, or written by a newer version."""


class ConfigError(DtsVibeError):
    """An option or a configuration file asks for something impossible."""


class DataError(DtsVibeError):
    """Training or evaluation data is missing or malformed."""
