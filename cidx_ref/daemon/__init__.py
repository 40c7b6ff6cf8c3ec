"""The daemon: its cache, its lifecycle and its doors.  Start reading at `cache`."""

import logging

# Without a log file there is no log: not even Python's last resort, which is stderr.
logging.getLogger("cidx_ref").addHandler(logging.NullHandler())
