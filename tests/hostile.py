"""Repositories that somebody else made: each a way in which a clone, or an archive that was
unpacked, tries to read, write, delete, connect or run something outside itself.

A builder is given the project's root, which exists and has one file to be found in it, and the
directory `outside` beside it, which nothing may touch: it holds a secret, a file to be destroyed, a
directory to be swept, and the place where a command that is run leaves its mark.  Where the
user must be told, the builder says what is named: `refused`, a part of the message.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segments import graphs, segment

from cidx_ref.files import Directory
from cidx_ref.index.build import bring_up_to_date
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.index.manifest import GRAPH
from cidx_ref.keys import KEY_BYTES, Key
from cidx_ref.project import Project
from cidx_ref.testing.own.fixtures import git

__all__ = ["CASES", "SECRET", "Case", "outside_of"]

#: Stands in a file outside, and must never be shown, indexed or sent.
SECRET = "zanzibarsecret"
#: Of a key that is not this account's.
STRANGER = Key(b"stranger" * (KEY_BYTES // 8))

Build = Callable[[Path, Path], Any]


@dataclass(frozen=True)
class Case:
    """A hostile repository.  `refused`: what the one line of `query` must say; None where the
    repository is searched all the same."""

    name: str
    build: Build
    refused: str | None = None
    promises: tuple[str, ...] = ("TRUST-1",)


CASES: list[Case] = []


def case(refused: str | None = None, *promises: str) -> Callable[[Build], Build]:
    def register(build: Build) -> Build:
        CASES.append(Case(build.__name__, build, refused, promises or ("TRUST-1",)))
        return build

    return register


def outside_of(outside: Path) -> None:
    """What the cases aim at."""
    (outside / "secret").mkdir(parents=True)
    (outside / "secret" / "passwd").write_text(f"{SECRET} = 1\n")
    (outside / "secret" / "secret.py").write_text(f"{SECRET} = 1\n")
    (outside / "authorized_keys").write_text("ssh-ed25519 mine\n")
    for name in (".building-000001-aaaaaa", "000001-aaaaaa"):
        (outside / "precious" / name).mkdir(parents=True)
        (outside / "precious" / name / "diary.txt").write_text("mine\n")
    (outside / "config.json").write_text('{"daemon": {"enabled": false}}')


def home(root: Path) -> Path:
    directory = root / ".code-indexer"
    directory.mkdir(exist_ok=True)
    return directory


def configure(root: Path, **block: Any) -> None:
    (home(root) / "config.json").write_text(json.dumps({"daemon": block}))


# Taking over by configuration.


@case("config.json is a symbolic link")
def config_is_dev_zero(root: Path, outside: Path) -> None:
    (home(root) / "config.json").symlink_to("/dev/zero")


@case("config.json is a FIFO")
def config_is_a_fifo(root: Path, outside: Path) -> None:
    os.mkfifo(home(root) / "config.json")


@case("config.json is a symbolic link")
def config_is_outside(root: Path, outside: Path) -> None:
    (home(root) / "config.json").symlink_to(outside / "config.json")


@case("config.json is a symbolic link")
def config_link_leads_nowhere(root: Path, outside: Path) -> None:
    (home(root) / "config.json").symlink_to(outside / "made.json")


@case("config.json is a directory")
def config_is_a_directory(root: Path, outside: Path) -> None:
    (home(root) / "config.json").mkdir()


@case("daemon.retry_delays_ms")
def config_waits_an_hour(root: Path, outside: Path) -> None:
    configure(root, max_retries=100, retry_delays_ms=[60_000])


@case("daemon.ttl_minutes")
def config_expires_at_once(root: Path, outside: Path) -> None:
    configure(root, ttl_minutes=1e-5)


@case("daemon.eviction_check_interval_seconds")
def config_checks_all_the_time(root: Path, outside: Path) -> None:
    configure(root, eviction_check_interval_seconds=1e-9)


@case("daemon.max_file_size_bytes")
def config_reads_gigabytes(root: Path, outside: Path) -> None:
    configure(root, max_file_size_bytes=1 << 30)


@case("config.json is larger than")
def config_is_large(root: Path, outside: Path) -> None:
    (home(root) / "config.json").write_text("[" + "1," * 4_000_000 + "1]")


@case("config.json: not valid JSON")
def config_is_deep(root: Path, outside: Path) -> None:
    (home(root) / "config.json").write_text('{"a":' * 40_000)


@case("daemon.max_retries")
def config_shouts(root: Path, outside: Path) -> None:
    configure(root, max_retries="\x1b]0;owned\x07\nssh-ed25519 theirs")


# Writing a file of the user's, and waiting for ever.


@case("daemon.log is a symbolic link")
def log_is_outside(root: Path, outside: Path) -> None:
    (home(root) / "daemon.log").symlink_to("../../outside/authorized_keys")


@case("daemon.log is a symbolic link")
def log_link_leads_nowhere(root: Path, outside: Path) -> None:
    (home(root) / "daemon.log").symlink_to(outside / "made.log")


@case("daemon.log is a hard link")
def log_is_a_hard_link(root: Path, outside: Path) -> None:
    os.link(outside / "authorized_keys", home(root) / "daemon.log")


@case("daemon.log is a FIFO")
def log_is_a_fifo(root: Path, outside: Path) -> None:
    os.mkfifo(home(root) / "daemon.log")


@case("daemon.log.1 is a symbolic link")
def rotated_log_is_outside(root: Path, outside: Path) -> None:
    (home(root) / "daemon.log.1").symlink_to(outside / "authorized_keys")


@case(".gitignore is a symbolic link")
def ignore_link_leads_nowhere(root: Path, outside: Path) -> None:
    (home(root) / ".gitignore").symlink_to(outside / "made.gitignore")


@case("daemon.lock is a symbolic link")
def lock_is_outside(root: Path, outside: Path) -> None:
    (home(root) / "daemon.lock").symlink_to(outside / "made.lock")


@case("daemon.lock is a FIFO")
def lock_is_a_fifo(root: Path, outside: Path) -> None:
    os.mkfifo(home(root) / "daemon.lock")


@case(".code-indexer is a symbolic link")
def all_of_it_is_outside(root: Path, outside: Path) -> None:
    (root / ".code-indexer").symlink_to(outside / "precious")


@case(".code-indexer is a symbolic link")
def all_of_it_leads_nowhere(root: Path, outside: Path) -> None:
    (root / ".code-indexer").symlink_to(outside / "made")


@case(".code-indexer is a regular file")
def all_of_it_is_a_file(root: Path, outside: Path) -> None:
    (root / ".code-indexer").write_text("no")


# Misleading to another socket.


@case("daemon.sock is a symbolic link")
def socket_is_another_project_s(root: Path, outside: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    with Directory.open(outside) as opened:
        listener.bind(str(opened.engine_path / "daemon.sock"))
    listener.listen()
    (home(root) / "daemon.sock").symlink_to(outside / "daemon.sock")
    return listener  # which says nothing to whoever comes


@case("daemon.sock is a FIFO")
def socket_is_a_fifo(root: Path, outside: Path) -> None:
    os.mkfifo(home(root) / "daemon.sock")


@case("daemon.sock is a directory")
def socket_is_a_directory(root: Path, outside: Path) -> None:
    (home(root) / "daemon.sock").mkdir()


@case("daemon.sock is a regular file")
def socket_is_a_file(root: Path, outside: Path) -> None:
    (home(root) / "daemon.sock").write_text("")


@case()
def leftover_socket_is_a_link(root: Path, outside: Path) -> None:
    (home(root) / "daemon.sock.1").symlink_to(outside / "authorized_keys")


@case()
def leftover_socket_is_a_directory(root: Path, outside: Path) -> None:
    (home(root) / "daemon.sock.1").mkdir()


# Deleting outside.


@case("generations is a symbolic link")
def generations_are_outside(root: Path, outside: Path) -> None:
    (home(root) / "generations").symlink_to(outside / "precious")


@case("generations is a regular file")
def generations_are_a_file(root: Path, outside: Path) -> None:
    (home(root) / "generations").write_text("no")


def generations(root: Path) -> Path:
    directory = home(root) / "generations"
    directory.mkdir(exist_ok=True)
    return directory


@case()
def current_points_outside(root: Path, outside: Path) -> None:
    (generations(root) / "current").symlink_to("../../../outside/precious/000001-aaaaaa")


@case()
def current_is_a_directory(root: Path, outside: Path) -> None:
    (generations(root) / "current").mkdir()


@case()
def current_is_a_file(root: Path, outside: Path) -> None:
    (generations(root) / "current").write_text("000001-aaaaaa")


@case()
def generation_is_outside(root: Path, outside: Path) -> None:
    (generations(root) / "000001-aaaaaa").symlink_to(outside / "precious" / "000001-aaaaaa")
    (generations(root) / "current").symlink_to("000001-aaaaaa")


@case()
def half_built_is_outside(root: Path, outside: Path) -> None:
    (generations(root) / ".building-000001-aaaaaa").symlink_to(outside / "precious")
    (generations(root) / ".building-000002-aaaaaa").mkdir()
    (generations(root) / ".building-000002-aaaaaa" / "deep").symlink_to(outside / "precious")
    (generations(root) / ".building-link").symlink_to(outside / "precious")


@case()
def next_number_is_too_long_for_a_name(root: Path, outside: Path) -> None:
    for digits in (6, 12, 200, 248):
        (generations(root) / f"{'9' * digits}-aaaaaa").mkdir()


@case()
def nothing_in_it_is_a_file(root: Path, outside: Path) -> None:
    directory = generations(root) / "000007-aaaaaa"
    directory.mkdir()
    for name in ("manifest.json", "files.json", "chunks.npy", "chunks.bin", "vectors.hnsw"):
        os.mkfifo(directory / name)
    (generations(root) / "current").symlink_to("000007-aaaaaa")


# Answering with text of the attacker's, crashing, hanging.


def shipped(root: Path, outside: Path, change: Callable[[Path, dict[str, Any]], None]) -> None:
    """An index of other text, whole and right in all but what `change` does to it, and vouched for
    by somebody else's key."""
    other = outside.with_name("other")
    other.mkdir()
    (other / "lure.py").write_text("def attackers_lure(): pass\n")
    made = Project.at(other)
    with graphs():
        bring_up_to_date(made, HashingEmbedder(), key=STRANGER)
    shutil.copytree(made.generations, home(root) / "generations", symlinks=True)
    shutil.rmtree(other)
    directory = generations(root) / "current"
    path = directory.resolve() / "manifest.json"
    manifest = json.loads(path.read_bytes())
    change(directory.resolve(), manifest)
    for name in ("dead.json", *(f"{segment(directory).name}/{n}" for n in ("files.json", GRAPH))):
        data = (directory / name).read_bytes()
        recorded = {"size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        manifest["files"][name] = recorded
    manifest.pop("digest", None)
    manifest["digest"] = STRANGER.digest(manifest)
    path.unlink()
    path.write_text(json.dumps(manifest))


@case(None, "TRUST-2")
def index_of_other_text(root: Path, outside: Path) -> None:
    shipped(root, outside, lambda directory, manifest: None)


@case(None, "TRUST-2")
def index_of_the_format_before(root: Path, outside: Path) -> None:
    shipped(root, outside, lambda directory, manifest: manifest.update(format=1))


@case(None, "TRUST-2")
def vectors_that_crash(root: Path, outside: Path) -> None:
    def change(directory: Path, manifest: dict[str, Any]) -> None:
        path = segment(directory) / GRAPH
        data = bytearray(path.read_bytes())
        data[96:] = b"\xff" * len(data[96:])
        path.write_bytes(data)

    shipped(root, outside, change)


@case(None, "TRUST-2")
def dead_files_without_an_end(root: Path, outside: Path) -> None:
    def change(directory: Path, manifest: dict[str, Any]) -> None:
        (directory / "dead.json").write_text("[" * 2_000_000)

    shipped(root, outside, change)


@case(None, "TRUST-2")
def manifest_names_dev_zero(root: Path, outside: Path) -> None:
    name = "fulltext/" + "../" * 30 + "dev/zero"

    def change(directory: Path, manifest: dict[str, Any]) -> None:
        manifest["files"][name] = {"size_bytes": 0, "sha256": "0" * 64}

    shipped(root, outside, change)


@case(None, "TRUST-2")
def manifest_forges_a_line_of_the_log(root: Path, outside: Path) -> None:
    def change(directory: Path, manifest: dict[str, Any]) -> None:
        recorded = {"size_bytes": 0, "sha256": "0" * 64}
        manifest["files"]["\nssh-ed25519 theirs\n"] = recorded
        manifest["embedder"]["id"] = "\nssh-ed25519 theirs\n"

    shipped(root, outside, change)


@case(None, "TRUST-2")
def manifest_lies(root: Path, outside: Path) -> None:
    def change(directory: Path, manifest: dict[str, Any]) -> None:
        manifest["counts"] = {"files": -5, "chunks": 10**30, "pid": 1}
        manifest["created_at"] = "tomorrow"

    shipped(root, outside, change)


@case(None, "TRUST-2")
def manifest_is_endless(root: Path, outside: Path) -> None:
    directory = generations(root) / "000001-aaaaaa"
    directory.mkdir()
    (directory / "manifest.json").write_text('{"a":' * 2_000_000)
    (generations(root) / "current").symlink_to("000001-aaaaaa")


@case(None, "TRUST-2")
def manifest_is_outside(root: Path, outside: Path) -> None:
    shipped(root, outside, lambda directory, manifest: None)
    path = (generations(root) / "current").resolve() / "manifest.json"
    shutil.move(path, outside / "secret" / "manifest.json")
    path.symlink_to(outside / "secret" / "manifest.json")


@case(None, "TRUST-2")
def files_of_the_index_are_outside(root: Path, outside: Path) -> None:
    shipped(root, outside, lambda directory, manifest: None)
    directory = (generations(root) / "current").resolve()
    files = segment(directory) / "files.json"
    shutil.move(files, outside / "secret" / "files.json")
    files.symlink_to(outside / "secret" / "files.json")
    (directory / "fulltext" / ".tantivy-meta.lock").unlink(missing_ok=True)
    (directory / "fulltext" / ".tantivy-meta.lock").symlink_to(outside / "made.lock")


@case(None, "TRUST-2")
def segment_is_outside(root: Path, outside: Path) -> None:
    shipped(root, outside, lambda directory, manifest: None)
    found = segment((generations(root) / "current").resolve())
    shutil.move(found, outside / "secret" / "segment")
    found.symlink_to(outside / "secret" / "segment")


# Reading outside: what is indexed.


@case()
def file_is_a_link(root: Path, outside: Path) -> None:
    (root / "leak.py").symlink_to(outside / "secret" / "secret.py")


@case()
def directory_is_a_link(root: Path, outside: Path) -> None:
    (root / "etc").symlink_to(outside / "secret")


def tracked(root: Path, path: str) -> None:
    """Have git track `path`, wherever it leads."""
    git(root, "init", "-q")
    git(root, "add", "found.py")
    blob = hashlib.sha1(b"blob 0\0").hexdigest()
    git(root, "update-index", "--add", "--cacheinfo", f"100644,{blob},{path}")


@case()
def tracked_beyond_a_link(root: Path, outside: Path) -> None:
    tracked(root, "etc/passwd")
    (root / "etc").symlink_to(outside / "secret")


def rename_in_index(root: Path, old: str, new: str) -> None:
    """Give a path in git's index a name that git itself would refuse."""
    assert len(old) == len(new)
    path = root / ".git" / "index"
    data = path.read_bytes()[:-20].replace(old.encode(), new.encode())
    path.write_bytes(data + hashlib.sha1(data).digest())


@case()
def tracked_above_the_root(root: Path, outside: Path) -> None:
    tracked(root, "xx/outside/secret/secret.py")
    rename_in_index(root, "xx/outside/secret/secret.py", "../outside/secret/secret.py")


@case()
def tracked_by_an_absolute_path(root: Path, outside: Path) -> None:
    path = str(outside / "secret" / "secret.py")
    tracked(root, "x" + path[1:])
    rename_in_index(root, "x" + path[1:], path)


@case()
def source_is_a_fifo(root: Path, outside: Path) -> None:
    os.mkfifo(root / "pipe.py")


@case()
def names_that_are_no_text(root: Path, outside: Path) -> None:
    for name in (b"\nssh-ed25519 theirs\n.py", b"\x1b]0;owned\x07.py", b"\xff\xfe.py", b"-rf.py"):
        Path(os.fsdecode(os.fsencode(root) + b"/" + name)).write_text("def named(): pass\n")


@case()
def directories_without_end(root: Path, outside: Path) -> None:
    here = os.open(root, os.O_RDONLY)
    for _ in range(600):
        os.mkdir("d" * 20, dir_fd=here)
        below = os.open("d" * 20, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


@case()
def ignore_file_is_a_fifo(root: Path, outside: Path) -> None:
    os.mkfifo(root / ".gitignore")


@case()
def ignore_file_is_exponential(root: Path, outside: Path) -> None:
    (root / ".gitignore").write_text("*a" * 40 + "b\n" + "**/a/" * 40 + "b\n")
    deep = root / "/".join("a" * 30)
    deep.mkdir(parents=True)
    (deep / ("a" * 200)).write_text("def deep(): pass\n")


# Running commands: git.


def commit(root: Path) -> None:
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "all")


def run_me(outside: Path) -> str:
    return f"touch {outside / 'executed'}; false"


@case()
def git_monitors_by_a_command(root: Path, outside: Path) -> None:
    commit(root)
    script = root / "monitor"
    script.write_text(f"#!/bin/sh\n{run_me(outside)}\n")
    script.chmod(0o755)
    git(root, "config", "core.fsmonitor", str(script))


def partial(root: Path, outside: Path) -> None:
    """A checkout with a sparse index, of which a tree is missing and can be had from a remote."""
    for directory in ("kept", "left"):
        (root / directory).mkdir()
        (root / directory / "file.py").write_text(f"def in_{directory}(): pass\n")
    commit(root)
    show = ("git", "rev-parse", "HEAD:left")
    tree = subprocess.run(show, cwd=root, capture_output=True, text=True, check=True).stdout.strip()
    git(root, "sparse-checkout", "set", "--cone", "--sparse-index", "kept")
    (root / ".git" / "objects" / tree[:2] / tree[2:]).unlink()
    git(root, "config", "core.repositoryFormatVersion", "1")
    git(root, "config", "extensions.partialClone", "origin")
    git(root, "config", "remote.origin.promisor", "true")
    git(root, "config", "remote.origin.url", "ssh://nowhere.invalid/x")
    git(root, "config", "core.sshCommand", run_me(outside))


@case()
def git_fetches_what_is_missing(root: Path, outside: Path) -> None:
    partial(root, outside)


@case()
def git_fetches_by_a_helper_of_its_own(root: Path, outside: Path) -> None:
    partial(root, outside)
    git(root, "config", "remote.origin.url", f"ext::sh -c {run_me(outside).replace(' ', '% ')}")
    git(root, "config", "protocol.ext.allow", "always")


@case()
def bare_repository_in_the_tree(root: Path, outside: Path) -> None:
    partial(root, outside)
    for entry in (root / ".git").iterdir():
        shutil.move(entry, root / entry.name)
    (root / ".git").rmdir()
    git(root, "config", "--file", "config", "core.bare", "false")
    git(root, "config", "--file", "config", "core.worktree", str(outside / "secret"))
    home(root)


@case()
def worktree_of_git_is_outside(root: Path, outside: Path) -> None:
    commit(root)
    git(root, "config", "core.worktree", str(outside / "secret"))


@case()
def git_includes_a_fifo(root: Path, outside: Path) -> None:
    commit(root)
    os.mkfifo(root / "included")
    with (root / ".git" / "config").open("a") as file:
        file.write("[include]\n\tpath = ../included\n")


@case()
def git_excludes_by_a_fifo(root: Path, outside: Path) -> None:
    commit(root)
    os.mkfifo(root / "excluded")
    git(root, "config", "core.excludesFile", str(root / "excluded"))


@case()
def index_of_git_is_a_fifo(root: Path, outside: Path) -> None:
    commit(root)
    (root / ".git" / "index").unlink()
    os.mkfifo(root / ".git" / "index")


@case()
def excludes_of_git_are_a_fifo(root: Path, outside: Path) -> None:
    commit(root)
    exclude = root / ".git" / "info" / "exclude"
    exclude.parent.mkdir(exist_ok=True)
    exclude.unlink(missing_ok=True)
    os.mkfifo(exclude)


@case()
def nested_head_is_a_fifo(root: Path, outside: Path) -> None:
    commit(root)
    nested = root / "nested" / ".git"
    (nested / "objects").mkdir(parents=True)
    (nested / "refs").mkdir()
    os.mkfifo(nested / "HEAD")


@case()
def git_file_points_outside(root: Path, outside: Path) -> None:
    (outside / "secret" / "passwd").unlink()
    commit(outside / "secret")
    (root / ".git").write_text(f"gitdir: {outside / 'secret' / '.git'}\n")


@case()
def git_is_a_link(root: Path, outside: Path) -> None:
    commit(outside / "secret")
    (root / ".git").symlink_to(outside / "secret" / ".git")


@case()
def git_is_a_fifo(root: Path, outside: Path) -> None:
    os.mkfifo(root / ".git")


@case()
def git_borrows_from_a_fifo(root: Path, outside: Path) -> None:
    commit(root)
    os.mkfifo(root / ".git" / "objects" / "info" / "alternates")


@case()
def git_runs_hooks_and_filters(root: Path, outside: Path) -> None:
    commit(root)
    for hook in ("post-index-change", "pre-auto-gc", "reference-transaction"):
        path = root / ".git" / "hooks" / hook
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{run_me(outside)}\n")
        path.chmod(0o755)
    git(root, "config", "filter.x.clean", run_me(outside))
    git(root, "config", "filter.x.process", run_me(outside))
    git(root, "config", "core.pager", run_me(outside))
    git(root, "config", "core.askPass", run_me(outside))
    git(root, "config", "alias.ls-files", f"!{run_me(outside)}")
    (root / ".gitattributes").write_text("*.py filter=x\n")
    (root / "found.py").write_text("def found_function(): return 2\n")
