"""Who is trusted with what, as far as only this daemon can be tried for it, whose files and keys
are its own: traps in a tree, an index of another account, modes and owners.

They are among `own.conformance.TARGET.checks`, and run like the kit's.
"""

from __future__ import annotations

import os
import shutil
import socket
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from cidx_ref.project import Project as OwnProject
from cidx_ref.testing.conformance import corpus
from cidx_ref.testing.conformance.asking import Asker, Gone, Refused
from cidx_ref.testing.conformance.bench import Bench, NotTried
from cidx_ref.testing.conformance.checks import Check, check
from cidx_ref.testing.conformance.subject import Daemon, NotStarted, Project

__all__ = ["CHECKS"]

_SECRET = corpus.marker(7777)
#: Of an account without anything.
_STRANGER = {"CIDX_REF_STATE_DIR": "{project}-stranger"}


# The tree.


def _outside(bench: Bench) -> Path:
    """What no project's daemon has to do with: a file, and an index."""
    outside = bench.directory / "outside"
    if not outside.exists():
        outside.mkdir()
        (outside / "secret.py").write_text(f"def {_SECRET}():\n    pass\n", "utf-8")
    return outside


def _snapshot(directory: Path) -> dict[str, tuple[int, int, bytes]]:
    """All that is there: names, kinds, times, contents."""
    found = {}
    for path in sorted(directory.rglob("*")):
        status = path.lstat()
        data = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        found[str(path)] = (status.st_mode, status.st_mtime_ns, data)
    return found


def _indexed(bench: Bench) -> tuple[Project, OwnProject]:
    project = bench.project()
    bench.write_index(project)
    return project, OwnProject(project.root)


def _copied(bench: Bench, project: Project) -> tuple[Project, OwnProject]:
    """Another project with the same index: it is not bound to its place."""
    copy = bench.project()
    here, there = OwnProject(project.root).directory, OwnProject(copy.root).directory
    shutil.copytree(here, there, symlinks=True, dirs_exist_ok=True)
    return copy, OwnProject(copy.root)


def _link_to_a_file(bench: Bench, own: OwnProject) -> None:
    (own.root / "linked.py").symlink_to(_outside(bench) / "secret.py")


def _link_to_a_directory(bench: Bench, own: OwnProject) -> None:
    (own.root / "linked").symlink_to(_outside(bench))


def _pipe(bench: Bench, own: OwnProject) -> None:
    os.mkfifo(own.root / "pipe.py")


def _generation_elsewhere(bench: Bench, own: OwnProject) -> None:
    """An index of this account, of other files, that is somewhere else."""
    other, theirs = _indexed(bench)
    (other.root / "meadow.py").write_text(f"def {_SECRET}():\n    pass\n", "utf-8")
    bench.write_index(other)
    name = os.readlink(theirs.generations / "current")
    there = _outside(bench) / "generations"
    shutil.copytree(theirs.generations, there, symlinks=True)
    (own.generations / "current").unlink()
    (own.generations / "current").symlink_to(there / name)


def _generations_elsewhere(bench: Bench, own: OwnProject) -> None:
    _generation_elsewhere(bench, own)
    shutil.rmtree(own.generations)
    own.generations.symlink_to(_outside(bench) / "generations")


def _segments_elsewhere(bench: Bench, own: OwnProject) -> None:
    segments = own.directory / "segments"
    there = _outside(bench) / "segments"
    if segments.exists():
        segments.rename(there)
    there.mkdir(exist_ok=True)
    segments.symlink_to(there)


def _pipe_for_configuration(bench: Bench, own: OwnProject) -> None:
    own.config_path.unlink()
    os.mkfifo(own.config_path)


def _log_elsewhere(bench: Bench, own: OwnProject) -> None:
    log = own.directory / "daemon.log"
    log.unlink(missing_ok=True)
    log.symlink_to(_outside(bench) / "secret.py")


def _pipe_for_log(bench: Bench, own: OwnProject) -> None:
    log = own.directory / "daemon.log"
    log.unlink(missing_ok=True)
    os.mkfifo(log)


