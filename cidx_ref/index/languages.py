"""What language a file is in, by its name or its `#!` line, and how a user may spell a language.

A language is a lower-case word such as "python".  What no rule knows is "text".

Some extensions belong to several languages.  Such a file is shown as the one that its text looks
most like, and answers to all of them: a header without a class in it may be C++ all the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Protocol

from cidx_ref.errors import BadArgumentError

__all__ = ["LANGUAGES", "answering", "canonical", "extension_of", "known", "of", "told_by"]


class _File(Protocol):
    @property
    def path(self) -> str: ...
    @property
    def language(self) -> str: ...


# language: its file extensions, which are also other names of it
_EXTENSIONS = {
    "asm": "asm s nasm",
    "astro": "astro",
    "batch": "bat cmd",
    "c": "c h",
    "clojure": "clj cljs cljc edn",
    "cmake": "cmake",
    "cobol": "cob cbl",
    "cpp": "cpp cc cxx c++ hpp hh hxx h++ inl ipp tpp cppm",
    "crystal": "cr",
    "csharp": "cs csx",
    "coq": "coq",
    "css": "css",
    "csv": "csv tsv",
    "cuda": "cu cuh",
    "cython": "pyx pxd pxi",
    "d": "d",
    "dart": "dart",
    "diff": "diff patch",
    "dockerfile": "dockerfile containerfile",
    "elixir": "ex exs",
    "elm": "elm",
    "erlang": "erl hrl",
    "fortran": "f f77 f90 f95 f03 f08",
    "fsharp": "fs fsi fsx",
    "glsl": "glsl vert frag",
    "go": "go",
    "graphql": "graphql gql",
    "groovy": "groovy gradle",
    "haskell": "hs lhs",
    "hcl": "hcl tf tfvars",
    "html": "html htm xhtml",
    "ini": "ini cfg conf properties editorconfig",
    "java": "java",
    "javascript": "js jsx mjs cjs",
    "json": "json json5 jsonc jsonl ndjson geojson ipynb webmanifest",
    "julia": "jl",
    "kotlin": "kt kts",
    "less": "less",
    "lisp": "lisp lsp cl el",
    "lua": "lua",
    "makefile": "mk mak make",
    "markdown": "md markdown mdx mkd",
    "matlab": "matlab",
    "meson": "meson",
    "nim": "nim nims",
    "nix": "nix",
    "objective-c": "m mm",
    "ocaml": "ml mli",
    "pascal": "pas pp dpr",
    "perl": "pl pm pod",
    "php": "php phtml",
    "powershell": "ps1 psm1 psd1",
    "prolog": "pro",
    "protobuf": "proto",
    "python": "py pyi pyw",
    "r": "r rmd",
    "racket": "rkt",
    "rst": "rst rest",
    "ruby": "rb rake gemspec",
    "rust": "rs",
    "sass": "sass scss",
    "scala": "scala sc sbt",
    "scheme": "scm ss",
    "shell": "sh bash zsh ksh dash fish bats",
    "solidity": "sol",
    "sql": "sql psql ddl",
    "starlark": "bzl bazel star",
    "svelte": "svelte",
    "swift": "swift",
    "tcl": "tcl",
    "tex": "tex sty bib",
    "text": "txt text log lock",
    "thrift": "thrift",
    "toml": "toml",
    "typescript": "ts tsx mts cts",
    "v": "v vsh",
    "vb": "vb vbs bas",
    "verilog": "sv svh",
    "vhdl": "vhd vhdl",
    "vim": "vim",
    "vue": "vue",
    "wasm": "wat wast",
    "xml": "xml xsd xsl xslt svg plist csproj",
    "yaml": "yaml yml",
    "zig": "zig",
}

# language: whole file names, in lower case; they are asked before the extension
_FILENAMES = {
    "cmake": "cmakelists.txt",
    "dockerfile": "dockerfile containerfile",
    "go": "go.mod go.work",
    "groovy": "jenkinsfile",
    "ini": ".editorconfig .gitconfig .npmrc",
    "json": ".babelrc .eslintrc .prettierrc composer.lock flake.lock pipfile.lock",
    "makefile": "makefile gnumakefile bsdmakefile makefile.am makefile.in",
    "meson": "meson.build meson_options.txt",
    "python": "sconstruct sconscript wscript",
    "ruby": "gemfile rakefile vagrantfile podfile brewfile",
    "shell": ".bashrc .bash_profile .profile .zshrc .zprofile .envrc pkgbuild",
    "starlark": "tiltfile",
    "toml": "cargo.lock pdm.lock pipfile poetry.lock uv.lock",
    "vim": ".vimrc vimrc",
}

# language: other names of it, of which some are interpreters
_ALIASES = {
    "asm": "assembly assembler",
    "batch": "batchfile",
    "coq": "rocq",
    "cpp": "cplusplus",
    "csharp": "c#",
    "dockerfile": "docker",
    "fsharp": "f#",
    "go": "golang",
    "hcl": "terraform",
    "javascript": "node nodejs ecmascript bun",
    "lua": "luajit",
    "matlab": "octave",
    "objective-c": "objc obj-c objectivec objective-c++ objc++ obj-c++",
    "powershell": "pwsh",
    "protobuf": "protocol-buffers",
    "python": "pypy cpython",
    "r": "rscript",
    "rst": "restructuredtext",
    "scheme": "guile",
    "tcl": "tclsh wish",
    "tex": "latex",
    "text": "plain plaintext",
    "typescript": "deno ts-node",
    "vb": "visual-basic vbnet",
    "verilog": "systemverilog system-verilog",
}

# extension: the languages that a file with it may be in, beside the one of `_EXTENSIONS`
_ALSO = {
    "cu": "cpp",
    "cuh": "cpp",
    "fs": "glsl",
    "h": "cpp objective-c",
    "inc": "asm c cpp pascal php",
    "m": "matlab",
    "mm": "cpp",
    "pl": "prolog",
    "ts": "xml",
    "v": "coq verilog",
}

LANGUAGES = frozenset(_EXTENSIONS)


def _inverted(table: dict[str, str]) -> dict[str, str]:
    return {word: language for language, words in table.items() for word in words.split()}


_BY_EXTENSION = _inverted(_EXTENSIONS)
_BY_FILENAME = _inverted(_FILENAMES)
# extension: how lines begin that tell a language, in the order in which they are looked for.
# Nothing in them goes back; prose in a comment begins like none of them.
_LINES: dict[str, dict[str, str]] = {
    "fs": {"glsl": r"#version\b|void main\("},
    "h": {
        "objective-c": r"@(?:interface|protocol|class|property|import|end)\b|#import\b",
        "cpp": r"class[ \t]++\w++[ \t]*+(?:final\b|[:{;]|$)|class[ \t]++\w++[ \t]++\w++[ \t]*+[:{]"
        r"|enum[ \t]++class\b|namespace[ \t]*+[\w:]*+[ \t]*+(?:\{|$)|template[ \t]*+<"
        r"|using[ \t]++(?:namespace[ \t]++)?[\w:]++[ \t]*+[=;]|virtual[ \t][^\n;{]*+[;{]"
        r"|(?:public|private|protected)(?:[ \t]++\w++)?[ \t]*+:|constexpr\b"
        r"|(?:inline |static |const |extern )*+std::\w|#[ \t]*+include[ \t]*+<[a-z_]++>",
    },
    "inc": {"php": r"<\?php\b"},
    "m": {
        "objective-c": r"#import\b|#include\b|@(?:interface|implementation|protocol|import|end)\b",
        "matlab": r"%|function\b|classdef\b|clear\b|clc\b|close all\b",
    },
    "pl": {"prolog": r":-[ \t]|[a-z]\w*+(?:\([^()\n]*+\))?[ \t]*+:-"},
    "ts": {"xml": r"<\?xml\b|<!DOCTYPE\b"},
    "v": {
        "coq": r"(?:Require|From|Theorem|Lemma|Definition|Inductive|Fixpoint|Proof)\b[ .]",
        "verilog": r"module[ \t]++\w++[ \t]*+[(;#]|endmodule\b|`\w|always\b|assign\b",
    },
}
_LOOKED_AT = 1 << 16  # characters from the beginning: a file of another language says so early

#: By language, the extensions that belong to it and to another one.
_ANSWERS: dict[str, set[str]] = {}
for _extension, _languages in _ALSO.items():
    for _language in filter(None, [_BY_EXTENSION.get(_extension), *_languages.split()]):
        _ANSWERS.setdefault(_language, set()).add(_extension)

# The name of a language beats an extension: "v" is V, "d" is D.
_BY_NAME = _BY_EXTENSION | _inverted(_ALIASES) | {name: name for name in _EXTENSIONS}


def of(path: str, first_line: str = "") -> str:
    """The language of the file at `path`, by its name alone where the name is a known one.

    A file without a known extension may say its language in a `#!` line, for which `first_line`
    is looked at.
    """
    name = path.rpartition("/")[2].lower()
    stem, _, extension = name.rpartition(".")
    by_name = _BY_FILENAME.get(name) or (_BY_EXTENSION.get(extension) if stem else None)
    if by_name:
        return by_name
    if name.startswith(("dockerfile.", "makefile.")):  # such as Dockerfile.dev
        return name.partition(".")[0]
    return _BY_NAME.get(_interpreter(first_line), "text")


def told_by(path: str, text: str) -> str:
    """The language that the file at `path` is shown as: see `of`; where its extension belongs to
    several languages, that which its `text` looks like."""
    beginning = text[:_LOOKED_AT]
    for language, lines in _LINES.get(extension_of(path), {}).items():
        if re.search(rf"^[ \t]*+(?:{lines})", beginning, re.MULTILINE):
            return language
    return of(path, beginning.partition("\n")[0])


def extension_of(path: str) -> str:
    """The extension of the file at `path`, in lower case; "" if it has none."""
    stem, _, extension = path.rpartition("/")[2].lower().rpartition(".")
    return extension if stem else ""


def answering(languages: Iterable[str]) -> Callable[[_File], bool]:
    """Whether a file is in one of `languages`, or may be, by its extension."""
    spoken = frozenset(languages)
    extensions = frozenset().union(*(_ANSWERS.get(language, ()) for language in spoken))
    if not extensions:
        return lambda file: file.language in spoken
    return lambda file: file.language in spoken or extension_of(file.path) in extensions


def known(name: str) -> str | None:
    """The one name of the language that a program calls `name`; None if no language has it."""
    return _BY_NAME.get(name.strip().lower())


def canonical(name: str) -> str:
    """The one name of the language that a user calls `name`: "py", "C++" or "Python".

    Raises `BadArgumentError`, with the likeliest name, where no language is called that.
    """
    language = known(name)
    if language:
        return language
    from difflib import get_close_matches  # only here: it is slow to import

    likely = get_close_matches(name.strip().lower(), _BY_NAME, n=1)
    hint = f" (did you mean {likely[0]!r}?)" if likely else ""
    raise BadArgumentError(f"languages: unknown language {name!r}{hint}")


def _interpreter(first_line: str) -> str:
    """The program that a `#!` line names, without its version: "python" of "python3.11"."""
    if not first_line.startswith("#!"):
        return ""
    programs = [word.rpartition("/")[2] for word in first_line[2:].split()]
    if programs[:1] == ["env"]:  # which takes options and variables first
        programs = [word for word in programs[1:] if not word.startswith("-") and "=" not in word]
    return programs[0].lower().rstrip("0123456789.-") if programs else ""
