"""How definitions begin in C, C++, Go, Rust and Zig: what `patterns` goes by.

A pattern sees one line from its first letter on, and at most some hundred characters of it.
"""

from __future__ import annotations

from cidx_ref.index.syntax import ANGLES, Rule, Syntax, pattern

__all__ = ["SYSTEMS"]

# Go


_GO = Syntax(
    (
        Rule(
            pattern(
                r"func\s+(?:\(\s*(?:\w+\s+)?(?:\*\s*)?(?P<of>\w+)\b[^)]*\)\s*)?(?P<name>\w+)\s*[\[(]"
            ),
            "function",
            flat=True,
        ),
        Rule(
            pattern(r"type\s+(?P<name>\w+)(?:\[[^\]]*\])?\s+struct\b"),
            "struct",
            into=True,
            flat=True,
            members=pattern(r"(?P<name>[A-Za-z_]\w*)(?:,\s*\w+)*\s+[\w*\[(<]"),
        ),
        Rule(
            pattern(r"type\s+(?P<name>\w+)(?:\[[^\]]*\])?\s+interface\b"),
            "interface",
            into=True,
            flat=True,
            members=pattern(r"(?P<name>[A-Za-z_]\w*)\("),
        ),
        Rule(pattern(r"type\s+(?P<name>\w+)"), "type", flat=True, opens="{("),
        Rule(
            pattern(r"type\s*\($"),
            "",
            into=True,
            flat=True,
            opens="(",
            members=pattern(r"(?P<name>[A-Za-z_]\w*)\s+[^=\s]"),
        ),
        Rule(
            pattern(r"(?:const|var)\s*\($"),
            "",
            into=True,
            flat=True,
            opens="(",
            members=pattern(r"(?P<name>[A-Za-z_]\w*)(?:,\s*\w+)*(?:\s|$)"),
        ),
        Rule(pattern(r"const\s+(?P<name>\w+)"), "constant", flat=True, opens="{("),
        Rule(pattern(r"var\s+(?P<name>\w+)"), "variable", flat=True, opens="{("),
    ),
    pattern(r"//|/\*|\*/"),
    nested=pattern(r"type\s+(?P<name>\w+)(?:\[[^\]]*\])?\s+(?:struct|interface|func)\b"),
)

# Rust


_PUB = r"(?:pub(?:\s*\([^)]*\))?\s+)?"
_FN = _PUB + r'(?:(?:default|const|async|unsafe|safe|extern(?:\s+"[^"]*")?)\s+)*fn\s+'
_RUST = Syntax(
    (
        Rule(pattern(_FN + r"(?P<name>\w+)"), "function"),
        Rule(
            pattern(_PUB + r"(?:struct|union)\s+(?P<name>\w+)"),
            "struct",
            into=True,
            members=pattern(_PUB + r"(?P<name>\w+)\s*:(?!:)"),
        ),
        Rule(
            pattern(_PUB + r"enum\s+(?P<name>\w+)"),
            "enum",
            into=True,
            members=pattern(r"(?P<name>[A-Z]\w*)\s*(?:[,({=]|$)"),
        ),
        Rule(
            pattern(_PUB + r"(?:unsafe\s+)?(?:auto\s+)?trait\s+(?P<name>\w+)"), "trait", into=True
        ),
        Rule(
            pattern(
                r"(?:unsafe\s+)?impl\b\s*(?:<[^{]*?>\s+)?(?:[^{]*?\bfor\s+)?"
                r"(?:&\s*)?(?:'\w+\s+)?(?:mut\s+)?(?:dyn\s+)?(?:\w+::)*(?P<name>\w+)"
            ),
            "impl",
            into=True,
        ),
        Rule(pattern(_PUB + r"mod\s+(?P<name>\w+)\s*\{"), "module", into=True),
        Rule(pattern(r"macro_rules!\s*(?P<name>\w+)"), "macro", opens="{("),
        Rule(
            pattern(_PUB + r"(?:const|static)\s+(?:mut\s+)?(?P<name>\w+)\s*:"),
            "constant",
            flat=True,
            opens="{([",
        ),
        Rule(pattern(_PUB + r"type\s+(?P<name>\w+)"), "type", flat=True),
    ),
    pattern(r"//|/\*|\*/?(?:\s|$)|#!?\[(?:.*\]\s*$|[^\]]*$)"),
    nested=pattern(
        f"(?:{_FN}|{_PUB}" + r"(?:struct|enum|union|trait|macro_rules!)\s+)(?P<name>\w+)"
    ),
)

# C and C++


