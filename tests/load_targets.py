"""Daemons for load sessions, as targets: `--target load_targets:NAME`.

A name that is none of these is a defect of `broken_load`, in our own daemon.
"""

from __future__ import annotations

import sys
from pathlib import Path

import kit_targets

from cidx_ref.testing.conformance.target import Attach, Cap, Target
from cidx_ref.testing.own.load import OwnTarget, own_target

_HERE = Path(__file__).parent
_OFFERED = (kit_targets.OFFERED | kit_targets.REPORTING) - {Cap.HYBRID}

#: Somebody else's: other names, other places, answers as JSON.
OTHER = kit_targets.target("json", capabilities=_OFFERED)
#: The same, as one that promises to be quick.
QUICK = kit_targets.target("json", capabilities={*_OFFERED, Cap.SPEED})
#: Nobody finds that.
WRONG = kit_targets.target("json", questions=(("lantern anchor", "elsewhere.py"),))
#: Nobody is there.
NOBODY = Target(Attach("/nowhere.sock"))


def __getattr__(name: str) -> OwnTarget:
    if name.startswith("_"):
        raise AttributeError(name)
    return own_target(sys.executable, "-P", str(_HERE / "broken_load.py"), name)
