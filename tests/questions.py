"""Questions a developer asks about the standard library, and the files that answer them.

They were written from the documentation (the synopses and first sentences of the library
reference) before any ranking was tuned.  They are not to be changed to please the ranking.

Each file is relative to the `Lib` folder of Python and is there in 3.11, 3.12 and 3.13; where two
files are honest answers, they are separated by `|`.
"""

from __future__ import annotations

__all__ = ["STDLIB_QUESTIONS"]

#: (question, file)
STDLIB_QUESTIONS: list[tuple[str, str]] = [
    ("split a string with shell-like syntax", "shlex.py"),
    # text
    (
        "break a long paragraph into lines of at most a given width",
        "textwrap.py",
    ),
    ("show the differences between two lists of lines as a unified diff", "difflib.py"),
    # data types
    ("keep a list sorted while inserting items without sorting it again", "bisect.py"),
    ("order tasks so that each one comes after everything it depends on", "graphlib.py"),
    # numeric
    ("calculate the median and the standard deviation of a sample", "statistics.py"),
    ("exact arithmetic with rational numbers", "fractions.py"),
    # files
    ("create a temporary directory that is removed when I am done with it", "tempfile.py"),
    ("copy a whole directory tree recursively", "shutil.py"),
    # compression
    ("extract all members of a tar archive", "tarfile.py"),
    # crypto
    ("generate a hard to guess URL for password reset", "secrets.py"),
    # concurrency
    ("run calls asynchronously in a pool of worker processes", "concurrent/futures/process.py"),
    ("limit how many coroutines may enter a section at once", "asyncio/locks.py"),
    # networking
    ("wait until one of several sockets is ready for reading", "selectors.py"),
    # internet protocols
    ("check whether a crawler may fetch a page of a web site", "urllib/robotparser.py"),
    ("parse a JSON document into Python objects", "json/decoder.py|json/__init__.py"),
    # internationalization
    ("look up the translation of a message in a compiled catalog", "gettext.py"),
    # debugging
    ("step through a program line by line and set breakpoints", "pdb.py|bdb.py"),
    ("measure how long a small piece of code takes", "timeit.py"),
    # runtime
    ("write a context manager as a generator function", "contextlib.py"),
]