_NOT_C = (
    r"(?!(?:return|else|if|for|while|switch|case|do|goto|typedef|using|namespace|delete|new|throw|"
    r"public|private|protected|default|break|continue|extern\s+\"C\"|template|static_assert"
    r"|co_return|co_await|co_yield|sizeof|defined)\b)"
)
# Each `::` can be matched in one way only: two would be a thousand in a line of ten.
_C_TYPE = r"(?:[\w:]+(?:" + ANGLES + r"(?:::[\w:]+)?)?|\[\[[^\]]*\]\]|__attribute__\(\([^)]*\)\))"
_C_FUNCTION = (
    _NOT_C + r"(?:" + _C_TYPE + r"[\s*&]+)*?"
    r"(?P<of>(?:\w+(?:" + ANGLES + r")?::)*)"
    r"(?!(?:void|int|char|bool|long|float|double|unsigned|auto|decltype|alignas|__attribute__)\b)"
    r"(?P<name>(?:operator\s*(?:\(\)|[^\s\w(]+|\s[\w:]+[\s*&]*)|~?\w+))\s*\((?!\s*\*)"
)
_C = Syntax(
    (
        Rule(
            pattern(r'(?:inline\s+)?namespace\b[\w\s:]*(?:\{|$)|extern\s+"C"\s*\{'),
            "",
            into=True,
        ),
        Rule(
            pattern(
                r"(?:TEST|TEST_F|TEST_P|TYPED_TEST|BENCHMARK_F)\s*\(\s*(?P<of>\w+)\s*,\s*(?P<name>\w+)"
            ),
            "test",
            body=True,
        ),
        Rule(
            pattern(
                r"(?:typedef\s+|static\s+|const\s+|volatile\s+|export\s+)*"
                r"enum(?:\s+(?:class|struct))?(?:\s+(?:[A-Z_]+\s+(?=\w))?(?P<name>\w+))?"
                r"(?:\s*:[\w:\s]+|\s*)(?:\{.*)?$"
            ),
            "enum",
            into=True,
            body=True,
            near=True,
            members=pattern(r"(?P<name>[A-Za-z_]\w*)\s*(?:[,=]|$|/[*/])"),
            named_at_end=pattern(r"\}\s*(?P<name>\w+)\s*;"),
        ),
        Rule(
            pattern(
                r"(?:template\s*<[^{;]*>\s*)?(?:typedef\s+|static\s+|const\s+|export\s+)*"
                r"(?:struct|union)(?:\s+(?:alignas\([^)]*\)|[A-Z_]+(?:\([^)]*\))?\s+(?=\w))*"
                r"(?P<name>[\w:]+))?(?:\s*<[^{;]*>)?(?:\s+final)?(?:\s*:[^;({]+)?\s*(?:\{.*)?$"
            ),
            "struct",
            into=True,
            body=True,
            near=True,
            members=pattern(
                r"(?!return\b|typedef\b|using\b|friend\b)(?:[\w:]+(?:" + ANGLES + r")?[\s*&]+)+"
                r"(?P<name>\w+)\s*(?:\[[^\]]*\]\s*)*(?::\s*\w+\s*)?(?:[;,=]|\{[^}]*\};)"
            ),
            named_at_end=pattern(r"\}\s*\*?(?P<name>\w+)\s*(?:;|,)"),
        ),
        Rule(
            pattern(
                r"(?:template\s*<[^{;]*>\s*)?(?:export\s+)?class\s+"
                r"(?:alignas\([^)]*\)\s*|[A-Z_][A-Z_\d]*(?:\([^)]*\))?\s+(?=\w))*"
                r"(?P<name>[\w:]+)(?:\s*<[^{;]*>)?(?:\s+final)?(?:\s*:[^;({]+(?:\([^)]*\)[^;({]*)*)?"
                r"\s*(?:\{.*)?$"
            ),
            "class",
            into=True,
            body=True,
            near=True,
            members=pattern(r"(?:virtual\s[^;]*?\b(?P<name>\w+)\s*\([^;]*=\s*0\s*;)"),
        ),
        Rule(pattern(r"typedef\b[^{(]*\(\s*[*^]?\s*(?P<name>\w+)\s*\)\s*\("), "type"),
        Rule(pattern(r"typedef\b[^{;]*\b(?P<name>\w+)\s*(?:\[[^\]]*\]\s*)*;"), "type"),
        Rule(pattern(r"(?:template\s*<[^{;]*>\s*)?using\s+(?P<name>\w+)\s*="), "type", flat=True),
        Rule(pattern(r"(?:template\s*<[^{;()]*>\s*)?" + _C_FUNCTION), "function", body=True),
        Rule(
            pattern(
                r"(?!extern\b)(?:static\s+|inline\s+)*(?:const(?:expr)?)\b"
                + _NOT_C
                + r"(?:[\s*&]+[\w:]+(?:"
                + ANGLES
                + r")?)+?[\s*&]+"
                r"(?P<of>(?:\w+::)*)(?P<name>\w+)\s*(?:\[[^\]]*\]\s*)*(?:=(?!=)|;|\{|$)"
            ),
            "constant",
            flat=True,
            outside=True,
            opens="{(",
        ),
        Rule(
            pattern(
                r"(?!extern\b|typedef\b|struct\s+\w+\s*;|class\s+\w+\s*;|union\s+\w+\s*;|enum\s+\w+\s*;)"
                + _NOT_C
                + r"(?:\w[\w:]*(?:"
                + ANGLES
                + r")?[\s*&]+)+(?P<of>(?:\w+::)*)(?P<name>\w+)"
                + r"\s*(?:\[[^\]]*\]\s*)*(?:=(?!=)|;)"
            ),
            "variable",
            flat=True,
            outside=True,
            opens="{(",
        ),
    ),
    pattern(
        r"//|/\*|\*/?(?:\s|$)|template\s*<[^{;]*>\s*$|\[\[|__attribute__|(?:static|extern|inline|const|unsigned|struct)\b[\w\s*]*$|\w+(?:\s*\*+)?$"
    ),
    more=pattern(
        r"[{)\]:,|&=.<>?+#-]|(?:public|private|protected|signals|default|case)\b[\w\s]*:|\w+:$"
    ),
    macro=pattern(r"#\s*define\s+(?P<name>\w+)"),
    nested=pattern(
        r"(?:using\s+(?=\w+\s*=)|(?:struct|class|union|enum(?:\s+class)?)\s+"
        r"(?=\w+\s*(?:final\b\s*)?(?::[^;(]*)?\{))(?P<name>\w+)"
    ),
)

