"""The ground that the kit stands on: time, locks, threads; sockets; its interpreter; scratch.

The one door of the kit to the rest of `cidx_ref`.  Where that is installed, the things are its own,
so that a fake runtime is a runtime to the daemon, too.  Where the kit is alone, they are those of
the copies that its wheel carries in `_ground`; a checkout has no copy.
"""

from __future__ import annotations

try:
    from cidx_ref._version import __version__
    from cidx_ref.interpreter import python_command
    from cidx_ref.runtime import SYSTEM, Condition, Event, Lock, Runtime, Thread, get_ident
    from cidx_ref.scratch import Scratch
    from cidx_ref.sockets import address_of, connect, is_answered, peer_pid
except ModuleNotFoundError as error:
    if not (error.name or "").startswith("cidx_ref"):
        raise
    from cidx_ref.testing._ground._version import __version__  # type: ignore[assignment, no-redef, unused-ignore]
    from cidx_ref.testing._ground.interpreter import python_command  # type: ignore[assignment, no-redef, unused-ignore]
    from cidx_ref.testing._ground.runtime import (  # type: ignore[assignment, no-redef, unused-ignore]
        SYSTEM,
        Condition,
        Event,
        Lock,
        Runtime,
        Thread,
        get_ident,
    )
    from cidx_ref.testing._ground.scratch import Scratch  # type: ignore[assignment, no-redef, unused-ignore]
    from cidx_ref.testing._ground.sockets import address_of, connect, is_answered, peer_pid  # type: ignore[assignment, no-redef, unused-ignore]

__all__ = [
    "SYSTEM",
    "Condition",
    "Event",
    "Lock",
    "Runtime",
    "Scratch",
    "Thread",
    "__version__",
    "address_of",
    "connect",
    "get_ident",
    "is_answered",
    "peer_pid",
    "python_command",
]
