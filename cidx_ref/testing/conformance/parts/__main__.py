"""The door of `python -m cidx_ref.testing.conformance.parts`; what it does is in `shell`."""

from __future__ import annotations

try:
    from cidx_ref.testing.door import enter
except KeyboardInterrupt:
    raise SystemExit(130) from None

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def _load() -> Callable[[], int]:
    from cidx_ref.testing.conformance.parts.shell import main

    return main


if __name__ == "__main__":
    raise SystemExit(enter(f"python -m {__package__}", _load))
