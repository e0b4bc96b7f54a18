"""The two errors that a user can cause, each with the exit code of the command line."""


class OffjaxError(Exception):
    """Base of every error that offjax raises on purpose: one line that says what to change."""

    exit_code = 1


class ConfigError(OffjaxError):
    """A wrong key, value, file or bundle (exit code 2)."""

    exit_code = 2

    def __init__(self, field: str, value: object, allowed: str) -> None:
        """Name the ``field``, the ``value`` that it had and what is ``allowed``."""
        self.field, self.value, self.allowed = field, value, allowed
        super().__init__(f"{field}: {_short(value)} is not allowed; {allowed}")


class MachineError(OffjaxError):
    """Something that this machine lacks: disk, memory, a tool, a permission (exit code 3)."""

    exit_code = 3


def _short(value: object, limit: int = 80) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
