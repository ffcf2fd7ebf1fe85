"""Errors of this package, and the messages of other libraries in one line."""


class NoCheckpointError(FileNotFoundError):
    """There is no checkpoint in a folder of runs."""


class UndescribedDataError(ValueError):
    """A checkpoint does not describe the data that it was trained on."""


class MissingDataError(FileNotFoundError):
    """The file of the training data is gone."""


class MissingClassifierError(FileNotFoundError):
    """There is no classifier of a kind for a generator."""


class ClassifierMismatchError(ValueError):
    """A classifier was trained for another generator."""


def first_line(error: Exception) -> str:
    """Return the first line of an error, or the name of its class if it has no message."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
