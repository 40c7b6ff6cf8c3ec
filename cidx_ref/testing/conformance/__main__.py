"""The door of `cidx-verify`, which is also

    python -m cidx_ref.testing.conformance conformance:TARGET --html report.html

What it does is in `verify`, which takes its time to be imported.
"""

from __future__ import annotations

try:
    from cidx_ref.testing.door import enter
except KeyboardInterrupt:
    raise SystemExit(130) from None

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None, prog: str = "cidx-verify") -> int:
    """Judge the target that is named; return the exit status.  `SystemExit` ends `--help`.

    Without `arguments` they are the process's own, which ends behind it.
    """

    def load() -> Callable[[], int]:
        from cidx_ref.testing.conformance.verify import main as judge

        return lambda: judge(arguments, prog)

    return enter(prog, load, is_program=arguments is None)


if __name__ == "__main__":
    raise SystemExit(main())
