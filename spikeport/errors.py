"""The errors Spikeport raises for its users, each with the exit code the CLI gives it.

Any other exception that reaches the command line is a bug and has its own exit code.

Every message names the subject, its value and the rule it breaks.
"""

from __future__ import annotations

from spikeport.text import one_line

MOST_DETAILS = 100


class SpikeportError(Exception):
    """Base of every error that Spikeport raises on purpose.

    The message is always one line of printable text, whatever names and values it contains
    (`spikeport.text.one_line`); details follow on indented lines.

    Args:
        message: subject, value and rule.
        details: further lines, such as the last output of another program.
    """

    exit_code = 2

    def __init__(self, message: str, *details: str) -> None:
        if (count := len(details)) > MOST_DETAILS:
            details = (*details[: MOST_DETAILS - 1], f"… and {count - MOST_DETAILS + 1:,} more")
        super().__init__(message)
        self.args = tuple(one_line(str(line)) for line in (message, *details))

    def __str__(self) -> str:
        return "\n  ".join(self.args)


class InputError(SpikeportError, ValueError):
    """A value, file or data set given by the user breaks a rule (exit code 2)."""


class OutputError(SpikeportError, OSError):
    """A result could not be written; an existing file is unharmed (exit code 2)."""


class CheckFailedError(SpikeportError):
    """A parity or limit check ran and failed (exit code 1)."""

    exit_code = 1


class BackendUnavailableError(SpikeportError):
    """A backend is missing, or failed while running (exit code 3)."""

    exit_code = 3
