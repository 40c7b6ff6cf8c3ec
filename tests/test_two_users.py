"""Two users of one machine: neither can read the other's text, be answered by, block, or be
blocked by the other.  The scenarios are in `two_users.py`, which must be run by root."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import two_users

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users"),
]


@pytest.mark.promise("TRUST-3")
@pytest.mark.parametrize("name", two_users.SCENARIOS)
def test_of_two_users_neither_can_do_the_other_any_harm(name: str) -> None:
    # Not pytest's directory, which other users cannot enter.
    with tempfile.TemporaryDirectory() as top:
        Path(top).chmod(0o777)
        command = [sys.executable, "-P", two_users.__file__, name, top]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []
