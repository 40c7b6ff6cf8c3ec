"""Surroundings: environments, streams and limits that are odd, machines that lack something, what
else lies in `.code-indexer`, other users, and names that are meant for a terminal."""

from __future__ import annotations

import os
import re
import resource
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import two_users

from cidx_ref import __main__, columns, terminal
from cidx_ref.daemon import claim
from cidx_ref.daemon.claim import Claim
from cidx_ref.keys import STATE_DIRECTORY
from cidx_ref.launcher import stop
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM
from cidx_ref.sockets import is_answered
from fault_rows.lives import PATIENCE_S, Life, answers, command, indexed, serving
from fault_rows.table import ROWS, NotHereError, Place, Trial, mutant, row

# Environments.


@dataclass(frozen=True)
class Odd:
    """What a process may come into: variables ("" takes one out), closed streams, and what is done
    in it before it begins."""

    variables: Mapping[str, str] = field(default_factory=dict)
    closed: tuple[int, ...] = ()
    before: Callable[[], object] = bool


def _ignore_all() -> None:
    for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _block_all() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, set(signal.Signals))


def _limit(what: int, most: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(what, (most, most))


def _in_a_directory_that_goes() -> None:
    os.chdir(gone := tempfile.mkdtemp())
    Path(gone).rmdir()


def _block_all_and_be_private() -> None:
    _block_all()
    os.umask(0o777)


ODD = (
    # First, so that a sample has them: much at once, and what takes an index run to be seen.
    Odd(
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        (0, 2),
        _block_all_and_be_private,
    ),
    Odd({"TMPDIR": "vanishes"}),
    Odd(closed=(0, 1, 2)),
    Odd({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
    Odd(before=lambda: os.umask(0o777)),
    Odd(before=_block_all),
    Odd(before=_ignore_all),
    Odd(before=lambda: os.umask(0)),
    Odd({"HOME": "", "XDG_CONFIG_HOME": "", "USER": "", "LOGNAME": ""}),
    Odd({"HOME": "relative", "XDG_CONFIG_HOME": "relative", "XDG_STATE_HOME": "relative"}),
    Odd({"HOME": "/nonexistent", "TMPDIR": "/nonexistent"}),
    Odd({"LC_ALL": "nonsense", "LANG": "\x1b[31m", "LANGUAGE": "tlh"}),
    Odd({"PYTHONOPTIMIZE": "2", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}),
    Odd({"PYTHONWARNINGS": "error", "PYTHONHASHSEED": "0"}),
    Odd({"PYTHONIOENCODING": "ascii:strict", "PYTHONSTARTUP": "/nonexistent"}),
    Odd({"PYTHONDEVMODE": "1", "PYTHONFAULTHANDLER": "1"}),
    Odd({"TERM": "", "COLUMNS": "nonsense", "LINES": "-1", "NO_COLOR": "1"}),
    Odd({"PATH": "/nonexistent"}),
    Odd({"PATH": "::.:relative"}),
    Odd(before=_limit(resource.RLIMIT_CORE, 0)),
    Odd(before=_limit(resource.RLIMIT_FSIZE, 1 << 20)),
    Odd(before=_in_a_directory_that_goes),
    Odd(closed=(0,)),
    Odd(closed=(1,)),
    Odd(closed=(2,)),
    Odd(closed=(0, 2)),
    Odd(closed=(1, 2)),
)
NAMES = {"gr\xf6\xdfe.py": "def quokka():\n    return 'wombat'\n"}


@mutant("environments", "closed streams stay closed")
@contextmanager
def _streams_stay_closed() -> Iterator[None]:
    with patch.object(__main__, "_fill_streams", bool):
        yield


@mutant("environments", "the locale decides what a file is called")
@contextmanager
def _by_locale() -> Iterator[None]:
    with patch.object(__main__, "_speak_utf8", bool):
        yield


@mutant("environments", "the umask is what it was")
@contextmanager
def _any_umask() -> Iterator[None]:
    with patch.object(os, "umask", lambda mask: 0):
        yield


@mutant("environments", "signals stay blocked")
@contextmanager
def _blocked() -> Iterator[None]:
    with patch.object(__main__, "_restore_signals", bool):
        yield


@mutant("environments", "what an indexing process says goes to the directory for temporary files")
@contextmanager
def _in_temporary_files() -> Iterator[None]:
    begin = subprocess.Popen

    def popen(*command: Any, **options: Any) -> subprocess.Popen[bytes]:
        return begin(*command, **{**options, "stderr": tempfile.TemporaryFile()})

    with patch.object(subprocess, "Popen", popen):
        yield


@row("odd environments: HOME, TMPDIR, locale, PYTHON*, umask, limits, signals, streams, directory",
     "SRV-1", "SRV-4", cases=130, sample=2)  # fmt: skip
@contextmanager
def environments(place: Place) -> Iterator[Trial]:
    project = indexed(place.path / "pr\xf6ject", more=NAMES)
    vanishing = place.path / "temporary"

    def run(odd: Odd, *line: str) -> subprocess.CompletedProcess[str]:
        process = _begun(place, project, odd, vanishing, line)
        output, errors = process.communicate(timeout=PATIENCE_S)
        return subprocess.CompletedProcess(line, process.returncode, output, errors)

    def check(number: int) -> None:
        random = ROWS["environments"].random(number)
        theirs = [ODD[number % len(ODD)]] * 3 if number < len(ODD) else random.choices(ODD, k=3)
        vanishing.mkdir()
        daemon = _begun(place, project, theirs[0], vanishing, ["serve"])
        try:
            _wait_until_answered(project, daemon)
            _judge_process(daemon.pid)
            for _ in range(2 if "vanishes" in theirs[0].variables.values() else number >= len(ODD)):
                done = run(theirs[1], "index", "--full")
                assert done.returncode == 0, done
                shutil.rmtree(vanishing, ignore_errors=True)
            done = run(theirs[1], "query", "quokka wombat", "--path", *NAMES, "--json")
            assert done.returncode == 0, done
            assert 1 in theirs[1].closed or '"path": "gr\\u00f6\\u00dfe.py"' in done.stdout, done
            assert "Traceback" not in done.stderr, done
            if number < len(ODD):
                stop(project)
            else:
                done = run(theirs[2], "stop")
                assert done.returncode == 0, done
            said = daemon.communicate(timeout=PATIENCE_S)
            assert daemon.returncode == 0, said
            assert "Traceback" not in said[1], said
        finally:
            shutil.rmtree(vanishing, ignore_errors=True)
            if daemon.poll() is None:
                daemon.kill()
            daemon.communicate()

    yield Trial(check)


def _begun(
    place: Place, project: Project, odd: Odd, vanishing: Path, line: Any
) -> subprocess.Popen[str]:
    variables = {k: str(vanishing) if v == "vanishes" else v for k, v in odd.variables.items()}

    def before() -> None:
        odd.before()
        for fd in odd.closed:
            os.close(fd)

    return subprocess.Popen(
        [*place.command, *line, "--project", str(project.root)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={k: v for k, v in {**place.environment, **variables}.items() if v},
        preexec_fn=before, restore_signals=False,
    )  # fmt: skip


def _wait_until_answered(project: Project, daemon: subprocess.Popen[str]) -> None:
    until = SYSTEM.monotonic() + PATIENCE_S
    while not is_answered(project.socket_path):
        assert daemon.poll() is None, daemon.communicate()
        assert SYSTEM.monotonic() < until
        SYSTEM.sleep(0.005)


def _judge_process(pid: int) -> None:
    until = SYSTEM.monotonic() + 2.0
    while blocked := int(_status(pid, "SigBlk"), 16):  # for a moment, whenever it makes a thread
        assert SYSTEM.monotonic() < until, f"signals are blocked: {blocked:x}"
    assert _status(pid, "Umask") == "0077"
    for fd in range(3):
        leads_to = os.readlink(f"/proc/{pid}/fd/{fd}")
        assert leads_to == os.devnull or leads_to.startswith("pipe:"), f"{fd} is {leads_to}"


def _status(pid: int, name: str) -> str:
    text = Path(f"/proc/{pid}/status").read_text("ascii")
    return text.partition(f"\n{name}:\t")[2].partition("\n")[0]


# Modules in the way.

SHADOWED = ("json", "argparse", "socket", "logging", "selectors", "shutil", "dataclasses", "re",
            "hashlib", "subprocess", "numpy", "rpyc", "tantivy", "hnswlib", "re2", "tempfile",
            "queue", "typing", "struct", "pathlib")  # fmt: skip


@row("a module of the user's has the name of one that is needed", "SRV-1", cases=80, sample=3)
@contextmanager
def shadowed_modules(place: Place) -> Iterator[Trial]:
    project = indexed(place.path / "project")
    lines = (["query", "retry"], ["start"], ["index"], ["status"])

    def check(number: int) -> None:
        name = SHADOWED[number % len(SHADOWED)]
        line = lines[number // len(SHADOWED) % len(lines)]
        beside = place.path / "beside"
        beside.mkdir()
        text = "raise RuntimeError('shadow \\x1b[31m')\n" if number % 3 else "x = 1\n"
        (beside / f"{name}.py").write_text(text)
        search = f"{beside}{os.pathsep}{place.environment['PYTHONPATH']}"
        try:
            done = subprocess.run(
                [*place.command, *line, "--project", str(project.root)],
                capture_output=True, text=True, check=False, timeout=PATIENCE_S,
                env={**place.environment, "PYTHONPATH": search},
            )  # fmt: skip
            # What comes before our first line is Python's: it may need the module, too.
            is_ours = "cidx_ref/__main__.py" in done.stderr or "Traceback" not in done.stderr
            if is_ours:
                assert done.returncode in (0, 2), done
                assert "Traceback" not in done.stderr, done
                last = done.stderr.splitlines()[-1:]
                assert not done.returncode or last[0].startswith("cidx-ref: "), done
        finally:
            shutil.rmtree(beside)
            stop(project)

    yield Trial(check)


# Machines that lack something.

#: What is done to the mounts, in a namespace of its own; and a word of what is said by a command
#: that cannot do without, if there is one.
LACKING = (
    ("mount -t tmpfs none /proc", "/proc is not mounted"),
    ("mount --bind {place} {place} && mount -o remount,ro,bind / && cd {place}", ""),
    ("mount -o remount,ro,bind /", "Read-only file system"),
    ("mount -t tmpfs -o ro none /dev/shm; mount -t tmpfs -o ro none /var/tmp", ""),
    ("mount -t tmpfs none /dev", "/dev/null is gone"),
)


@row("a machine without /proc, /dev/null, a root or a directory that can be written", "SRV-1",
     cases=15, sample=2, patience_s=120)  # fmt: skip
@contextmanager
def lacking_machines(place: Place) -> Iterator[Trial]:
    probe = ["unshare", "-m", "mount", "-o", "remount,ro,bind", "/"]
    if subprocess.run(probe, check=False, capture_output=True).returncode:
        raise NotHereError("no mount namespace can be made")
    base = place.path.resolve()

    def check(number: int) -> None:
        mounts, said = LACKING[number % len(LACKING)]
        project = indexed(base / "project")
        state = base / "state"
        lines = ["start", "query retry", "index", "status", "stop"]
        program = f"{mounts.format(place=base)} || exit 9; exec 0<&9\n" + "".join(
            f'"$@" {line} --project "{project.root}" 2>&1; echo "= $?"\n' for line in lines
        )
        done = subprocess.run(
            ["sh", "-c", f'exec 9</dev/null; exec unshare -m sh -c \'{program}\' sh "$@"', "sh",
             *place.command],
            capture_output=True, text=True, check=False, timeout=100,
            env={**place.environment, STATE_DIRECTORY: str(state)},
        )  # fmt: skip
        assert done.returncode == 0, done
        outcomes = re.findall(r"((?:.*\n)*?)= (\d+)\n", done.stdout)
        assert len(outcomes) == len(lines), done
        for (text, status), line in zip(outcomes, lines, strict=True):
            assert "Traceback" not in text, (line, text)
            assert status in ("0", "2"), (line, status, text)
            assert status == "0" or said, (line, text)
            assert status == "0" or said in text, (line, text)
            assert status == "0" or text.count("\n") == 1, (line, text)
        shutil.rmtree(project.root)

    yield Trial(check)


# Odd entries.

OURS = (".gitignore", "config.json", "daemon.lock", "daemon.log", "daemon.log.1", "daemon.log.2",
        "daemon.sock", "generations", "seen.bin", "skipped.json", "turn.lock")  # fmt: skip
OTHERS = ("daemon.sock.old", "daemon.sock.7", "daemon.sock.next", "generations/zzz", "project.json",
          "\x1b[31m\n", "index.lock", "-", "daemon.sock.", "notes")  # fmt: skip
KINDS = ("FIFO", "device", "directory", "symbolic link", "socket", "regular file")


@mutant("odd-entries", "what is called like a starter's socket is removed, whatever it is")
@contextmanager
def _removed() -> Iterator[None]:
    with patch.object(Claim, "_clear_leftovers", _remove_by_name):
        yield


def _remove_by_name(self: Claim, directory: Any) -> None:
    for name in directory.names():
        if re.fullmatch(r"daemon\.sock\.\d+", name):
            directory.remove(name)


@row("FIFOs, devices, links, directories, sockets in .code-indexer, in the place of ours or beside",
     "SRV-2", "TRUST-1", cases=250, sample=30)  # fmt: skip
@contextmanager
def odd_entries(place: Place) -> Iterator[Trial]:
    project = indexed(place.path / "project")
    lines = (["query", "retry"], ["status"], ["stop"], ["skipped"], ["serve"], ["start"])

    def check(number: int) -> None:
        names = OURS if number % 3 else OTHERS
        name = names[number // 3 % len(names)]
        kind = KINDS[number // 7 % len(KINDS)]
        if name == "daemon.sock.next":  # which the next process will want
            name = f"daemon.sock.{_next_pid()}"
        path = project.directory / name
        with _moved_away(path):
            _make(path, kind)
            before = _seen(path)
            if names is OTHERS:
                with serving(project):
                    answers(project)
            elif kind != {"generations": "directory", "daemon.sock": "socket"}.get(
                name, "regular file"
            ):
                line = lines[number % len(lines)]
                began = SYSTEM.monotonic()
                life = Life(command(project, *line))
                assert life.ended(10.0) == 2, (line, name, kind, life.said)
                assert SYSTEM.monotonic() - began < 5.0
                assert life.said.count("\n") == 1, life.said
                assert str(path) in life.said, (line, kind, life.said)
                assert f"is a {kind}" in life.said, life.said
            else:
                return
            assert _seen(path) == before, f"{name} ({kind}) is not what it was"

    yield Trial(check)


def _next_pid() -> int:
    last = Life(bool)
    last.ended()
    return last.pid + 2  # there is one more until the daemon


@contextmanager
def _moved_away(path: Path) -> Iterator[None]:
    kept = path.parent.parent / "kept"
    with suppress(FileNotFoundError):
        path.rename(kept)
    try:
        yield
    finally:
        _remove(path)
        with suppress(FileNotFoundError):
            kept.rename(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _make(path: Path, kind: str) -> None:
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "device":
        if os.geteuid():
            path.symlink_to(os.devnull)
        else:
            os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    elif kind == "directory":
        path.mkdir()
        (path / "within").write_text("kept")
    elif kind == "symbolic link":
        path.symlink_to("nowhere/at/all")
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(f"/proc/self/fd/{_directory(path)}/{path.name}")
    else:
        path.write_text("kept")


def _directory(path: Path) -> int:
    """Short enough for an address, however long the path is."""
    fd = os.open(path.parent, os.O_RDONLY)
    os.set_blocking(fd, True)
    _opened.append(fd)
    return fd


_opened: list[int] = []


def _seen(path: Path) -> Any:
    while _opened:
        os.close(_opened.pop())
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    if stat.S_ISSOCK(found.st_mode) and re.fullmatch(r"daemon\.sock\.\d+", path.name):
        return None  # a dead starter's, for all that one can see
    within = (path / "within").exists() if stat.S_ISDIR(found.st_mode) else None
    return stat.S_IFMT(found.st_mode), found.st_ino, within


# Two users.


@mutant("two-users-of-a-machine", "a socket that one may not open is taken for none")
@contextmanager
def _taken_for_none() -> Iterator[None]:
    def answered(path: Path) -> bool:
        return os.access(path, os.W_OK, effective_ids=True) and is_answered(path)

    with (
        patch.object(claim, "is_answered", answered),
        patch("cidx_ref.sockets.is_answered", answered),
    ):
        yield


@row("another user of the machine: what can be read, held, asked, or put in the way", "TRUST-3",
     cases=3 * len(two_users.SCENARIOS), sample=1)  # fmt: skip
@contextmanager
def two_users_of_a_machine(place: Place) -> Iterator[Trial]:
    if os.geteuid() != 0:
        raise NotHereError("only root can be two users")
    first = two_users.a_socket_that_she_may_not_open_is_named_at_once
    scenarios = [first, *(each for each in two_users.SCENARIOS.values() if each is not first)]
    place.path.chmod(0o777)

    def check(number: int) -> None:
        scenario = scenarios[number % len(scenarios)]
        with tempfile.TemporaryDirectory(dir=place.path) as top:
            Path(top).chmod(0o777)

            def act() -> None:
                os.environ[STATE_DIRECTORY] = f"{top}/state"
                two_users._warm_up(Path(top))
                found = scenario(Path(top))
                assert found == [], found

            life = Life(act)
            assert life.ended(50.0) == 0, f"{scenario.__name__}: {life.said}"

    yield Trial(check)


# Names for a terminal.

#: What a terminal, or a reader of its lines, takes for something else than a character.
HARMFUL = ("\x1b[2J", "\x1b]0;title\x07", "\r", "\n", "\x08\x08\x08", "\x9b31m", "\u202e", "\u2028",
           "\x7f", "\x00", "\udcff", "\x0e", "\u200b", "\x85", "\ufeff", "\x1bc")  # fmt: skip
_OWN = re.compile(r"\x1b\[[0-9;]*m|\x1b\[K|\r\n|\r(?=indexing)|\n")


@mutant("terminals", "names are shown as they are")
@contextmanager
def _as_they_are() -> Iterator[None]:
    with patch.object(terminal, "escape", str), patch("cidx_ref.shown.escape", str):
        yield


@mutant("terminals", "text is shown as it is")
@contextmanager
def _text_as_it_is() -> Iterator[None]:
    with patch.object(columns, "clean", str), patch.object(terminal, "clean", str):
        yield


@row("names, text and messages with control characters, shown in a terminal", "TRUST-2",
     cases=120, sample=8)  # fmt: skip
@contextmanager
def terminals(place: Place) -> Iterator[Trial]:
    def check(number: int) -> None:
        random = ROWS["terminals"].random(number)
        name = f"a{_harmful(random, name=True)}b"
        root = place.path / f"p{_harmful(random, name=True)}"
        text = f"def quokka():\n    '''wombat {_harmful(random)} wombat'''\n"
        more = {f"{name}.py": text, f"{name}.md": f"# quokka {_harmful(random)}\n\nwombat\n",
                f"{name}/x.bin": "\0\0"}  # fmt: skip
        project = indexed(root, more=more)
        lines = (["query", "quokka wombat"], ["query", "quokka", "--explain"], ["skipped"],
                 ["query", "wombat", "--mode", "literal"], ["status"],
                 ["query", _harmful(random, name=True) + "x", "--path", f"{name}/*"],
                 ["query", "x", "--language", _harmful(random, name=True)],
                 ["index", "--full"], [f"non{_harmful(random, name=True)}sense"])  # fmt: skip
        with serving(project):
            shown = [_in_a_terminal(command(project, *line)) for line in random.sample(lines, 4)]
            shown.append(_in_a_terminal(command(project, *lines[number % 4])))
        project.directory.joinpath("daemon.lock").unlink()
        os.mkfifo(project.directory / "daemon.lock")
        shown.append(_in_a_terminal(command(project, "status")))
        for text in shown:
            assert text
            assert "Error: " not in text, text
            odd = {char for char in _OWN.sub("", text) if not char.isprintable()}
            assert not odd, f"{odd}: {text!r}"
        shutil.rmtree(root)

    yield Trial(check)


def _harmful(random: Random, *, name: bool = False) -> str:
    text = "".join(random.choices(HARMFUL, k=3))
    return text.replace("\0", "").replace("/", "") if name else text.replace("\udcff", "\x1b")


def _in_a_terminal(act: Callable[[], int]) -> str:
    """What `act` shows in a terminal."""
    ours, theirs = os.openpty()

    def shown() -> int:
        for fd in range(3):
            os.dup2(theirs, fd)
        # Those that there are take them for what they were: files, perhaps, that can be sought in.
        sys.stdout, sys.stderr = (os.fdopen(fd, "w", closefd=False) for fd in (1, 2))
        os.environ.update({"TERM": "xterm", "COLUMNS": "80"})
        return act()

    life = Life(shown)
    os.close(theirs)
    text = b""
    try:
        while select.select([ours], [], [], PATIENCE_S)[0]:
            try:
                data = os.read(ours, 1 << 16)
            except OSError:  # nobody has the other end any more
                break
            text += data
    finally:
        os.close(ours)
    assert life.ended() in (0, 1, 2), text
    return text.decode("utf-8", "surrogateescape")
