"""`.code-indexer/config.json` and the directory it lies in: read, checked, made, left alone."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import time
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cidx_ref.client import DaemonClient
from cidx_ref.config import Config
from cidx_ref.errors import BadArgumentError, ConfigError, UntrustedError
from cidx_ref.project import Project
from cidx_ref.testing.clock import FakeRuntime
from cidx_ref.testing.own.fixtures import MakeProject, build, git

STORY = {
    "enabled": True,
    "ttl_minutes": 10,
    "auto_shutdown_on_idle": True,
    "eviction_check_interval_seconds": 60,
    "max_retries": 4,
    "retry_delays_ms": [100, 500, 1000, 2000],
}

BAD = [
    ("enabled", 1, "true or false"),
    ("enabled", "yes", "true or false"),
    ("ttl_minutes", 0, "from 1/60 (a second)"),
    ("ttl_minutes", -1, "from 1/60 (a second)"),
    ("ttl_minutes", 0.0166, "from 1/60 (a second)"),
    ("ttl_minutes", "10", "a number"),
    ("ttl_minutes", True, "a number"),
    ("ttl_minutes", 10_081, "10080 (a week)"),
    ("ttl_minutes", 10_080.001, "10080 (a week)"),
    ("ttl_minutes", float("nan"), "a number"),
    ("ttl_minutes", float("inf"), "a number"),
    ("ttl_minutes", 10**400, "a number"),
    ("auto_shutdown_on_idle", None, "true or false"),
    ("eviction_check_interval_seconds", 0, "from 0.1"),
    ("eviction_check_interval_seconds", 0.0999, "from 0.1"),
    ("eviction_check_interval_seconds", 86_400.5, "86400 (a day)"),
    ("eviction_check_interval_seconds", 86_401, "86400 (a day)"),
    ("max_retries", -1, "from 0"),
    ("max_retries", 1.5, "whole number"),
    ("max_retries", 101, "100"),
    ("max_retries", True, "whole number"),
    ("retry_delays_ms", 100, "a list"),
    ("retry_delays_ms", [100, "200"], "numbers"),
    ("retry_delays_ms", [-1], "from 0"),
    ("retry_delays_ms", [60_001], "60000"),
    ("retry_delays_ms", [10**400], "numbers"),
    ("retry_delays_ms", [0] * 101, "at most 100 numbers"),
    ("max_file_size_bytes", 0, "from 1"),
    ("watch", 1, "true or false"),
    ("watch", "no", "true or false"),
    ("max_file_size_bytes", (16 << 20) + 1, "16777216 (16 MiB)"),
    ("max_file_size_bytes", 1e6, "whole number"),
]


def _given(project: Project, text: str) -> Path:
    project.create_directory()
    project.config_path.write_text(text, encoding="utf-8", errors="surrogatepass")
    return project.config_path


@pytest.mark.promise("CFG-1")
def test_without_a_file_the_story_s_defaults_hold(make_project: MakeProject) -> None:
    config = Config.load(make_project({}).config_path)
    found = {name: getattr(config, name) for name in STORY}
    assert found == {**STORY, "retry_delays_ms": tuple(STORY["retry_delays_ms"])}  # type: ignore[arg-type]
    assert config.ttl_s == 600


@pytest.mark.promise("CFG-1")
def test_every_value_of_the_file_counts(make_project: MakeProject) -> None:
    block = {
        "enabled": False,
        "ttl_minutes": 0.5,
        "auto_shutdown_on_idle": False,
        "eviction_check_interval_seconds": 1,
        "max_retries": 0,
        "retry_delays_ms": [],
        "max_file_size_bytes": 1,
        "watch": False,
    }
    path = _given(make_project({}), json.dumps({"daemon": block}))
    assert Config.load(path) == Config(**{**block, "retry_delays_ms": ()})  # type: ignore[arg-type]


@pytest.mark.promise("CFG-1")
@pytest.mark.parametrize(
    ("slip", "meant"),
    [
        ("exlude", "exclude"),
        ("includes", "include"),
        ("ttl_minute", "ttl_minutes"),
        ("max_file_size_byte", "max_file_size_bytes"),
        ("enabeld", "enabled"),
        ("wach", "watch"),
    ],
)
def test_a_key_that_is_nearly_one_of_ours_is_refused_by_name(
    make_project: MakeProject, slip: str, meant: str
) -> None:
    path = _given(make_project({}), json.dumps({"daemon": {slip: 1}}))
    with pytest.raises(ConfigError, match=f"daemon.{slip}: no such key: did you mean '{meant}'"):
        Config.load(path)


@pytest.mark.promise("CFG-1")
def test_other_keys_belong_to_other_programs_however_many(make_project: MakeProject) -> None:
    names = ["socket", "host", "embed", "index", "", "\udcff", *(f"e{n:06}" for n in range(9000))]
    block = dict.fromkeys(names, 1)
    path = _given(make_project({}), json.dumps({"daemon": block}))
    started = time.thread_time()
    assert Config.load(path) == Config()
    assert time.thread_time() - started < 2


@pytest.mark.promise("CFG-1")
@pytest.mark.parametrize(("key", "value", "allowed"), BAD, ids=lambda part: str(part)[:20])
def test_a_bad_value_is_refused_with_file_key_value_and_what_is_allowed(
    make_project: MakeProject, key: str, value: Any, allowed: str
) -> None:
    path = _given(make_project({}), json.dumps({"daemon": {key: value}}))
    with pytest.raises(ConfigError) as refused:
        Config.load(path)
    message = str(refused.value)
    assert str(path) in message
    assert f"daemon.{key}" in message
    # Cut where it is long: a message is no place for what somebody else has written.
    assert f": {repr(value)[:200]}{'...' if len(repr(value)) > 200 else ''}: must be " in message
    assert allowed in message
    assert "\n" not in message


@pytest.mark.promise("CFG-1")
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ttl_minutes", 1 / 60),
        ("ttl_minutes", 10_080),
        ("eviction_check_interval_seconds", 0.1),
        ("eviction_check_interval_seconds", 86_400),
        ("max_retries", 0),
        ("max_retries", 32),  # of two seconds at most, by default
        ("retry_delays_ms", [0] * 100),
        ("retry_delays_ms", []),
        ("max_file_size_bytes", 1),
        ("max_file_size_bytes", 16 << 20),
    ],
    ids=lambda part: str(part)[:20],
)
def test_a_value_at_a_bound_is_taken(make_project: MakeProject, key: str, value: Any) -> None:
    path = _given(make_project({}), json.dumps({"daemon": {key: value}}))
    wanted = tuple(value) if isinstance(value, list) else value
    assert getattr(Config.load(path), key) == wanted


@pytest.mark.promise("CFG-1")
@pytest.mark.parametrize(
    ("retries", "delays_ms", "total_s"),
    [
        (1, [60_000], 60),
        (2, [30_000], 60),  # the last one again and again
        (2, [20_000, 40_000], 60),
        (2, [60_000, 0.001], None),
        (2, [30_000.5], None),
        (60, [1000], 60),
        (100, [600], 60),
        (100, [600.1], None),
        (1, [60_000, 60_000], 60),  # there is no second try
        (0, [60_000] * 100, 0),
        (100, [], 0),
        (61, [1000], None),
    ],
)
def test_all_retries_together_wait_a_minute_at_most(
    make_project: MakeProject, retries: int, delays_ms: list[float], total_s: float | None
) -> None:
    block = {"max_retries": retries, "retry_delays_ms": delays_ms}
    path = _given(make_project({}), json.dumps({"daemon": block}))
    if total_s is not None:
        waits_ms = Config.load(path).delays_ms()
        assert len(waits_ms) == retries
        assert sum(waits_ms) == total_s * 1000
        return
    with pytest.raises(ConfigError) as refused:
        Config.load(path)
    assert str(refused.value) == (
        f"{path}: daemon.retry_delays_ms: {tuple(delays_ms)}: "
        f"all {retries} retries together must wait 60 s at most"
    )


@pytest.mark.promise("CFG-1")
def test_the_default_delays_are_bounded_like_any(make_project: MakeProject) -> None:
    # 100, 500, 1000 and from then on 2000 milliseconds.
    path = _given(make_project({}), '{"daemon": {"max_retries": 32}}')
    assert sum(Config.load(path).delays_ms()) == 59_600
    path.write_text('{"daemon": {"max_retries": 33}}')
    with pytest.raises(ConfigError, match="all 33 retries together must wait 60 s at most"):
        Config.load(path)


@pytest.mark.promise("CFG-1")
def test_a_file_of_more_than_256_kib_is_not_read(make_project: MakeProject) -> None:
    text = '{"daemon": {"max_retries": 7}}'
    path = _given(make_project({}), text + " " * ((256 << 10) - len(text)))
    assert Config.load(path).max_retries == 7
    path.write_text(path.read_text() + " ")
    with pytest.raises(
        UntrustedError, match=f"^{path} is larger than 262144 bytes, and is not read$"
    ):
        Config.load(path)


@pytest.mark.promise("CFG-1")
@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '"x"', '{"daemon": 7}', '{"daemon": false}', '{"a":' * 50_000, "\x00"],
    ids=lambda text: repr(text[:12]),
)
def test_a_file_that_is_no_object_of_json_is_refused_by_its_name(
    make_project: MakeProject, text: str
) -> None:
    path = _given(make_project({}), text)
    with pytest.raises(ConfigError, match=r"config\.json: "):
        Config.load(path)


@pytest.mark.promise("CFG-1")
@pytest.mark.parametrize(
    "text",
    [
        '{"daemon": {}, "daemon": {}}',
        '{"daemon": {"daemon": 1, "daemon": 1}}',
    ],
)
def test_a_key_that_is_there_twice_is_refused_by_name_and_none_is_lost(
    make_project: MakeProject, text: str
) -> None:
    project = make_project({})
    path = _given(project, text)
    refused = f"^{path}: 'daemon': is there twice: remove one of the two$"
    with pytest.raises(ConfigError, match=refused):
        Config.load(path)
    with pytest.raises(ConfigError, match=refused):
        Config.init(project)
    assert path.read_text() == text


@pytest.mark.promise("CFG-1")
@pytest.mark.parametrize(
    "others", ['"x": [{"their": 1, "b": 2, "their": 2}]', '"their": 1, "their": 2']
)
def test_what_others_have_twice_keeps_nobody_from_searching_and_is_not_lost(
    make_project: MakeProject, others: str
) -> None:
    project = make_project({})
    path = _given(project, text := f'{{"daemon": {{"ttl_minutes": 7}}, {others}}}')
    assert Config.load(path).ttl_minutes == 7
    with pytest.raises(ConfigError, match=r"config\.json: 'their': is there twice"):
        Config.init(project)
    assert path.read_text() == text


@pytest.mark.promise("CFG-1")
def test_a_file_that_is_not_utf_8_or_a_directory_is_refused(make_project: MakeProject) -> None:
    project = make_project({})
    _given(project, "").write_bytes(b'{"a": "\xff"}')
    with pytest.raises(ConfigError, match=r"config\.json: not valid JSON"):
        Config.load(project.config_path)
    project.config_path.unlink()
    project.config_path.mkdir()
    refused = f"^{project.config_path} is a directory, not a regular file, .*: remove it$"
    with pytest.raises(UntrustedError, match=refused):
        Config.load(project.config_path)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    # lone surrogates too: JSON can hold them
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@pytest.mark.promise("CFG-1")
@settings(derandomize=True, max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(others=st.dictionaries(st.text().filter(lambda key: key != "daemon"), _JSON, max_size=4),
       extra=st.dictionaries(st.text().filter(lambda key: key not in Config.__dataclass_fields__),
                             _JSON, max_size=2))  # fmt: skip
# What fails with this is not made smaller.
@example(others={"of another": [1]}, extra={"newer": {"a": None}})
def test_init_keeps_what_belongs_to_other_programs(
    make_project: MakeProject, others: dict[str, Any], extra: dict[str, Any]
) -> None:
    project = make_project({})
    before = {**others, "daemon": {"max_retries": 7, **extra}}
    _given(project, json.dumps(before))
    config = Config.init(project, ttl_minutes=3)
    after = json.loads(project.config_path.read_bytes())
    assert after == {
        **others,
        "daemon": {**STORY, "max_retries": 7, **extra, "ttl_minutes": 3},
    }
    assert list(after) == list(before), "in the order they were in"
    assert config == Config.load(project.config_path)
    assert (config.max_retries, config.ttl_minutes) == (7, 3)


@pytest.mark.promise("CFG-1")
def test_init_in_an_empty_project_writes_the_story_s_block_word_for_word(
    make_project: MakeProject,
) -> None:
    project = make_project({})
    Config.init(project)
    assert json.loads(project.config_path.read_bytes()) == {"daemon": STORY}


@pytest.mark.promise("CFG-1")
def test_a_bad_init_changes_nothing_and_leaves_nothing_lying_about(
    make_project: MakeProject,
) -> None:
    project = make_project({})
    path = _given(project, '{"other": 1, "daemon": {"max_retries": 1}}')
    listing, before = sorted(path.parent.iterdir()), path.read_bytes()
    with pytest.raises(ConfigError, match=r"config\.json: daemon\.ttl_minutes: -1"):
        Config.init(project, ttl_minutes=-1)
    assert path.read_bytes() == before
    path.write_text('{"daemon": {"max_retries": "many"}}')
    with pytest.raises(ConfigError, match=r"config\.json: daemon\.max_retries: 'many'"):
        Config.init(project)
    path.write_text('{"daemon": []}')
    with pytest.raises(ConfigError, match=r"config\.json: daemon: \[\]"):
        Config.init(project)
    assert sorted(path.parent.iterdir()) == listing


@pytest.mark.promise("CFG-1")
def test_what_init_writes_can_be_read_again_or_is_refused(make_project: MakeProject) -> None:
    """Indentation makes much of what is deep, and escapes of what is not ASCII."""
    project = make_project({})
    deep = f"{'[' * 900}{']' * 900}"
    path = _given(project, f'{{"other": {deep}}}')
    Config.init(project)
    assert Config.load(path) == Config()
    assert f'"other": {deep}' in path.read_text()
    text = f'{{"other": "{"é" * 100_000}"}}'
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigError, match=r"config\.json: would be larger than 262144 bytes$"):
        Config.init(project)
    assert path.read_text("utf-8") == text


@pytest.mark.promise("CFG-1")
def test_init_keeps_who_may_read_the_file(make_project: MakeProject) -> None:
    project = make_project({})
    path = _given(project, '{"other": 1}')
    path.chmod(0o644)
    Config.init(project)
    assert path.stat().st_mode & 0o777 == 0o644
    assert json.loads(path.read_bytes()) == {"other": 1, "daemon": STORY}
    path.unlink()
    Config.init(project)
    assert path.stat().st_mode & 0o777 == 0o600


class Death(BaseException):
    """The end of the process: nothing changes a file after it."""


@pytest.mark.promise("CFG-1")
@pytest.mark.parametrize("dies", [False, True])
@pytest.mark.parametrize("before", [None, '{"other": [1, 2], "daemon": {"max_retries": 3}}'])
def test_whatever_becomes_of_init_the_file_is_the_old_one_or_the_new_one_whole(
    make_project: MakeProject, dies: bool, before: str | None
) -> None:
    """It fails, or its process dies, before each of the operations of which it is made."""
    other: dict[str, Any] = {"daemon": {**STORY, "ttl_minutes": 3}}
    if before is not None:
        other = {"other": [1, 2], "daemon": {**STORY, "max_retries": 3, "ttl_minutes": 3}}
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    for number in count(1):
        project = make_project({}, name=f"p{number}")
        if before is not None:
            _given(project, before).chmod(0o640)
        runtime = FakeRuntime()
        runtime.fail_at(number, Death() if dies else full, dies=dies)
        with suppress(OSError, Death):
            Config.init(project, runtime=runtime, ttl_minutes=3)
        path = project.config_path
        found = path.read_text() if path.exists() else None
        assert found == before or json.loads(str(found)) == other, runtime.operations[number - 1 :]
        if before is not None:
            assert path.stat().st_mode & 0o777 == 0o640
        if number > len(runtime.operations):
            break
        left = list(path.parent.glob(f"*.{os.getpid()}.*"))
        assert dies or not left
        # Who wrote it has died: what it has left goes with the next who writes here.
        for each in left:
            each.rename(each.with_name(each.name.replace(f".{os.getpid()}.", ".4194305.")))
        project.create_directory()
        kept = {".gitignore", "config.json"} if found is not None else {".gitignore"}
        assert set(os.listdir(path.parent)) == kept
        assert (path.parent / ".gitignore").read_text() == "*\n"
    *_, written, synced, renamed, put = runtime.operations
    assert [written.split()[0], synced.split()[0]] == ["chmod" if before else "write", "sync"]
    assert (renamed, put.split()[0]) == ("rename config.json", "sync")


@pytest.mark.promise("CFG-1")
def test_what_is_half_written_is_removed_if_its_writer_is_gone_and_if_it_is_ours(
    make_project: MakeProject,
) -> None:
    project = make_project({})
    project.create_directory()
    gone, there = 4194305, os.getpid()  # no process has a number as high as the first
    others = [f".config.json.{there}.1", f".other.json.{gone}.1", ".config.json.x.1",
              ".config.json", ".config.json.1", f"config.json.{gone}.1"]  # fmt: skip
    for name in (f".config.json.{gone}.1", f"..gitignore.{gone}.140", *others):
        (project.directory / name).write_text("half")
    project.create_directory()
    assert sorted(os.listdir(project.directory)) == sorted([".gitignore", *others])


@pytest.mark.promise("CFG-1")
@pytest.mark.parametrize("leads", ["to a file", "nowhere"])
def test_a_link_in_place_of_the_file_is_refused_by_name_and_not_followed(
    make_project: MakeProject, leads: str
) -> None:
    project = make_project({})
    path = _given(project, '{"daemon": {"max_retries": 7}}')
    real = project.root / "dotfiles.json"
    path.rename(real)
    path.symlink_to(real)
    before = real.read_bytes()
    if leads == "nowhere":
        real.unlink()
    refused = (
        f"^{path} is a symbolic link, not a regular file, and is not followed or used: remove it$"
    )
    for act in (
        lambda: Config.load(path),
        lambda: Config.init(project, ttl_minutes=2),
        lambda: DaemonClient(project, start=False),
    ):
        with pytest.raises(UntrustedError, match=refused):
            act()
    assert path.is_symlink()
    if leads == "nowhere":
        assert not real.exists()
    else:
        assert real.read_bytes() == before
    path.unlink()
    assert Config.load(path) == Config()


def test_the_project_is_the_nearest_with_an_index_or_a_git_root_else_the_directory(
    tmp_path: Path,
) -> None:
    inner = tmp_path / "a" / "b" / "c"
    inner.mkdir(parents=True)
    assert Project.around(inner).root == inner
    (tmp_path / "a" / "b" / ".git").mkdir()
    assert Project.around(inner).root == tmp_path / "a" / "b"
    (tmp_path / "a" / ".code-indexer").mkdir()
    assert Project.around(inner).root == tmp_path / "a" / "b", "what is nearer wins"
    assert Project.around(tmp_path / "a").root == tmp_path / "a"
    (inner / ".code-indexer").write_text("a file is no mark")
    assert Project.around(inner).root == tmp_path / "a" / "b"
    (inner / ".code-indexer").unlink()
    (inner / ".code-indexer").mkdir()
    assert Project.around(inner).root == inner
    link = tmp_path / "link"
    link.symlink_to(inner)
    assert Project.around(link) == Project.around(inner), "one daemon, whatever way one comes"
    (tmp_path / "file").touch()
    for wrong in (tmp_path / "file", tmp_path / "nowhere", "a\0b"):
        with pytest.raises(BadArgumentError, match="project: not a directory"):
            Project.around(wrong)


def test_a_worktree_in_an_indexed_checkout_is_a_project_of_its_own(
    make_project: MakeProject,
) -> None:
    project = make_project()
    git(project.root, "init", "-q")
    git(project.root, "add", ".")
    git(project.root, "commit", "-qm", "all")
    build(project)
    git(project.root, "worktree", "add", "-q", "trees/other", "-b", "other")
    other = project.root / "trees" / "other"
    assert (other / ".git").is_file()
    assert Project.around(other / "net").root == other
    assert Project.around(project.root / "net") == project
    # Also before there is an index of its own, and after.
    Project.at(other).create_directory()
    assert Project.around(other / "net").root == other


def test_an_index_further_out_than_the_git_root_is_not_the_project_s(tmp_path: Path) -> None:
    outer = Project.at(tmp_path)
    outer.create_directory()
    checkout = tmp_path / "src" / "checkout"
    (checkout / "deep").mkdir(parents=True)
    assert Project.around(checkout / "deep") == outer
    git(checkout, "init", "-q")
    assert Project.around(checkout / "deep").root == checkout
    assert Project.around(checkout.parent) == outer


def test_the_index_does_not_show_in_git(make_project: MakeProject) -> None:
    project = make_project()
    git(project.root, "init", "-q")
    git(project.root, "add", ".")
    git(project.root, "commit", "-qm", "all")
    build(project)
    Config.init(project)
    status = ("git", "status", "--porcelain", "--untracked-files=all")
    told = subprocess.run(status, cwd=project.root, capture_output=True, text=True, check=True)
    assert told.stdout == ""
    mine = project.directory / ".gitignore"
    mine.write_text("*\n!keep\n")
    project.create_directory()
    assert mine.read_text() == "*\n!keep\n", "whoever changed it meant it"
