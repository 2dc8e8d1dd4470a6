"""The errors that a user may see, each with the exit code of the command that ends on it."""


class EasyZlocError(Exception):
    """Base of every error meant for a person: one sentence that says what, where, and how to mend it."""

    exit_code = 1


class InputError(EasyZlocError):
    """Bad input or usage. The message names the file or the field and what to do."""

    exit_code = 2


class HardwareError(EasyZlocError):
    """The instrument failed: a device error, a missed deadline, a lost frame. What was acquired is kept."""

    exit_code = 3


class LocalizerError(EasyZlocError):
    """Localisation failed while frames were coming. What was acquired is kept, and can be localised later."""

    exit_code = 3


class EasyZlocWarning(UserWarning):
    """Something that a person should know but that does not stop the work."""
