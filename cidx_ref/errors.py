"""Everything that can go wrong, as a user may meet it.  Nothing here imports anything heavy.

Each class has a `kind`: the word that `--json`, the wire and the metrics use for it.  A message
is one sentence that names what was wrong; it never holds a traceback or a path of the server.
"""

from __future__ import annotations

__all__ = [
    "CidxError",
    "BadArgumentError",
    "BusyError",
    "ConfigError",
    "DaemonUnavailableError",
    "EmbedderError",
    "GenerationGone",
    "IndexUnusableError",
    "IndexingError",
    "InternalError",
    "NoIndexError",
    "ReplacedError",
    "ShuttingDownError",
    "UntrustedError",
    "from_kind",
]


class CidxError(Exception):
    """Base class of every error this package raises on purpose."""

    kind = "error"
    #: True where the daemon is at fault; such errors count against its health (OBS-2).
    failure = False


class BadArgumentError(CidxError, ValueError):
    """An argument is unknown, of the wrong type or out of range; the message names it (QRY-5)."""

    kind = "bad_argument"


class ConfigError(CidxError, ValueError):
    """`config.json` holds a bad value; the message names file, key, value and what is allowed."""

    kind = "bad_config"


class NoIndexError(CidxError):
    """The project has not been indexed yet."""

    kind = "no_index"


class IndexUnusableError(CidxError):
    """There is an index, but it is damaged, of another format or of another embedder."""

    kind = "index_unusable"
    failure = True


class IndexingError(CidxError):
    """A new index could not be built; the old one, if any, is as it was."""

    kind = "indexing_failed"
    failure = True


class EmbedderError(CidxError):
    """The embedder cannot make the vectors that are asked for: it is away, too slow, or wrong.

    The message holds no path, no key, and nothing that a service has said.
    """

    kind = "embedder_failed"
    failure = True


class BusyError(CidxError):
    """Another writer holds the project, or too many calls are under way.  Trying again may help."""

    kind = "busy"


class ShuttingDownError(CidxError):
    """The daemon is stopping and takes no new calls.  The next daemon will."""

    kind = "shutting_down"


class ReplacedError(ShuttingDownError):
    """The daemon's installation was removed or replaced under it, so it ends.  The next daemon
    will answer, and an index run may be asked for again, too: no user has stopped this one."""

    kind = "replaced"
    failure = True


class DaemonUnavailableError(CidxError):
    """No daemon answers, and none could be started."""

    kind = "unavailable"


class UntrustedError(CidxError):
    """Something in the project's directory is not what it should be, or not the user's own, and
    is not used; the message names it and says what to do."""

    kind = "untrusted"


class InternalError(CidxError):
    """A bug in the daemon; its log has the traceback."""

    kind = "internal"
    failure = True


class GenerationGone(CidxError):  # noqa: N818 - a turn of events, not an error; users never see it
    """The generation was live when it was looked up and had been replaced when it was opened."""


_BY_KIND: dict[str, type[CidxError]] = {
    cls.kind: cls
    for cls in (
        BadArgumentError,
        BusyError,
        ConfigError,
        DaemonUnavailableError,
        EmbedderError,
        IndexUnusableError,
        IndexingError,
        InternalError,
        NoIndexError,
        ReplacedError,
        ShuttingDownError,
        UntrustedError,
    )
}


def from_kind(kind: str, message: str) -> CidxError:
    """The error that `kind` names; a plain `CidxError` for a kind of some other version."""
    return _BY_KIND.get(kind, CidxError)(message)
