"""Take a picture of a report, with a browser that is installed.

python docs/picture.py report.html docs/kit-report.png [WIDTH HEIGHT]
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def browser() -> str | None:
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def browse(page: Path, *options: str) -> str:
    """Open a page without a window; what is written to the standard output, if asked for."""
    program = browser()
    if program is None:
        raise SystemExit(f"none of {', '.join(BROWSERS)} is installed")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += ["--no-first-run", "--disable-dev-shm-usage", f"--user-data-dir={profile}"]
        done = subprocess.run(
            [*command, *options, page.resolve().as_uri()],
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
    return done.stdout


def picture(page: Path, image: Path, width: int = 1100, height: int = 900) -> None:
    browse(page, f"--window-size={width},{height}", f"--screenshot={image.resolve()}")


if __name__ == "__main__":
    picture(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:]))
