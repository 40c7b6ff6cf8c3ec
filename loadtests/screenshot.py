"""`python loadtests/screenshot.py [PNG]`: locust's web UI as a browser shows it.

In a session of `Readers`: the scenarios, the charts (in NAME-charts.png), and when it is over the
verdict (in NAME-verdict.png).  Needs `chromium` (on
Debian: `apt-get install chromium`).
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

from cidx_ref.runtime import SYSTEM

_HERE = Path(__file__).resolve().parent
_CALLS = 3000
_TIMEOUT_S = 120.0


def main() -> None:
    target = Path(sys.argv[1] if len(sys.argv) > 1 else _HERE / "screenshot.png").absolute()
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    with _session(port) as url:
        _wait_for_calls(f"{url}/stats/requests")
        _take(f"{url}/?tab=scenarios", target)
        _take(f"{url}/?tab=charts", target.with_stem(f"{target.stem}-charts"))
        with urlopen(Request(f"{url}/stop", method="POST"), timeout=_TIMEOUT_S):
            _take(f"{url}/?tab=verdict", target.with_stem(f"{target.stem}-verdict"))


@contextmanager
def _session(port: int) -> Iterator[str]:
    command = [sys.executable, "-m", "locust", "-f", str(_HERE / "locustfile.py")]
    command += ["--autostart", "--run-time", "120", "--skip-log-setup"]
    command += ["--web-port", str(port), "Readers"]
    process = subprocess.Popen(command)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(_TIMEOUT_S)


def _wait_for_calls(url: str) -> None:
    deadline = SYSTEM.monotonic() + _TIMEOUT_S
    while SYSTEM.monotonic() < deadline:
        SYSTEM.sleep(0.5)
        try:
            with urlopen(url, timeout=5) as answer:
                stats = json.load(answer)["stats"]
        except OSError:  # not up yet
            continue
        if any(row["name"] == "Aggregated" and row["num_requests"] > _CALLS for row in stats):
            return
    raise SystemExit(f"no {_CALLS} calls within {_TIMEOUT_S:g} s")


def _take(url: str, target: Path) -> None:
    with tempfile.TemporaryDirectory() as profile:
        command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"]
        command += ["--no-first-run", "--disable-background-networking", "--disable-sync"]
        command += ["--disable-component-update", f"--user-data-dir={profile}"]
        command += ["--window-size=1280,1150", "--force-device-scale-factor=0.8"]
        command += ["--virtual-time-budget=8000", "--hide-scrollbars"]
        command += [f"--screenshot={target}", url]
        subprocess.run(command, check=True, timeout=_TIMEOUT_S, stderr=subprocess.DEVNULL)
    print(f"{target}: {os.stat(target).st_size} bytes")  # noqa: PTH116


if __name__ == "__main__":
    main()