def _manifest_elsewhere(bench: Bench, own: OwnProject) -> None:
    """The live generation's, in the place where it belongs, by a link."""
    manifest = own.generations / "current" / "manifest.json"
    there = _outside(bench) / "manifest.json"
    shutil.copy(manifest, there)
    manifest.unlink()
    manifest.symlink_to(there)


def _modules(bench: Bench, own: OwnProject) -> None:
    """What Python would import, if it looked into the tree."""
    for name in ("json", "sitecustomize", "usercustomize", "socket", "rpyc", "cidx_ref"):
        text = f"open({str(_outside(bench) / 'ran')!r}, 'w').close()\n"
        (own.root / f"{name}.py").write_text(text, "utf-8")


def _git(bench: Bench, own: OwnProject) -> None:
    """A repository whose configuration names commands."""
    git = own.root / ".git"
    for name in ("objects", "refs/heads", "hooks", "info"):
        (git / name).mkdir(parents=True)
    run = f"touch {_outside(bench) / 'ran'}"
    (git / "HEAD").write_text("ref: refs/heads/main\n", "utf-8")
    (git / "config").write_text(
        "[core]\n\trepositoryformatversion = 0\n\tbare = false\n"
        f'\tfsmonitor = "{run}; false"\n\tpager = {run}\n\tsshCommand = {run}\n'
        f"\teditor = {run}\n\texcludesFile = {_outside(bench) / 'secret.py'}\n"
        f'[filter "trap"]\n\tclean = {run}; cat\n\tsmudge = {run}; cat\n',
        "utf-8",
    )
    (own.root / ".gitattributes").write_text("*.py filter=trap\n", "utf-8")


def _among_the_files(bench: Bench, own: OwnProject) -> None:
    for trap in (_link_to_a_file, _link_to_a_directory, _pipe, _modules, _git):
        trap(bench, own)


_TRAPS: dict[str, Callable[[Bench, OwnProject], None]] = {
    "links, pipes, modules and commands of git among the files": _among_the_files,
    "a live generation outside": _generation_elsewhere,
    "all generations outside": _generations_elsewhere,
    "all segments outside": _segments_elsewhere,
    "a manifest outside": _manifest_elsewhere,
    "a pipe for a configuration": _pipe_for_configuration,
    "a log outside": _log_elsewhere,
    "a pipe for a log": _pipe_for_log,
}


@check("hostile-tree", "TRUST-1")
def hostile_tree(bench: Bench) -> None:
    """With each trap: it is started, indexed and asked, and nothing outside is touched."""
    first, _ = _indexed(bench)
    for trap, set_up in _TRAPS.items():
        project, own = _copied(bench, first)
        outside = _outside(bench)
        set_up(bench, own)
        before = _snapshot(outside)
        with bench.showing("TRUST-1"):
            _use(bench, project, trap)
            assert _snapshot(outside) == before, (
                f"with {trap}, something was changed there: "
                f"{min(_snapshot(outside).items() ^ before.items())[0]}"
            )
            bench.tried("TRUST-1", 1, "traps")
        shutil.rmtree(outside)


def _use(bench: Bench, project: Project, trap: str) -> None:
    """Everything that a user does; it may be refused, and must not hang."""
    with suppress(NotStarted), bench.daemon(project, index=False) as daemon:
        for do in (_ask_for_it, _index, _ask_for_it):
            try:
                with suppress(Gone, Refused), daemon.connect(20.0) as asker:
                    do(asker, trap)
            except TimeoutError as error:
                raise AssertionError(f"with {trap}, it hangs: {error}") from None


def _ask_for_it(asker: Asker, trap: str) -> None:
    answer = asker.query(_SECRET, "query_fts")
    found = [hit.path for hit in answer.hits if _SECRET in hit.text]
    assert not found, f"with {trap}, it answers from outside: {found}"


def _index(asker: Asker, trap: str) -> None:
    asker.ask("index")