# Zig


_PUB = r"(?:(?:pub|export|extern(?:\s+\"[^\"]*\")?|inline|noinline|threadlocal|comptime)\s+)*"
_ZIG_MEMBERS = pattern(
    r"(?!pub\b|const\b|var\b|fn\b|return\b)(?P<name>\w+|@\"[^\"]*\")\s*(?::|,|=(?!=))"
)


def _zig_type(words: str, kind: str) -> Rule:
    text = _PUB + r"const\s+(?P<name>\w+)(?:\s*:[^=]*)?\s*=\s*(?:extern\s+|packed\s+)?" + words
    return Rule(pattern(text), kind, into=True, members=_ZIG_MEMBERS)


_ZIG = Syntax(
    (
        # A generic type is what a function makes that is called like a type, and returns one.
        Rule(
            pattern(_PUB + r"fn\s+(?P<name>[A-Z]\w*)\s*\((?:.*\)\s*type\b|[^)]*$)"),
            "struct",
            into=True,
        ),
        Rule(
            pattern(r"return\s+(?:extern\s+|packed\s+)?(?:struct|union|enum)\b.*\{$"),
            "",
            into=True,
            flat=True,
            within=True,
            members=_ZIG_MEMBERS,
        ),
        Rule(pattern(_PUB + r"fn\s+(?P<name>\w+|@\"[^\"]*\")\s*\("), "function"),
        _zig_type(r"struct\b", "struct"),
        _zig_type(r"(?:enum|union|error)\b\s*(?:\([^)]*\)\s*)?\{", "enum"),
        Rule(pattern(r"test\s+\"(?P<name>[^\".]*)"), "test"),
        Rule(pattern(r"test\s*(?P<name>\w*)\s*\{"), "test"),
        Rule(
            pattern(_PUB + r"const\s+(?P<name>\w+)\b(?!\s*=\s*@import)"),
            "constant",
            flat=True,
            opens="{([",
        ),
        Rule(pattern(_PUB + r"var\s+(?P<name>\w+)"), "variable", flat=True, opens="{(["),
    ),
    pattern(r"//"),
    comments=(),
    nested=pattern(
        _PUB + r"(?:fn\s+(?=[\w@][^(]*\()|const\s+(?=\w+\s*=\s*(?:extern\s+|packed\s+)?"
        r"(?:struct|enum|union|error)\b))(?P<name>\w+|@\"[^\"]*\")"
    ),
)

SYSTEMS: dict[str, Syntax] = {
    "c": _C,
    "cpp": _C,
    "cuda": _C,
    "go": _GO,
    "rust": _RUST,
    "zig": _ZIG,
}
