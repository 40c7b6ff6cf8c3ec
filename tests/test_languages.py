"""What language a file is in, and how a user may spell a language."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from cidx_ref.errors import BadArgumentError
from cidx_ref.index import languages
from cidx_ref.index.filelist import StoredFile


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
        ("SystemVerilog", "verilog"),
        ("Objective-C++", "objective-c"),
        ("octave", "matlab"),
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
    told = {name for also in languages._ALSO.values() for name in also.split()}
    looked_for = {name for lines in languages._LINES.values() for name in lines}
    assert told | looked_for <= languages.LANGUAGES


def test_no_extension_stands_for_two_languages() -> None:
    words = [word for words in languages._EXTENSIONS.values() for word in words.split()]
    assert sorted(words) == sorted(set(words))


HEADERS = {
    "class Box {\npublic:\n  int area() const;\n};\n": "cpp",
    "#pragma once\n#include <vector>\nint sum(int *, int);\n": "cpp",
    "namespace geometry\n{\nint area(int);\n}\n": "cpp",
    "  template<typename T> T most(T a, T b);\n": "cpp",
    "using Rows = int;\n": "cpp",
    "class EXPORT Window : public Widget\n{\n};\n": "cpp",
    "std::string name();\n": "cpp",
    "#import <Foundation/Foundation.h>\n@class Box;\n": "objective-c",
    "@interface Box : NSObject\n- (int)area;\n@end\n": "objective-c",
    "#include <stdio.h>\n#include <sys/types.h>\nstruct box { int a; };\n": "c",
    "/*\n using this code, a\n class of functions\n virtual memory\n template of it */\n": "c",
    '#ifdef __cplusplus\nextern "C" {\n#endif\nint f(void);\n': "c",
    "": "c",
}
OTHERS = {
    ("rtl/alu.v", "module alu(input a, output b);\nendmodule\n"): "verilog",
    ("rtl/defs.v", "`define WIDTH 8\n"): "verilog",
    ("src/main.v", "module main\n\nfn main() {\n}\n"): "v",
    ("theories/nat.v", "Require Import Arith.\nLemma a : 1 = 1.\n"): "coq",
    ("view.m", '#import "view.h"\n// %d\n'): "objective-c",
    ("fit.m", "% Fits a line.\nfunction p = fit(x)\nend\n"): "matlab",
    ("family.pl", "parent(tom, bob).\nold(X) :- parent(X, _).\n"): "prolog",
    ("tool.pl", "#!/usr/bin/perl\nuse strict;\nmy $x = shift;\n"): "perl",
    ("app.ts", "export const x = 1\n"): "typescript",
    ("app_de.ts", '<?xml version="1.0"?>\n<!DOCTYPE TS>\n'): "xml",
    ("noise.fs", "#version 330\nvoid main() {}\n"): "glsl",
    ("Box.fs", "module Box\nlet area x = x\n"): "fsharp",
    ("head.inc", "<?php\necho 1;\n"): "php",
    ("bin/tool", "#!/bin/sh\nclass Box {\n"): "shell",
}


@pytest.mark.parametrize("text", HEADERS, ids=ascii)
def test_a_header_is_shown_as_what_its_text_looks_like(text: str) -> None:
    assert languages.told_by("inc/Box.H", text) == HEADERS[text]


@pytest.mark.parametrize(("path", "text"), OTHERS, ids=str)
def test_where_an_extension_belongs_to_several_languages_the_text_tells(
    path: str, text: str
) -> None:
    assert languages.told_by(path, text) == OTHERS[path, text]


@pytest.mark.parametrize(
    ("language", "path"),
    [
        ("cpp", "inc/box.h"), ("c", "inc/box.h"), ("objective-c", "box.H"), ("verilog", "alu.v"),
        ("v", "alu.v"), ("coq", "alu.v"), ("matlab", "fit.m"), ("objective-c", "fit.m"),
        ("perl", "family.pl"), ("prolog", "family.pl"), ("cpp", "kernel.cu"), ("php", "head.inc"),
    ],
)  # fmt: skip
def test_a_file_whose_extension_belongs_to_several_languages_answers_to_each(
    language: str, path: str
) -> None:
    shown_as_another = StoredFile(1, path, "text", "", guessed=False, chunks=1)
    assert languages.answering([language])(shown_as_another)
    assert languages.answering(["ruby", language])(shown_as_another)
    assert not languages.answering(["ruby"])(shown_as_another)


@pytest.mark.parametrize("path", ["box.py", ".h", "h", "box.h.py", "dir.h/box"])
def test_any_other_file_answers_to_what_it_is_shown_as(path: str) -> None:
    file = StoredFile(1, path, "python", "", guessed=False, chunks=1)
    assert languages.answering(["python"])(file)
    assert not languages.answering(["cpp", "c", "text"])(file)


@pytest.mark.parametrize(
    "line", ["\n", " ", "class a ", "a(", "virtual ", "std::", "module a ", "using a", "%", "a :"]
)
def test_the_look_at_a_text_takes_a_time_that_grows_with_its_length_at_most(line: str) -> None:
    """A pattern that went back would take minutes."""
    for extension in languages._LINES:
        began = time.process_time()
        languages.told_by(f"x.{extension}", line * languages._LOOKED_AT)
        assert time.process_time() - began < 0.5


def test_importing_the_table_imports_nothing_slow() -> None:
    slow = "{'difflib', 'numpy', 'pathspec', 'rpyc'}"
    code = f"import sys, cidx_ref.index.languages; print(*({slow} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
