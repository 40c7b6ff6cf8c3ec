"""What language a file is in, and how a user may spell a language."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cidx_ref.errors import BadArgumentError
from cidx_ref.index import languages


@pytest.mark.parametrize(
    ("path", "language"),
    [
        ("a/b.py", "python"),
        ("stubs/b.pyi", "python"),
        ("b.jsx", "javascript"),
        ("b.tsx", "typescript"),
        ("b.h", "c"),
        ("b.hpp", "cpp"),
        ("B.RS", "rust"),
        ("src/Makefile", "makefile"),
        ("Dockerfile", "dockerfile"),
        ("Dockerfile.dev", "dockerfile"),
        ("CMakeLists.txt", "cmake"),
        ("notes.txt", "text"),
        ("Cargo.lock", "toml"),
        ("archive.tar.json", "json"),
        ("dir.py/plain", "text"),
        (".py", "text"),
        ("no-such.zzz", "text"),
        ("", "text"),
        ("caf\udce9.go", "go"),
    ],
)
def test_a_file_name_tells_the_language(path: str, language: str) -> None:
    assert languages.of(path) == language


@pytest.mark.parametrize(
    ("line", "language"),
    [
        ("#!/bin/sh", "shell"),
        ("#! /usr/bin/bash -eu", "shell"),
        ("#!/usr/bin/env python3.11", "python"),
        ("#!/usr/bin/env -S PYTHONUTF8=1 python3 -u", "python"),
        ("#!/usr/bin/env node", "javascript"),
        ("#!/usr/bin/perl5.36", "perl"),
        ("#!/usr/bin/env", "text"),
        ("#!", "text"),
        ("#!/opt/unheard-of", "text"),
        ("# python", "text"),
    ],
)
def test_a_shebang_tells_the_language_where_the_name_does_not(line: str, language: str) -> None:
    assert languages.of("bin/tool", line) == language
    assert languages.of("bin/tool.d/x.unknown", line) == language
    assert languages.of("tool.rb", line) == "ruby"


@pytest.mark.parametrize(
    ("name", "language"),
    [
        ("python", "python"),
        ("Python", "python"),
        (" PY ", "python"),
        ("js", "javascript"),
        ("ts", "typescript"),
        ("C++", "cpp"),
        ("c#", "csharp"),
        ("rs", "rust"),
        ("golang", "go"),
        ("sh", "shell"),
        ("bash", "shell"),
        ("md", "markdown"),
        ("yml", "yaml"),
        ("v", "v"),
    ],
)
def test_a_language_has_other_names_in_any_case(name: str, language: str) -> None:
    assert languages.canonical(name) == language


def test_every_language_is_its_own_canonical_name() -> None:
    assert {name: languages.canonical(name) for name in languages.LANGUAGES} == {
        name: name for name in languages.LANGUAGES
    }


def test_an_unknown_language_is_refused_with_the_likeliest_name() -> None:
    with pytest.raises(BadArgumentError) as caught:
        languages.canonical("pyhton")
    message = "languages: unknown language 'pyhton' (did you mean 'python'?)"
    assert str(caught.value) == message


@pytest.mark.parametrize("name", ["", "   ", "qqqqqqqq", "\udce9"])
def test_where_nothing_is_like_it_no_name_is_suggested(name: str) -> None:
    with pytest.raises(BadArgumentError) as caught:
        languages.canonical(name)
    assert str(caught.value) == f"languages: unknown language {name!r}"


def test_every_file_name_rule_leads_to_a_language_that_exists() -> None:
    tables = (languages._EXTENSIONS, languages._FILENAMES, languages._ALIASES)
    assert {language for table in tables for language in table} <= languages.LANGUAGES


def test_no_extension_stands_for_two_languages() -> None:
    words = [word for words in languages._EXTENSIONS.values() for word in words.split()]
    assert sorted(words) == sorted(set(words))


def test_importing_the_table_imports_nothing_slow() -> None:
    slow = "{'difflib', 'numpy', 'pathspec', 'rpyc'}"
    code = f"import sys, cidx_ref.index.languages; print(*({slow} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
