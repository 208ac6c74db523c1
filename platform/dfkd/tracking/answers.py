"""What an error of MLflow means: the request was wrong, MLflow was away, or it lost its database."""

from __future__ import annotations

import re

#: MLflow's answers that a repetition cannot change: the event is wrong, or its run was deleted.
REFUSALS = ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS", "BAD_REQUEST")

#: What befell a connection to a database, in SQLAlchemy's words. MLflow (3.17, ``store.db.utils``) calls all of its
#: errors but ``OperationalError`` a BAD_REQUEST. A wrong request is a DataError, IntegrityError or ProgrammingError.
_LOST_DATABASE = re.compile(
    r"(BAD_REQUEST: )?(\((\w+\.)+(DatabaseError|InterfaceError|InternalError)\)|QueuePool limit of size)"
)


class RefusedError(ValueError):
    """An event that cannot become anything in MLflow."""


def is_refusal(error: BaseException) -> bool:
    """Whether the event itself is at fault, not the way to MLflow or to its database."""
    refused = isinstance(error, RefusedError) or getattr(error, "error_code", None) in REFUSALS
    return refused and not has_lost_database(error)


def is_temporary(error: BaseException) -> bool:
    """Whether MLflow itself says that a later repetition may succeed, as for a locked database."""
    return getattr(error, "error_code", None) == "TEMPORARILY_UNAVAILABLE"


def has_lost_database(error: BaseException) -> bool:
    """Whether MLflow's connection to its database ended in the middle of the request, or it got none."""
    return getattr(error, "error_code", None) == "BAD_REQUEST" and bool(_LOST_DATABASE.match(str(error)))


def was_away(error: BaseException) -> bool:
    """Whether a request failed because MLflow or its database was away at that moment, or for that long."""
    unanswered = getattr(error, "error_code", None) == "INTERNAL_ERROR" and "failed with exception" in str(error)
    return unanswered or is_temporary(error) or has_lost_database(error)
