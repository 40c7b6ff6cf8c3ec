"""The daemon: its cache, its lifecycle and its doors.  Start reading at `cache`."""
