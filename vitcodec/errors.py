"""What can go wrong, one class for each thing that a user can act on.

A message is one line: what happened to which file, and what to do. The command line prints it without a traceback;
`exit_code` is what it ends with.
"""

from __future__ import annotations


class VitcodecError(Exception):
    """Base class of every error that vitcodec raises on purpose."""

    exit_code = 1


class InputError(VitcodecError):
    """A file to read is missing, unreadable or not an image of a known kind."""


class FormatError(VitcodecError):
    """A .vitc file is damaged, truncated or breaks the specification."""


class UnsupportedError(VitcodecError):
    """A .vitc file is well-formed but needs a newer vitcodec."""


class LimitError(VitcodecError):
    """An image or a header exceeds a limit on size or memory."""


class OutputError(VitcodecError):
    """An output cannot be written, or exists already."""


class TargetError(VitcodecError):
    """A size or a PSNR that was asked for cannot be reached."""


class WeightsError(VitcodecError):
    """Weights are missing, damaged, or not the ones that a file was made with."""


class DeviceError(VitcodecError):
    """The device asked for is not there, or ran out of memory."""


class ClusterError(VitcodecError):
    """A Ray cluster is not there, cannot do the work, or was lost."""


class UsageError(VitcodecError):
    """The options do not make sense together or with these inputs."""

    exit_code = 2
