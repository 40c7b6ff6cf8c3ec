"""`cidx-ref` and `python -m cidx_ref`: a process made fit for the command line, and left quietly.

What the starting shell has given is put in order here, before anything else is imported: standard
streams that are closed, a umask that would lock us out of our own files, names that are not UTF-8.
And an interrupt, which may come before there is a command and after it, never shows a traceback.
"""

from __future__ import annotations

try:
    import os
    import signal
    import sys
    from types import FrameType
except KeyboardInterrupt:
    raise SystemExit(130) from None

__all__ = ["main"]

_FAILED, _INTERRUPTED = 2, 130
_UTF8 = ["-X", "utf8"]


def main() -> int:
    """Run one command; return its exit status."""
    _handle_interrupts(_end)
    sys.unraisablehook = _say_unless_interrupted
    _restore_signals()
    _fill_streams()
    if sys.argv[1:2] != ["verify"]:  # which starts other people's daemons, as their users do
        os.umask(0o077)
    _speak_utf8()
    try:
        try:
            from cidx_ref.cli import main as run

            _handle_interrupts(signal.default_int_handler)
            status = run()
        finally:
            _handle_interrupts(_end)
    except KeyboardInterrupt:  # before or behind what a command does about it
        return _INTERRUPTED
    except Exception as error:  # a module in the user's PYTHONPATH, half an installation, a bug
        return _say_what_failed(error)
    return _leave() if status == _INTERRUPTED else status


def _leave() -> int:
    """By that status: Python's own end is the signal's, if that came while text was executed."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            try:  # noqa: SIM105 - nothing more is imported
                stream.flush()
            except OSError:
                pass
    os._exit(_INTERRUPTED)


def _handle_interrupts(handler: object) -> None:
    # What ignores them (`nohup`, `&` in a script) goes on with that.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, handler)  # type: ignore[arg-type]


def _end(number: int, frame: FrameType | None) -> None:
    os._exit(_INTERRUPTED)


def _say_unless_interrupted(error: sys.UnraisableHookArgs) -> None:
    if error.exc_type is KeyboardInterrupt:  # it has come in a destructor, which cannot raise it
        os._exit(_INTERRUPTED)
    sys.__unraisablehook__(error)


def _restore_signals() -> None:
    """Undo what a process may inherit: without SIGCHLD a child seems to end well, however it ends,
    and with SIGTERM blocked nobody can end a daemon."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _fill_streams() -> None:
    """Have something open as 0, 1 and 2: else the next pipe or socket would be, and be written to
    by whoever complains."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            _open_nothing()  # the lowest that is free


def _open_nothing() -> None:
    try:
        os.open(os.devnull, os.O_RDWR)
    except OSError:  # a container without it: what cannot be written to is as good
        os.open("/", os.O_RDONLY)


def _speak_utf8() -> None:
    """Begin anew where a file's name would be another one than for the daemon; once, as what the
    interpreter is told otherwise (`-X utf8=0`) may come after it."""
    is_utf8 = sys.getfilesystemencoding().replace("-", "").lower() == "utf8"
    if is_utf8 or sys.orig_argv[1 : 1 + len(_UTF8)] == _UTF8:
        return
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    if not os.environ.get("PYTHONIOENCODING"):
        os.environ["PYTHONIOENCODING"] = f"{encoding}:backslashreplace"
    # And not by the environment, which an interpreter may be told to ignore (`-E`, `-I`).
    os.execv(sys.executable, [sys.executable, *_UTF8, *sys.orig_argv[1:]])


def _say_what_failed(error: Exception) -> int:
    """On one line, and not as status 1, which says that nothing was found."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f" ({place.tb_frame.f_code.co_filename}:{place.tb_lineno})" if place else ""
    text = f"{type(error).__name__}: {error}{where}"
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    # Nothing is imported for it, as what has failed may be an import.
    try:  # noqa: SIM105
        os.write(2, f"cidx-ref: {text}\n".encode("ascii", "backslashreplace"))
    except OSError:
        pass
    return _FAILED


if __name__ == "__main__":
    raise SystemExit(main())
