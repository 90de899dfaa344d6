"""The errors Spikeport raises for its users, each with the exit code the CLI gives it.

Any other exception that reaches the command line is a bug and has its own exit code.

Every message names the subject, its value and the rule it breaks. Every class has a code that never
changes, by which docs/errors.md explains it; the first digit is the subject. A class is a family of
errors with the same cause and the same way out, not a single message.
"""

from __future__ import annotations

from typing import ClassVar, NoReturn

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

    exit_code: ClassVar[int] = 2
    code: ClassVar[str] = "SP100"

    def __init__(self, message: str, *details: str) -> None:
        if (count := len(details)) > MOST_DETAILS:
            details = (*details[: MOST_DETAILS - 1], f"… and {count - MOST_DETAILS + 1:,} more")
        super().__init__(message)
        self.args = tuple(one_line(str(line)) for line in (message, *details))

    def __str__(self) -> str:
        return "\n  ".join(self.args)

    @property
    def coded(self) -> str:
        """The message with its code, as the command line prints it."""
        message, *details = self.args
        return "\n  ".join((f"{message} [{self.code}]", *details))

    @classmethod
    def fail(cls, message: str) -> NoReturn:
        """Raise this error."""
        raise cls(message)


class InputError(SpikeportError, ValueError):
    """A value, file or data set given by the user breaks a rule (exit code 2)."""

    code = "SP101"


class OptionError(InputError):
    """Options of a command need or exclude each other."""

    code = "SP102"


class UnknownNameError(InputError):
    """A name is none of those that are known."""

    code = "SP103"


class ValueRangeError(InputError):
    """A value has the wrong type, or is beyond its range."""

    code = "SP104"


class SettingsError(InputError):
    """Settings in TOML have an unknown or missing key, or a value that breaks its rule."""

    code = "SP105"


class FileMissingError(InputError):
    """A file is not there, or cannot be opened."""

    code = "SP201"


class FileFormatError(InputError):
    """A file is damaged, or of another kind than its name says."""

    code = "SP202"


class FileVersionError(InputError):
    """A file has a version that this release does not know."""

    code = "SP203"


class FileLimitError(InputError):
    """A file declares more than a file of its size may, which protects from hostile files."""

    code = "SP204"


class NetworkError(InputError):
    """The parts of a deployed network break a rule of the chip, or do not fit together."""

    code = "SP301"


class GraphError(InputError):
    """A NIR graph or netx file has a node, field or edge that cannot be used."""

    code = "SP302"


class UnstatedError(InputError):
    """A file of another tool leaves something open that a run needs."""

    code = "SP303"


class UnsupportedError(InputError):
    """A network has something that the target or another reader has no equivalent for."""

    code = "SP304"


class ModuleReadingError(InputError):
    """A torch module, of the user or of another framework, cannot be read as a network."""

    code = "SP305"


class ConversionError(InputError):
    """An ANN, or its configuration, cannot be converted to spiking neurons."""

    code = "SP306"


class SamplesError(InputError):
    """Samples do not fit the inputs of a network."""

    code = "SP401"


class LabelsError(InputError):
    """Labels do not fit the samples or the outputs of a network."""

    code = "SP402"


class DataSetError(InputError):
    """A data set is missing, incomplete or of another form than it should be."""

    code = "SP403"


class TrainingError(InputError):
    """A network, checkpoint or configuration cannot be trained, or training cannot go on."""

    code = "SP501"


class EnergyError(InputError):
    """Event counts, prices or a map of cores do not belong to the network."""

    code = "SP502"


class OutputError(SpikeportError, OSError):
    """A result could not be written; an existing file is unharmed (exit code 2)."""

    code = "SP701"


class BackendUnavailableError(SpikeportError):
    """A backend is missing, or failed while running (exit code 3)."""

    exit_code = 3
    code = "SP801"


class MissingPackageError(BackendUnavailableError):
    """A package of an extra is not installed (exit code 3)."""

    code = "SP802"


class CheckFailedError(SpikeportError):
    """A parity or limit check ran and failed (exit code 1)."""

    exit_code = 1
    code = "SP901"


def error_classes() -> dict[str, type[SpikeportError]]:
    """Every class of errors, by its code, in order."""
    found, waiting = {}, [SpikeportError]
    while waiting:
        one = waiting.pop()
        if "code" in vars(one):  # One of another package has the code of its family.
            found[one.code] = one
        waiting += one.__subclasses__()
    return dict(sorted(found.items()))
