"""`threading.Thread`, `Timer` and `local`, and who runs now, for threads of a `Scheduler`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cidx_ref.testing.concurrency.library.active import active, named, scheduler
from cidx_ref.testing.concurrency.library.locks import Event
from cidx_ref.testing.concurrency.scheduler import Abort, Task

__all__ = ["Local", "Thread", "Timer", "active_count", "current_thread", "get_ident", "live"]

#: Idents of threads begin behind this one, so that none is 0.
_IDENTS = 1000


class Thread(threading.Thread):
    """One that the scheduler runs.

    Its `run` may raise: then the thread ends, and the others go on, as in the library.  A hook that
    the code has put into `threading.excepthook` is told; where there is none, the run fails once
    all have ended.
    """

    def __init__(
        self,
        group: None = None,
        target: Callable[..., object] | None = None,
        name: str | None = None,
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        daemon: bool | None = None,
    ) -> None:
        self._scheduler = scheduler()
        self._task: Task | None = None
        # Counted for each run: the library's own count goes on from one schedule to the next.
        suffix = f" ({getattr(target, '__name__', '')})" if target is not None else ""
        counted = named("Thread", "-").removeprefix("Thread -").removeprefix(" #") or "1"
        super().__init__(
            group,
            target,
            f"Thread-{counted}{suffix}" if name is None else name,
            args,
            kwargs,
            daemon=current_thread().daemon if daemon is None else daemon,
        )

    def start(self) -> None:
        if self._task is not None:
            raise RuntimeError("threads can only be started once")
        self._started.set()  # type: ignore[attr-defined]  # or `daemon` could still be changed
        self._task = self._scheduler.spawn(self._begin, self.name, lambda: self.daemon)
        self._task.face = self
        self._scheduler.point(f"started {self.name}")

    def join(self, timeout: float | None = None) -> None:
        if self._task is None:
            raise RuntimeError("cannot join thread before it is started")
        if self._task is self._scheduler.current:
            raise RuntimeError("cannot join current thread")
        self._task.join(timeout if timeout is None else max(timeout, 0))

    def is_alive(self) -> bool:
        return self._task is not None and self._task.is_alive()

    @property
    def ident(self) -> int | None:
        return None if self._task is None else _ident(self._task)

    @property
    def native_id(self) -> int | None:
        return self.ident

    def __repr__(self) -> str:
        return f"<{type(self).__name__}({self.name})>"

    def _begin(self) -> None:
        try:
            self.run()
        except Abort:
            raise
        except SystemExit:
            pass
        except BaseException as error:
            hook = active().excepthook
            if hook is not None:
                hook(threading.ExceptHookArgs((type(error), error, error.__traceback__, self)))
            elif self._scheduler.unnoticed is None:
                self._scheduler.unnoticed = error


class _Actor(Thread):
    """Stands for a thread that the scenario, and not the code, has started."""

    def __init__(self, task: Task) -> None:
        threading.Thread.__init__(self, name=task.name, daemon=False)
        self._scheduler = scheduler()
        self._task = task


class Timer(Thread):
    """Calls a function after a time, unless it is cancelled."""

    def __init__(
        self,
        interval: float,
        function: Callable[..., object],
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.interval = interval
        self.function = function
        self.args = args if args is not None else []
        self.kwargs = kwargs if kwargs is not None else {}
        self.finished = Event()

    def cancel(self) -> None:
        """Stop the timer if it has not called yet."""
        self.finished.set()

    def run(self) -> None:
        self.finished.wait(self.interval)
        if not self.finished.is_set():
            self.function(*self.args, **self.kwargs)
        self.finished.set()


class Local:
    """Attributes of each thread's own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __new__(cls, *args: Any, **kwargs: Any) -> Local:
        self = super().__new__(cls)
        # The creating thread is given its `__init__` by the call itself.
        object.__setattr__(self, "_local_args", (args, kwargs))
        object.__setattr__(self, "_local_dicts", {_current_key(): {}})
        return self

    def __getattribute__(self, name: str) -> Any:
        if name == "__dict__":
            return _own(self)
        mine = _own(self)
        return mine[name] if name in mine else object.__getattribute__(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        _own(self)[name] = value

    def __delattr__(self, name: str) -> None:
        mine = _own(self)
        if name not in mine:
            raise AttributeError(name)
        del mine[name]


def _own(local: Local) -> dict[str, Any]:
    dicts: dict[Any, dict[str, Any]] = object.__getattribute__(local, "_local_dicts")
    key = _current_key()
    if key not in dicts:
        dicts[key] = {}
        args, kwargs = object.__getattribute__(local, "_local_args")
        type(local).__init__(local, *args, **kwargs)
    return dicts[key]


def _current_key() -> Task:
    return scheduler().current


def _ident(task: Task) -> int:
    return _IDENTS + (task.ident or 0)


def current_thread() -> threading.Thread:
    return _face(scheduler().current)


def _face(task: Task) -> threading.Thread:
    if task.face is None:
        task.face = _Actor(task) if task.ident else threading.main_thread()
    face: threading.Thread = task.face
    return face


def get_ident() -> int:
    return _ident(scheduler().current)


def live() -> list[threading.Thread]:
    """`threading.enumerate`."""
    tasks: list[Task] = scheduler().threads()
    return [_face(task) for task in tasks]


def active_count() -> int:
    return len(live())
