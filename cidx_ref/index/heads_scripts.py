"""How definitions begin in Perl: what `patterns` goes by.

A pattern sees one line from its first letter on, and at most some hundred characters of it.
"""

from __future__ import annotations

from cidx_ref.index.syntax import Rule, Syntax, pattern

__all__ = ["SCRIPTS"]

_OF = r"(?P<of>(?:\w+(?:::|'))*)"
#: What begins a page of a manual within a script, whatever it is.
_POD = "pod head over item back begin end for encoding".split()
_PERL = Syntax(
    (
        Rule(
            pattern(
                r"(?:(?:my|our|async)\s+)?(?:sub|method|func)\s+"
                + _OF
                + r"(?P<name>\w+)\b(?!\s*=>)"
            ),
            "function",
            body=True,
        ),
        Rule(
            pattern(r"(?:package|class|role)\s+(?P<name>\w[\w:]*)[^;]*\{"),
            "module",
            into=True,
            whole=True,
        ),
        # As far as the next one, or the end of the file.
        Rule(
            pattern(
                r"(?:package|class)\s+(?:main\b|(?P<name>\w[\w:]*))(?:\s+v?[\d._]+|\s+:\w[^;]*)?\s*;"
            ),
            "module",
            into=True,
            flat=True,
            rest=True,
            whole=True,
        ),
        Rule(
            pattern(
                r"use\s+constant\s+(?::\w+\s+)?\{$",
            ),
            "",
            into=True,
            flat=True,
            members=pattern(r"(?P<name>[A-Za-z_]\w*)\s*=>"),
        ),
        Rule(
            pattern(r"use\s+constant\s+(?:\{\s*)?[\"']?(?P<name>[A-Za-z_]\w*)"),
            "constant",
            flat=True,
            opens="{([",
        ),
        Rule(
            pattern(r"\*(?:\{?['\"])?" + _OF + r"(?P<name>\w+)['\"]?\}?\s*=\s*(?:sub\b|\\&)"),
            "function",
            flat=True,
        ),
        Rule(pattern(r"has\s+[\"']?\+?(?P<name>\w+)[\"']?\s*=>"), "field", flat=True, opens="{(["),
        Rule(
            pattern(r"(?:our|my|state)\s+[$@%](?P<name>\w+)\b"), "variable", flat=True, opens="{(["
        ),
    ),
    pattern(r"#"),
    comments=tuple((f"={word}", "=cut") for word in _POD),
    line_comment="#",
    apart="=cut",
    heredocs=True,
    more=pattern(r"[{)\]:,|&=.<>?+-]"),
    nested=pattern(r"(?:my\s+)?sub\s+(?P<name>\w+)\s*(?:\([^)]*\)\s*)?\{"),
)

SCRIPTS: dict[str, Syntax] = {"perl": _PERL}
