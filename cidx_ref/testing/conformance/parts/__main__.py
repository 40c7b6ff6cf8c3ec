"""The door of `python -m cidx_ref.testing.conformance.parts`; what it does is in `shell`."""

from __future__ import annotations

try:
    from cidx_ref.testing.door import enter_package
except KeyboardInterrupt:
    raise SystemExit(130) from None

if __name__ == "__main__":
    assert __package__
    raise SystemExit(enter_package(__package__, "shell"))
