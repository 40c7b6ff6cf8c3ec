"""What data costs: an index run over it beside one over code, and queries among minified files.

Clocks are compared within one run, kind by kind, as processor time for each megabyte.
"""

from __future__ import annotations

import base64
import json
import random
import sysconfig
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from cidx_ref.client import DaemonClient
from cidx_ref.index import embed, text
from cidx_ref.index.belongs import Rules
from cidx_ref.index.build import bring_up_to_date
from cidx_ref.index.embed import HashingEmbedder
from cidx_ref.project import DIRECTORY, Project
from cidx_ref.runtime import SYSTEM
from cidx_ref.testing.own.fixtures import MakeProject
from cidx_ref.testing.promises.gates import CheckGate, RecordAim

MAX_RATIO = 3.0
ROUNDS = 3
PIECES = 9000  # as many as the standard library has
LIMIT_MS = 100.0
CALLS = 300

Made = dict[str, str]


def code(_: random.Random) -> Made:
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("[a-h]*.py"))
    return {path.name: path.read_text("utf-8") for path in files}


def minified(source: random.Random, files: int = 4, size: int = 250_000) -> Made:
    words = (
        "prototype function length undefined createElement getAttribute addEventListener className "
        "childNodes Object defineProperty exports require module push slice apply call typeof"
    ).split()
    names = [a + b for a in "abcdefghijklmnopqrstuvwxyz" for b in ["", *"abcdefgh"]]

    def one() -> str:
        parts: list[str] = []
        while len(parts) < size // 60:  # some characters each
            a, b, c = source.choices(names, k=3)
            u, v = source.choices(words, k=2)
            parts.append(
                f'function {a}({b}){{var {c}={b}.{u}({a}[{len(parts)}],"{v}");return {c}}}'
            )
        return "".join(parts)

    return {f"app{n}.bundle.js": one() for n in range(files)}


def notebooks(source: random.Random) -> Made:
    lines = "".join(code(source).values()).splitlines(keepends=True)

    def one() -> str:
        cells = []
        for _ in range(40):
            start = source.randrange(len(lines) - 20)
            image = base64.b64encode(source.randbytes(4000)).decode()
            output = {"output_type": "display_data", "data": {"image/png": image}}
            cell = {"cell_type": "code", "source": lines[start : start + 20], "outputs": [output]}
            cells.append({**cell, "metadata": {}})
        return json.dumps({"nbformat": 4, "metadata": {}, "cells": cells})

    return {f"{n}.ipynb": one() for n in range(4)}


def logs(source: random.Random) -> Made:
    words = "connection refused by peer while reading response header request timed out".split()

    def line() -> str:
        said = " ".join(source.sample(words, 6))
        number = source.randrange(10**6)
        where = f"[worker-{number % 64}] 10.0.{number % 256}.1"
        return f"2024-01-01T12:00:00.{number}Z INFO {where} {said}"

    return {f"{n}.log": "\n".join(line() for _ in range(2500)) for n in range(4)}


def rows(line: Callable[[int], str], count: int) -> Made:
    return {f"{n}.csv": "\n".join(map(line, range(count))) for n in range(4)}


KINDS: dict[str, Callable[[random.Random], Made]] = {
    "minified": minified,
    "notebooks": notebooks,
    "logs": logs,
    "base64": lambda r: {
        f"{n}.pem": base64.encodebytes(r.randbytes(180_000)).decode() for n in range(4)
    },
    "base64 in one line": lambda r: {
        f"{n}.txt": base64.b64encode(r.randbytes(180_000)).decode() for n in range(4)
    },
    "hex": lambda r: rows(lambda _: r.randbytes(32).hex(), 4000),
    "numbers": lambda r: rows(lambda n: f"{n},{r.random():.6f},{r.gauss(0, 9):.4f}", 10_000),
    "identifiers": lambda r: rows(
        lambda n: f"{uuid.UUID(int=r.getrandbits(128))},user{n}@example.org", 5000
    ),
}


#: Of the minified files, too, which are left out unless they are asked for.
ALL = Rules(include=("*.js",))


def cost(project: Project) -> float:
    """Seconds of processor time that an index run takes for a megabyte."""
    text._KEPT_TERMS.clear()
    embed._hashes.cache_clear()
    size = sum(path.stat().st_size for path in project.root.iterdir() if path.is_file())
    started = time.process_time()
    report = bring_up_to_date(project, HashingEmbedder(), full=True, rules=ALL)
    assert not report["skipped"]
    return (time.process_time() - started) / size * 1e6


def test_data_costs_no_more_than_three_times_what_code_costs(
    make_project: MakeProject, aim: RecordAim
) -> None:
    made = {kind: make(random.Random(7)) for kind, make in {"code": code, **KINDS}.items()}
    projects = {kind: make_project(files, name=kind) for kind, files in made.items()}
    rounds = [{kind: cost(project) for kind, project in projects.items()} for _ in range(ROUNDS)]
    ratios = {kind: median(r[kind] / r["code"] for r in rounds) for kind in KINDS}
    for kind, ratio in ratios.items():
        aim(f"index run, {kind} / code, for each MB", ratio, MAX_RATIO)
    assert max(ratios.values()) <= MAX_RATIO, ratios


CONFIG = json.dumps({"daemon": {"include": list(ALL.include)}})


@pytest.mark.promise("PERF-1")
def test_a_hybrid_query_among_minified_files(
    make_project: MakeProject, running: Callable[[Project], int], gate: CheckGate
) -> None:
    size = 2000 * PIECES // 64
    files = minified(random.Random(7), 64, size)
    project = make_project({**files, f"{DIRECTORY}/config.json": CONFIG}, name="minified")
    asked = ["createElement", "define property of an object", "exports module", "typeof undefined"]
    running(project)
    with DaemonClient(project, start=False) as client:
        assert client.index()["chunks"] >= PIECES * 0.9

        def measure() -> list[float]:
            times: list[float] = []
            for number in range(CALLS):
                started = SYSTEM.monotonic()
                answer: Any = client.query(f"{asked[number % 4]} {number}", mode="hybrid")
                times.append((SYSTEM.monotonic() - started) * 1000)
                assert len(answer) > 0
            return times

        gate("PERF-1", "warm hybrid query, minified files", measure, LIMIT_MS)
