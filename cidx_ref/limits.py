"""Limits of one request: known to client and daemon alike, so that the client can name what is
too long before the daemon refuses its frame."""

from __future__ import annotations

from cidx_ref.errors import BadArgumentError

__all__ = ["MAX_LIMIT", "MAX_REQUEST_BYTES", "MAX_TEXT_CHARS", "check_length"]

MAX_LIMIT = 1000
MAX_TEXT_CHARS = 100_000
#: The longest request is the longest text, each character of it twelve bytes in JSON (two escaped
#: surrogates); the client refuses longer ones by name before the daemon refuses the frame.
MAX_REQUEST_BYTES = 1 << 21


def check_length(text: object) -> None:
    """Raise `BadArgumentError` if the query is no string, or too long."""
    if not isinstance(text, str):
        raise BadArgumentError(f"query: must be a string, not {type(text).__name__}")
    if len(text) > MAX_TEXT_CHARS:
        raise BadArgumentError(
            f"query: {len(text)} characters are too many; at most {MAX_TEXT_CHARS}"
        )