@check("socket-elsewhere", "TRUST-1")
def socket_elsewhere(bench: Bench) -> None:
    """A link in the place of its socket leads to another's, which is neither asked nor removed."""
    project, own = _indexed(bench)
    there = _outside(bench) / "other.sock"
    with bench.showing("TRUST-1"), socket.socket(socket.AF_UNIX) as other:
        other.bind(str(there))
        other.listen()
        other.setblocking(False)
        own.socket_path.symlink_to(there)
        # By no connection of the kit's own, which would be one.
        for command in (bench.target.launcher, bench.spawn.command):
            starting = bench.launch(project, command)
            starting.until(lambda process=starting: "serving" in process.output(), 20.0)  # type: ignore[misc]
            with suppress(BlockingIOError):
                other.accept()[0].close()
                raise AssertionError(
                    "a link in the tree leads to another's socket, and is followed"
                )
            assert there.is_socket(), "a link in the tree leads to another's socket: removed"
            bench.tried("TRUST-1", 1, "starts")


# The index.


def _with(bench: Bench, project: Project, environment: dict[str, str]) -> Project:
    """The project as another account sees it: one with another key."""
    target = replace(bench.target, env={**bench.target.env, **environment})
    return replace(project, target=target)


@check("index-of-others", "TRUST-2")
def index_of_others(bench: Bench) -> None:
    """An index that another account has made does not answer, until it is adopted."""
    project, _ = _indexed(bench)
    words = corpus.marker(1)
    project.write(2)  # so that what only the index has is seen where it answers
    strange = _with(bench, project, _STRANGER)
    with bench.showing("TRUST-2"):
        with bench.daemon(strange, index=False) as daemon:
            found = _found(daemon, words)
            assert not found, f"an index that another account made answers: {found}"
        adopting = bench.launch(strange, _ADOPT)
        status = adopting.wait(60.0)
        assert status == 0, f"what is right is not adopted: {adopting.tail()}"
        with bench.daemon(strange, index=False) as daemon:
            found = _found(daemon, words)
            assert found, "an index that was adopted does not answer"
        bench.tried("TRUST-2", 2, "accounts")


_ADOPT = ("{python}", "-P", "-m", "cidx_ref", "adopt", "--project", "{project}")


def _found(daemon: Daemon, words: str) -> list[str]:
    with suppress(Refused), daemon.connect(30.0) as asker:
        return [hit.path for hit in asker.query(words, "query_fts").hits if words in hit.text]
    return []


@check("changed-index", "TRUST-2")
def changed_index(bench: Bench) -> None:
    """A manifest that was changed, whatever it then says, is not this account's any more."""
    project, own = _indexed(bench)
    project.write(2)
    manifest = own.generations / "current" / "manifest.json"
    text = manifest.read_text("utf-8")
    position = text.index('"') + 1
    manifest.write_text(text[:position] + "x" + text[position + 1 :], "utf-8")
    with bench.showing("TRUST-2"), bench.daemon(project, index=False) as daemon:
        found = _found(daemon, corpus.marker(1))
        assert not found, f"an index whose manifest was changed answers: {found}"


# Other users.


@check("modes", "TRUST-3")
def modes(bench: Bench) -> None:
    """What it makes is the user's own; what is somebody else's is not used."""
    with bench.daemon() as daemon, bench.showing("TRUST-3"):
        with daemon.connect() as asker:
            asker.query("village")
        own = OwnProject(daemon.project.root)
        made = [own.directory, *own.directory.rglob("*")]
        for path in (path for path in made if path != own.config_path):
            mode = path.lstat().st_mode
            is_open = not stat.S_ISLNK(mode) and mode & 0o077
            assert not is_open, (
                f"others can come to {path.relative_to(own.root)}: {stat.filemode(mode)}"
            )
            bench.tried("TRUST-3", 1, "entries")


@check("owners", "TRUST-3")
def owners(bench: Bench) -> None:
    """What somebody else has put into the project's directory is not used."""
    with bench.showing("TRUST-3"):
        if os.geteuid() != 0:
            raise NotTried("only root can have files that are somebody else's")
        project, own = _indexed(bench)
        project.write(2)
        for path in own.generations.rglob("*"):
            os.chown(path, 65534, 65534, follow_symlinks=False)
        with suppress(NotStarted), bench.daemon(project, index=False) as daemon:
            found = _found(daemon, corpus.marker(1))
            assert not found, f"an index of another user's answers: {found}"


CHECKS: tuple[Check, ...] = (
    *(hostile_tree, socket_elsewhere, index_of_others, changed_index),
    *(modes, owners),
)
