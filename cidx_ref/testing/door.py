"""The door of a program: what comes before its imports, which take their time, and behind its last
word.  An interrupt then is answered as at any other time: by one line and its status.

Nothing is imported here that takes milliseconds, in which it would be Python's to answer.
"""

from __future__ import annotations

import os
import sys

try:
    import signal
except KeyboardInterrupt:
    os.write(2, b"interrupted\n")
    raise SystemExit(130) from None

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

__all__ = ["INTERRUPTED", "enter", "enter_package"]

INTERRUPTED = 130
#: Until an interrupt comes again that came where it cannot be raised.
_AGAIN_S = 0.01


def enter(prog: str, load: Callable[[], Callable[[], int]], *, is_program: bool = True) -> int:
    """Call what `load` imports; return the exit status.

    `is_program`: the process is this program's alone, and ends behind it.  Else it is left as it
    was found.
    """

    def say_and_end(number: int, frame: FrameType | None) -> None:
        os.write(2, f"{prog}: interrupted\n".encode())
        os._exit(INTERRUPTED)

    def hook(error: sys.UnraisableHookArgs) -> None:
        if error.exc_type is KeyboardInterrupt:
            _interrupt_again()
        else:
            before_hook(error)

    before, before_hook = signal.getsignal(signal.SIGINT), sys.unraisablehook
    _handle_interrupts(say_and_end)
    try:
        run = load()
        sys.unraisablehook = hook
        _handle_interrupts(before)
        status = run()
    except KeyboardInterrupt:  # before or behind what the program does about it
        os.write(2, f"{prog}: interrupted\n".encode())
        status = INTERRUPTED
    finally:
        _handle_interrupts(_end if is_program else before)
        sys.unraisablehook = before_hook
    if is_program and status == INTERRUPTED:
        _leave()
    return status


def enter_package(package: str, module: str) -> int:
    """Have `main` of that module run, as `python -m package`; return the exit status."""

    def load() -> Callable[[], int]:
        from importlib import import_module

        main: Callable[[], int] = import_module(f"{package}.{module}").main
        return main

    return enter(f"python -m {package}", load)


def _handle_interrupts(handler: object) -> None:
    # What ignores them (`nohup`, `&` in a script) goes on with that.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, handler)  # type: ignore[arg-type]


def _interrupt_again() -> None:
    """It has come in a destructor, which cannot raise it; and to end at once would leave daemons
    running."""
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)


def _end(number: int, frame: FrameType | None) -> None:
    os._exit(INTERRUPTED)


def _leave() -> None:
    """By that status: Python's own end is the signal's, if that came while text was executed."""
    for stream in (sys.stdout, sys.stderr):
        try:  # noqa: SIM105 - nothing more is imported
            stream.flush()
        except (OSError, ValueError):
            pass
    os._exit(INTERRUPTED)
