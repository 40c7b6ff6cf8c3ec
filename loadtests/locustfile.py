"""All scenarios.  `locust -f loadtests/locustfile.py Readers`, or choose one in the web UI.

They are in `cidx_ref.testing.load.scenarios`, so that they come with the package; with
`--target MODULE:TARGET` they are run on another daemon than ours.
"""

from __future__ import annotations

from cidx_ref.testing.load.scenarios.all import *  # noqa: F403
