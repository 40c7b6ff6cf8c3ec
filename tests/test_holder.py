"""A hit of a piece that holds several small functions is called after the one that it shows."""

from __future__ import annotations

import re
from textwrap import dedent

import pytest

from cidx_ref.index.chunk import chunk
from cidx_ref.index.holder import called
from cidx_ref.index.query import parsed
from cidx_ref.index.snippet import Probes
from cidx_ref.index.storing import StoredChunk

pytestmark = pytest.mark.once

#: By language, small functions that are cut into one piece, and what a query shows of them: what
#: the hit is called, and its kind.
SHOWN = {
    "c": (
        """
        static int first(int a)
        {
            return second(a) + wombat;
        }

        /* About the quokka. */
        static int
        second(int a)
        {
            return a + numbat;
        }

        int bilby = 3;
        """,
        {
            "wombat": ("first", "function"),
            "quokka": ("second", "function"),
            "numbat": ("second", "function"),
            "bilby": ("", ""),
        },
    ),
    "javascript": (
        """
        exports.first = function (a) {
          return exports.second(a) + wombat
        }
        exports.second = function (a) {
          return numbat
        }
        """,
        {"wombat": ("first", "function"), "numbat": ("second", "function")},
    ),
    "ruby": (
        """
        class Box
          def first
            second wombat
          end

          def second(a)
            numbat
          end
        end
        """,
        {
            "Box": ("Box", "class"),
            "wombat": ("Box.first", "method"),
            "numbat": ("Box.second", "method"),
        },
    ),
    "perl": (
        """
        package Knot::Log;
        use quokka;
        sub first {
            second(wombat);
        }
        sub second { numbat }
        """,
        {
            "quokka": ("Knot.Log", "module"),
            "wombat": ("Knot.Log.first", "function"),
            "numbat": ("Knot.Log.second", "function"),
        },
    ),
    "typescript": (
        """
        exports.getName = (a) => a.name

        exports.getAge = (a) => a.age

        exports.setAge = (a) => a.put

        Box.prototype.getLid = function () {}
        """,
        {
            "getName": ("getName", "function"),
            "getAge": ("getAge", "function"),
            "setAge": ("setAge", "function"),
            "getLid": ("Box.getLid", "method"),
        },
    ),
    "kotlin": (
        """
        class LostError(m: String)

        class FoundError(m: String)
        """,
        {"LostError": ("LostError", "class"), "FoundError": ("FoundError", "class")},
    ),
    "java": (
        "record LostPair(int a) {}\n\nenum FoundKind { A }\n",
        {"LostPair": ("LostPair", "class"), "FoundKind": ("FoundKind", "enum")},
    ),
    "rust": (
        "pub struct LostPair(u8);\n\npub struct FoundPair(u8);\n",
        {"LostPair": ("LostPair", "struct"), "FoundPair": ("FoundPair", "struct")},
    ),
    "sql": (
        "CREATE TABLE lost (id int);\n\ncreate table if not exists a.found (id int);\n",
        {"lost": ("lost", "table"), "found": ("found", "table")},
    ),
    "go": (
        """
        package a

        func (a A) Size() int { return 1 }

        func (a *A) Close() int { return 2 }

        func Open() {}
        """,
        {
            "Size": ("A.Size", "method"),
            "Close": ("A.Close", "method"),
            "Open": ("Open", "function"),
        },
    ),
}
CASES = [(language, word) for language, (_, told) in SHOWN.items() for word in told]


def _piece(language: str) -> StoredChunk:
    text = dedent(SHOWN[language][0]).lstrip("\n")
    found = chunk(text, language)
    has_name = language in ("ruby", "perl")
    name, kind = (found[0].name, found[0].kind) if has_name else ("", "")
    defines = tuple(dict.fromkeys(each for piece in found for each in piece.defines))
    lines = text.count("\n") + 1
    return StoredChunk("a", language, name, 1, lines, text, kind, defines)


@pytest.mark.parametrize(("language", "word"), CASES)
def test_a_hit_is_called_after_the_function_that_holds_what_was_looked_for(
    language: str, word: str
) -> None:
    piece = _piece(language)
    assert called(piece, Probes(parsed(word)).cut(piece)) == SHOWN[language][1][word]


def test_what_has_a_name_of_its_own_keeps_it() -> None:
    for name, kind, defines in [
        ("first", "function", ("first",)),
        ("cell 3: Box", "class", ("Box", "first")),
        ("Guide", "heading", ("Guide", "first")),
        ("Box", "class", ("\tfirst",)),
        ("Box", "struct", ("Box", "size")),
    ]:
        text = "struct Box {\n  int first(wombat);\n  int size;\n  int wombat;\n}"
        piece = StoredChunk("a", "c", name, 1, 5, text, kind, defines)
        assert called(piece, Probes(parsed("wombat")).cut(piece)) == (name, kind)


def test_no_pattern_is_made_for_a_name_of_a_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    # A search would make hundreds: more time than all else that it does.
    piece = _piece("c")
    snippet = Probes(parsed("numbat")).cut(piece)

    def made(pattern: str, flags: int = 0) -> None:
        raise AssertionError(f"a pattern is made: {pattern}")

    monkeypatch.setattr(re, "compile", made)
    assert called(piece, snippet) == ("second", "function")
