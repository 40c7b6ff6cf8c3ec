"""What a file is there for, as far as its path tells: tests, examples, documents, data.

Such files speak of the code that somebody looks for, often in plainer words than the code does, so
that they come before it where words alone count (`rank`).  They are what is looked for only where
the question says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache, lru_cache

from cidx_ref.index.text import terms

__all__ = ["ASKED_BY", "asked_for", "purpose"]

#: By purpose, the words by which a query asks for such files.
ASKED_BY = {
    "test": "test spec fixture mock unittest testcase",
    "example": "example sample demo tutorial benchmark script",
    "document": "doc docs document documentation readme changelog manual guide license news",
    "declaration": "declaration stub typing",
    "data": "json yaml yml toml xml csv svg css scss fixture translation locale",
    "vendored": "vendor",
    "generated": "generated minified",
}

# Names of folders, in lower case.  The first folder from the top that is named decides; that others
# wrote it only where nothing else is told.
_FOLDERS = {
    "test": "test tests spec specs __tests__ __mocks__ testdata test-data test_data "
    "fixture fixtures mocks e2e integration-test integration-tests testsuite testsuites "
    "androidtest commontest jvmtest unittest unittests",
    "example": "example examples sample samples demo demos tutorial tutorials playground cookbook "
    "benchmark benchmarks fuzz fuzzing",
    "document": "doc docs documentation guides changelog changelogs changelog.d newsfragments "
    "release-notes releasenotes rfcs",
    "declaration": "typings typeshed stubs @types",
    "vendored": "vendor vendored third_party third-party thirdparty 3rdparty _vendor "
    "node_modules bower_components",
    "generated": "generated __generated__",
}
# Further down, these are names of packages, too.
_TOP_FOLDERS = {
    "test": "conformance t",
    "example": "sandbox bench perf extras scripts hack",
    "document": "book guide man manual website site changes",
    "vendored": "external extern deps",
    "generated": "dist cjs esm umd commonjs lib.esm lib.commonjs",
}
# Below a set of sources, folders are those of packages: `com/example`, `org/springframework/test`.
_SOURCES = re.compile(r"(?:.*/)?src/(\w+)/(?:java|kotlin|scala|groovy|clojure|antlr)[\w.-]*(?=/)")
_SOURCES_OF_TESTS = re.compile(r"it|test(?:Fixtures)?|\w*Test")
_MADE = ("generated", "vendored")
# Python's own.
_UNITTEST = re.compile(r"(?:Lib/)?unittest/.*\.pyi?")
_WORKSPACES = frozenset("packages apps libs crates".split())
_BY_FOLDER = {name: what for what, names in _FOLDERS.items() for name in names.split()}
_BY_TOP_FOLDER = {name: what for what, names in _TOP_FOLDERS.items() for name in names.split()}

_ENDINGS = {
    "document": "md markdown mdx rst rest txt text adoc asciidoc org pod tex textile rdoc patch "
    "diff",
    "data": "json json5 jsonc jsonl yaml yml toml xml csv tsv svg ini cfg conf properties po pot "
    "lock scm css scss less sass plist strings resx html htm sql snap",
    "declaration": "pyi",
}
_BY_ENDING = {ending: what for what, endings in _ENDINGS.items() for ending in endings.split()}
# No documents, though they end as such do.
_BUILDS = re.compile(r"(?:CMakeLists|meson_options)\.txt")
_REQUIRED = re.compile(r"(?:[\w-]+[-_])?(?:requirements|constraints)(?:[-_.][\w.-]+)?\.txt")
# A page of a manual: `tmux.1`, `libfoo.3`.
_MANUAL = re.compile(r"\d[a-z]?")

# Names of files that are documents without an ending.
_PAPERS = frozenset(
    "readme changelog changes history news authors contributors contributing license licence "
    "copying todo install upgrading security notice maintainers thanks credits faq".split()
)
_TEST_NAME = re.compile(
    r"(?:^(?:test|spec)[_\-.])|(?:[_\-.](?:test|tests|spec|specs|mock)$)"
    r"|(?:[a-z0-9](?:Test|Tests|TestCase|Spec|Specs|Mock)$)|(?:^(?:Test|Mock)[A-Z])"
    r"|(?:^(?:conftest|[Tt]ests)$)"
)
_GENERATED_NAME = re.compile(
    r"(?:_pb2(?:_grpc)?|\.pb|\.g|\.generated|\.designer|\.min)$", re.IGNORECASE
)


@lru_cache(maxsize=1 << 14)
def purpose(path: str) -> str:
    """One of the keys of `ASKED_BY`; "" for code, and for what nothing is known of."""
    *folders, name = path.split("/")
    told = _by_folders(_without_packages(path, folders))
    if told not in ("", "vendored"):
        return told
    by_name = _by_name(name)
    # Others have documents and tests, too; what is data there configures nothing here.
    return told if told and by_name in ("", "data") else by_name


def _by_folders(folders: list[str]) -> str:
    names = [folder.lower() for folder in folders]
    # Of each package of a workspace, too: `packages/core/dist`.
    tops = names[2:3] if names and names[0] in _WORKSPACES else []
    at_the_top = (_BY_TOP_FOLDER.get(name) for name in names[:1] + tops)
    told = filter(None, (*at_the_top, *map(_BY_FOLDER.get, names)))
    return min(told, key="vendored".__eq__, default="")


def _without_packages(path: str, folders: list[str]) -> list[str]:
    """`folders`, without those that are but names of packages."""
    if sources := _SOURCES.match(path):
        above = sources[0].split("/")
        of_tests = ["test"] if _SOURCES_OF_TESTS.fullmatch(sources[1]) else []
        below = folders[len(above) :]
        return [*above, *of_tests, *(each for each in below if _BY_FOLDER.get(each) in _MADE)]
    if _UNITTEST.match(path):
        return ["" if each == "unittest" else each for each in folders]  # `perf` is not at the top
    return folders


def _by_name(name: str) -> str:
    stem, _, ending = name.rpartition(".")
    if not stem:  # `.gitignore` and `Makefile` have no ending
        stem, ending = name, ""
    if _BUILDS.fullmatch(name):
        return ""
    if _REQUIRED.fullmatch(name):
        return "data"
    if _TEST_NAME.search(stem):
        return "test"
    if (not ending and stem.lower() in _PAPERS) or _MANUAL.fullmatch(ending):
        return "document"
    if _GENERATED_NAME.search(stem):
        return "generated"
    if stem.endswith(".d") and ending in ("ts", "mts", "cts"):
        return "declaration"
    return _BY_ENDING.get(ending.lower(), "")


def asked_for(terms_of_query: Iterable[str]) -> frozenset[str]:
    """The purposes that a query with these terms asks for."""
    by_term = _by_term()
    return frozenset(what for term in terms_of_query for what in by_term.get(term, ()))


@cache
def _by_term() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for what, words in ASKED_BY.items():
        for term in terms(words):
            found.setdefault(term, []).append(what)
    return found
