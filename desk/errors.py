"""What can go wrong at the desk, by what the person has to do about it.

The first line says what is wrong, `remedy` the next step. Nothing else of an error is shown unless
GRIDBEAT_DEBUG is set, but for the chain of its causes, once.
"""


class DeskError(Exception):
    """What was asked cannot be done as things are; `remedy` says what to do first."""

    def __init__(self, message: str, remedy: str | None = None) -> None:
        self.remedy = remedy
        super().__init__(message)


class UsageError(DeskError):
    """What was asked cannot be read; `remedy` holds an example of what can."""


class UnreachableError(DeskError):
    """A broker, a database or another part we depend on does not answer."""
