"""The errors Spikeport raises for its users, each with the exit code the CLI gives it.

Any other exception that reaches the command line is a bug, with an exit code of its own.

Every message names the subject, its value and the rule that it broke.
"""


class SpikeportError(Exception):
    """Base of every error that Spikeport raises on purpose."""

    exit_code = 2


class InputError(SpikeportError, ValueError):
    """A value, file or data set that a user gave does not keep a rule (exit code 2)."""


class OutputError(SpikeportError, OSError):
    """A result could not be written; what stood there before is unharmed (exit code 2)."""


class CheckFailedError(SpikeportError):
    """A parity or limit check ran and failed (exit code 1)."""

    exit_code = 1


class BackendUnavailableError(SpikeportError):
    """A backend is missing, or broke while it ran (exit code 3)."""

    exit_code = 3
