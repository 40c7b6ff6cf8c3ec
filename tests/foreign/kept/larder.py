"""Caches and locks, as people write them.

A cache holds one thing, which `load()` makes: `with cache.borrow() as thing`.  It lets go of it by
`drop()` (now), and by `tidy()` (if nobody used it for `ttl_s`).  A lock is entered by `with`.
"""

import contextlib
import errno
import fcntl
import os
import queue
import threading
import time


class Jar:
    """What is held: the thing, who uses it, and since when nobody does."""

    def __init__(self, thing, now):
        self.thing = thing
        self.users = 0
        self.used = now


class Cellar:
    """Loads once, however many ask; keeps what is in use; forgets failures."""

    def __init__(self, load, ttl_s):
        self.load, self.ttl_s = load, ttl_s
        self.bell = threading.Condition()
        self.jar = None
        self.loading = None
        self.season = 0

    def now(self):
        return time.monotonic()

    def holds(self):
        with self.bell:
            return self.jar is not None

    @contextlib.contextmanager
    def borrow(self):
        jar = self.take()
        try:
            yield jar.thing
        finally:
            with self.bell:
                jar.users -= 1
                jar.used = self.now()

    def take(self):
        with self.bell:
            while self.jar is None and self.loading == self.season:
                self.bell.wait()
            if self.jar is not None:
                return self.use(self.jar)
            season = self.loading = self.season
        try:
            thing = self.load()
        except BaseException:
            self.loaded(season, None)
            raise
        return self.loaded(season, thing)

    def loaded(self, season, thing):
        with self.bell:
            if self.loading == season:
                self.loading = None
            self.bell.notify_all()
            if thing is None:
                return None
            jar = self.use(Jar(thing, self.now()))
            if self.season == season:
                self.jar = jar
            return jar

    def use(self, jar):
        jar.users += 1
        jar.used = self.now()
        return jar

    def drop(self):
        with self.bell:
            self.season += 1
            self.jar = None

    def tidy(self):
        with self.bell:
            jar = self.jar
            if jar is not None and not jar.users and self.old(jar):
                self.season += 1
                self.jar = None

    def old(self, jar):
        return self.now() - jar.used >= self.ttl_s


class Lingering(Cellar):
    def old(self, jar):
        return self.now() - jar.used > self.ttl_s


class Almanac(Cellar):
    def now(self):
        return time.time()


class Snatching(Cellar):
    def tidy(self):
        with self.bell:
            if self.jar is not None and self.old(self.jar):
                self.season += 1
                self.jar = None


class Double(Cellar):
    """Looks, and then leaps."""

    def take(self):
        with self.bell:
            season = self.season
            if self.jar is not None:
                return self.use(self.jar)
        return self.loaded(season, self.load())


class Grudging(Cellar):
    def __init__(self, load, ttl_s):
        super().__init__(load, ttl_s)
        self.failure = None

    def take(self):
        if self.failure is not None:
            raise self.failure
        try:
            return super().take()
        except Exception as failure:
            self.failure = failure
            raise


class Haunted(Cellar):
    """What was loaded is put in, whatever happened meanwhile."""

    def loaded(self, season, thing):
        with self.bell:
            if self.loading == season:
                self.loading = None
            self.bell.notify_all()
            if thing is None:
                return None
            self.jar = self.use(Jar(thing, self.now()))
            return self.jar


# Locks


class Token:
    """A lock: who has the token is in."""

    def __init__(self):
        self.tokens = queue.Queue()
        self.tokens.put(None)

    def __enter__(self):
        self.tokens.get()
        return self

    def __exit__(self, *_):
        self.tokens.put(None)


class Clumsy:
    """A lock that forgets to unlock when something breaks."""

    def __init__(self):
        self.lock = threading.Lock()

    def __enter__(self):
        self.lock.acquire()
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.lock.release()


class Drowsy:
    """A lock with a bell, which may ring before anybody listens."""

    def __init__(self):
        self.mutex = threading.Lock()
        self.bell = threading.Event()
        self.taken = False

    def __enter__(self):
        while True:
            with self.mutex:
                if not self.taken:
                    self.taken = True
                    return self
            self.bell.clear()
            self.bell.wait()

    def __exit__(self, *_):
        with self.mutex:
            self.taken = False
        self.bell.set()


class Library:
    """Readers together, a writer alone."""

    def __init__(self):
        self.bell = threading.Condition()
        self.readers = 0
        self.writer = False

    @contextlib.contextmanager
    def reading(self):
        with self.bell:
            while self.writer:
                self.bell.wait()
            self.readers += 1
        try:
            yield
        finally:
            with self.bell:
                self.readers -= 1
                self.bell.notify_all()

    @contextlib.contextmanager
    def writing(self):
        with self.bell:
            while not self.free():
                self.bell.wait()
            self.writer = True
        try:
            yield
        finally:
            with self.bell:
                self.writer = False
                self.bell.notify_all()

    def free(self):
        return not self.writer and not self.readers


class Crowded(Library):
    """Waits for writers, and not for readers."""

    def free(self):
        return not self.writer


# Claims: of any number of processes, one has the place.


class Flag:
    """A lock on a file, for as long as the process lives."""

    def __init__(self, directory):
        self.path = os.path.join(directory, "claim")
        self.file = None

    def claim(self):
        file = open(self.path, "w")  # noqa: SIM115
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        self.file = file
        return True

    def release(self):
        self.file.close()


class PidFile:
    """The number of the process that has the place, in a file."""

    def __init__(self, directory):
        self.path = os.path.join(directory, "claim.pid")

    def claim(self):
        if self.alive():
            return False
        time.sleep(0.02)  # the last one's things are put away here
        with open(self.path, "w") as file:
            file.write(str(os.getpid()))
        return True

    def alive(self):
        try:
            with open(self.path) as file:
                pid = int(file.read() or 0)
            os.kill(pid, 0)
        except (FileNotFoundError, ValueError):
            return False
        except OSError as error:
            return error.errno != errno.ESRCH
        return True

    def release(self):
        os.unlink(self.path)
