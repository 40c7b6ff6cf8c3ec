"""The daemon: its cache, its lifecycle and its doors.  Start reading at `cache`."""

import logging

# Where nobody has asked for a log, there is none: not even Python's last resort, which is stderr.
logging.getLogger("cidx_ref").addHandler(logging.NullHandler())
