"""How definitions begin in the languages that have braces: patterns for `patterns`.

A pattern sees one line from its first letter on, and at most some hundred characters of it.
"""

from __future__ import annotations

import re

from cidx_ref.index.patterns import Rule, Syntax

__all__ = ["SYNTAXES"]


def _p(pattern: str, flags: int = 0) -> re.Pattern[str]:
    return re.compile(re.sub(r"\s*\n\s*", "", pattern), flags)


def _words(listed: str) -> str:
    return "(?:" + "|".join(listed.split()) + ")"


#: An annotation in a line of its own.
_ALONE = r"@[\w.:]+(?:\([^()]*(?:\([^()]*\)[^()]*)*\)?)?\s*$"

# Go

_GO = Syntax(
    (
        Rule(
            _p(r"func\s+(?:\(\s*(?:\w+\s+)?\*?\s*(?P<of>\w+)[^)]*\)\s*)?(?P<name>\w+)\s*[\[(]"),
            "function",
            flat=True,
        ),
        Rule(
            _p(r"type\s+(?P<name>\w+)(?:\[[^\]]*\])?\s+struct\b"),
            "struct",
            into=True,
            flat=True,
            members=_p(r"(?P<name>[A-Za-z_]\w*)(?:,\s*\w+)*\s+[\w*\[(<]"),
        ),
        Rule(
            _p(r"type\s+(?P<name>\w+)(?:\[[^\]]*\])?\s+interface\b"),
            "interface",
            into=True,
            flat=True,
            members=_p(r"(?P<name>[A-Za-z_]\w*)\("),
        ),
        Rule(_p(r"type\s+(?P<name>\w+)"), "type", flat=True, opens="{("),
        Rule(
            _p(r"type\s*\($"),
            "",
            into=True,
            flat=True,
            opens="(",
            members=_p(r"(?P<name>[A-Za-z_]\w*)\s+[^=\s]"),
        ),
        Rule(
            _p(r"(?:const|var)\s*\($"),
            "",
            into=True,
            flat=True,
            opens="(",
            members=_p(r"(?P<name>[A-Za-z_]\w*)(?:,\s*\w+)*(?:\s|$)"),
        ),
        Rule(_p(r"const\s+(?P<name>\w+)"), "constant", flat=True, opens="{("),
        Rule(_p(r"var\s+(?P<name>\w+)"), "variable", flat=True, opens="{("),
    ),
    _p(r"//|/\*|\*/"),
)

# Rust

_PUB = r"(?:pub(?:\s*\([^)]*\))?\s+)?"
_RUST = Syntax(
    (
        Rule(
            _p(
                _PUB + r'(?:(?:default|const|async|unsafe|safe|extern(?:\s+"[^"]*")?)\s+)*'
                r"fn\s+(?P<name>\w+)"
            ),
            "function",
        ),
        Rule(
            _p(_PUB + r"(?:struct|union)\s+(?P<name>\w+)"),
            "struct",
            into=True,
            members=_p(_PUB + r"(?P<name>\w+)\s*:(?!:)"),
        ),
        Rule(
            _p(_PUB + r"enum\s+(?P<name>\w+)"),
            "enum",
            into=True,
            members=_p(r"(?P<name>[A-Z]\w*)\s*(?:[,({=]|$)"),
        ),
        Rule(_p(_PUB + r"(?:unsafe\s+)?(?:auto\s+)?trait\s+(?P<name>\w+)"), "trait", into=True),
        Rule(
            _p(
                r"(?:unsafe\s+)?impl\b\s*(?:<[^{]*?>\s+)?(?:[^{]*?\bfor\s+)?"
                r"(?:&\s*)?(?:'\w+\s+)?(?:mut\s+)?(?:dyn\s+)?(?:\w+::)*(?P<name>\w+)"
            ),
            "impl",
            into=True,
        ),
        Rule(_p(_PUB + r"mod\s+(?P<name>\w+)\s*\{"), "module", into=True),
        Rule(_p(r"macro_rules!\s*(?P<name>\w+)"), "macro", opens="{("),
        Rule(
            _p(_PUB + r"(?:const|static)\s+(?:mut\s+)?(?P<name>\w+)\s*:"),
            "constant",
            flat=True,
            opens="{([",
        ),
        Rule(_p(_PUB + r"type\s+(?P<name>\w+)"), "type", flat=True),
    ),
    _p(r"//|/\*|\*/?(?:\s|$)|#!?\[(?:.*\]\s*$|[^\]]*$)"),
)

# Java, C#

_NO_TYPE = (
    r"(?!(?:return|new|throw|else|if|for|while|switch|case|do|try|catch|finally|assert|using|lock|"
    r"yield|await|import|package|goto|break|continue|default|namespace|in|is|as|select|from|where)"
    r"\b)"
)
_TYPE = r"[\w.:]+(?:\s*<[^()=;{}]*>)?(?:\s*\[[\s,]*\])*\??(?:\.\.\.)?"
_ANNOTATIONS = r"(?:@[\w.]+(?:\([^)]*\))?\s+)*"
_JAVA_MODIFIERS = (
    _words(
        "public protected private static final abstract synchronized native strictfp default sealed"
        " non-sealed transient volatile"
    )
    + r"\s+"
)
_JAVA_BEFORE = f"{_ANNOTATIONS}(?:{_JAVA_MODIFIERS}{_ANNOTATIONS})*"
_FIELD = Rule(
    _p(f"{_JAVA_BEFORE}{_NO_TYPE}{_TYPE}\\s+(?P<name>\\w+)\\s*(?:\\[\\])*\\s*(?:=(?!=)|;|,|$)"),
    "field",
    flat=True,
    within=True,
    opens="{([",
)
_BARE = frozenset(("interface", "class", "enum", "trait"))
_JAVA = Syntax(
    (
        Rule(_p(f"{_JAVA_BEFORE}(?:class|record)\\s+(?P<name>\\w+)"), "class", into=True),
        Rule(_p(f"{_JAVA_BEFORE}@?interface\\s+(?P<name>\\w+)"), "interface", into=True),
        Rule(
            _p(f"{_JAVA_BEFORE}enum\\s+(?P<name>\\w+)"),
            "enum",
            into=True,
            members=_p(r"(?P<name>[A-Z]\w*)\s*(?:[,;({]|$)"),
        ),
        Rule(
            _p(r"(?P<name>[A-Z]\w*)\s*(?:\(.*\))?\s*\{$"),
            "constant",
            into=True,
            flat=True,
            within=True,
            within_kind="enum",
        ),
        Rule(
            _p(
                f"{_JAVA_BEFORE}{_NO_TYPE}(?:<[^(]*>\\s*)?{_TYPE}\\s+{_NO_TYPE}"
                r"(?P<name>\w+)\s*\("
            ),
            "function",
            flat=True,
            within=True,
            body=True,
            bare=_BARE,
        ),
        Rule(
            _p(f"{_JAVA_BEFORE}{_NO_TYPE}(?P<name>[A-Z]\\w*)\\s*\\("),
            "function",
            flat=True,
            within=True,
            body=True,
        ),
        Rule(
            _p(
                f"{_ANNOTATIONS}(?=(?:\\w+\\s+)*static\\b)(?=(?:\\w+\\s+)*final\\b)"
                f"(?:{_JAVA_MODIFIERS})*{_TYPE}\\s+(?P<name>\\w+)\\s*(?:=|;|$)"
            ),
            "constant",
            flat=True,
            within=True,
            opens="{([",
        ),
        _FIELD,
    ),
    _p(r"//|/\*|\*/?(?:\s|$)|" + _ALONE),
)

_CS_MODIFIERS = (
    _words(
        "public protected private internal static readonly sealed abstract virtual override async"
        " partial extern unsafe new const volatile required file ref implicit explicit fixed event"
    )
    + r"\s+"
)
_CS_BEFORE = f"(?:\\[[^\\]]*\\]\\s*)*(?:{_CS_MODIFIERS})*"
_CSHARP = Syntax(
    (
        Rule(_p(r"namespace\s+[\w.]+\s*(?:\{|$)"), "", into=True),
        Rule(
            _p(f"{_CS_BEFORE}(?:class|record(?:\\s+(?:class|struct))?)\\s+(?P<name>\\w+)"),
            "class",
            into=True,
        ),
        Rule(_p(f"{_CS_BEFORE}struct\\s+(?P<name>\\w+)"), "struct", into=True),
        Rule(_p(f"{_CS_BEFORE}interface\\s+(?P<name>\\w+)"), "interface", into=True),
        Rule(
            _p(f"{_CS_BEFORE}enum\\s+(?P<name>\\w+)"),
            "enum",
            into=True,
            members=_p(r"(?P<name>[A-Z]\w*)\s*(?:[,=]|$)"),
        ),
        Rule(_p(f"{_CS_BEFORE}delegate\\s+.*?\\b(?P<name>\\w+)\\s*(?:<[^>]*>)?\\("), "type"),
        Rule(
            _p(
                f"{_CS_BEFORE}{_NO_TYPE}{_TYPE}\\s+(?:[\\w.]+(?:<[^()]*>)?\\.)?{_NO_TYPE}"
                r"(?P<name>\w+)\s*(?:<[^(>]*>)?\s*\("
            ),
            "function",
            flat=True,
            within=True,
        ),
        Rule(
            _p(f"{_CS_BEFORE}{_NO_TYPE}(?P<name>~?[A-Z]\\w*)\\s*\\("),
            "function",
            flat=True,
            within=True,
            body=True,
        ),
        Rule(
            _p(f"(?=(?:\\w+\\s+)*const\\b){_CS_BEFORE}{_TYPE}\\s+(?P<name>\\w+)\\s*="),
            "constant",
            flat=True,
            within=True,
            opens="{([",
        ),
        Rule(
            _p(f"{_CS_BEFORE}{_NO_TYPE}{_TYPE}\\s+(?:\\w+\\.)?(?P<name>\\w+)\\s*(?:=|;|\\{{|$)"),
            "field",
            flat=True,
            within=True,
            opens="{([",
        ),
    ),
    _p(r"//|/\*|\*/?(?:\s|$)|\[[A-Za-z](?:.*\]\s*$|[^\]]*$)"),
)

# C and C++

_NOT_C = (
    r"(?!(?:return|else|if|for|while|switch|case|do|goto|typedef|using|namespace|delete|new|throw|"
    r"public|private|protected|default|break|continue|extern\s+\"C\"|template|friend|static_assert"
    r"|co_return|co_await|co_yield|sizeof|defined)\b)"
)
_C_TYPE = r"(?:[\w:]+(?:<[^;{}()=]*>)?(?:::[\w:]+)?|\[\[[^\]]*\]\]|__attribute__\(\([^)]*\)\))"
_C_FUNCTION = (
    _NOT_C + r"(?:" + _C_TYPE + r"[\s*&]+)*?"
    r"(?P<of>(?:\w+(?:<[^;{}()=]*>)?::)*)"
    r"(?!(?:void|int|char|bool|long|float|double|unsigned|auto|decltype|alignas)\b)"
    r"(?P<name>(?:operator\s*(?:\(\)|[^\s\w(]+|\s[\w:]+[\s*&]*)|~?\w+))\s*\((?!\s*\*)"
)
_C = Syntax(
    (
        Rule(
            _p(r'(?:inline\s+)?namespace\b[\w\s:]*(?:\{|$)|extern\s+"C"\s*\{'),
            "",
            into=True,
        ),
        Rule(
            _p(
                r"(?:TEST|TEST_F|TEST_P|TYPED_TEST|BENCHMARK_F)\s*\(\s*(?P<of>\w+)\s*,\s*(?P<name>\w+)"
            ),
            "test",
            body=True,
        ),
        Rule(
            _p(
                r"(?:typedef\s+|static\s+|const\s+|volatile\s+|export\s+)*"
                r"enum(?:\s+(?:class|struct))?(?:\s+(?:[A-Z_]+\s+(?=\w))?(?P<name>\w+))?"
                r"(?:\s*:\s*[\w:\s]+)?\s*(?:\{.*)?$"
            ),
            "enum",
            into=True,
            body=True,
            near=True,
            members=_p(r"(?P<name>[A-Za-z_]\w*)\s*(?:[,=]|$|/[*/])"),
            named_at_end=_p(r"\}\s*(?P<name>\w+)\s*;"),
        ),
        Rule(
            _p(
                r"(?:template\s*<[^{;]*>\s*)?(?:typedef\s+|static\s+|const\s+|export\s+)*"
                r"(?:struct|union)(?:\s+(?:alignas\([^)]*\)|[A-Z_]+(?:\([^)]*\))?\s+(?=\w))*"
                r"(?P<name>[\w:]+))?(?:\s*<[^{;]*>)?(?:\s+final)?(?:\s*:[^;({]+)?\s*(?:\{.*)?$"
            ),
            "struct",
            into=True,
            body=True,
            near=True,
            members=_p(
                r"(?!return\b|typedef\b|using\b|friend\b)(?:[\w:]+(?:<[^;()]*>)?[\s*&]+)+"
                r"(?P<name>\w+)\s*(?:\[[^\]]*\]\s*)*(?::\s*\w+\s*)?(?:[;,=]|\{[^}]*\};)"
            ),
            named_at_end=_p(r"\}\s*\*?(?P<name>\w+)\s*(?:;|,)"),
        ),
        Rule(
            _p(
                r"(?:template\s*<[^{;]*>\s*)?(?:export\s+)?class\s+"
                r"(?:alignas\([^)]*\)\s*|[A-Z_][A-Z_\d]*(?:\([^)]*\))?\s+(?=\w))*"
                r"(?P<name>[\w:]+)(?:\s*<[^{;]*>)?(?:\s+final)?(?:\s*:[^;({]+(?:\([^)]*\)[^;({]*)*)?"
                r"\s*(?:\{.*)?$"
            ),
            "class",
            into=True,
            body=True,
            near=True,
            members=_p(r"(?:virtual\s[^;]*?\b(?P<name>\w+)\s*\([^;]*=\s*0\s*;)"),
        ),
        Rule(_p(r"typedef\b[^{(]*\(\s*[*^]?\s*(?P<name>\w+)\s*\)\s*\("), "type"),
        Rule(_p(r"typedef\b[^{;]*\b(?P<name>\w+)\s*(?:\[[^\]]*\]\s*)*;"), "type"),
        Rule(_p(r"(?:template\s*<[^{;]*>\s*)?using\s+(?P<name>\w+)\s*="), "type", flat=True),
        Rule(_p(_C_FUNCTION), "function", body=True),
        Rule(
            _p(
                r"(?!extern\b)(?:static\s+|inline\s+)*(?:const(?:expr)?)\b"
                + _NOT_C
                + r"(?:\s+\w[\w:]*(?:<[^;{}()=]*>)?[\s*&]*)+?[\s*&](?P<of>(?:\w+::)*)(?P<name>\w+)\s*(?:\[[^\]]*\]\s*)*(?:=(?!=)|;|\{|$)"
            ),
            "constant",
            flat=True,
            outside=True,
            opens="{(",
        ),
        Rule(
            _p(
                r"(?!extern\b|typedef\b|struct\s+\w+\s*;|class\s+\w+\s*;|union\s+\w+\s*;|enum\s+\w+\s*;)"
                + _NOT_C
                + r"(?:\w[\w:]*(?:<[^;{}()=]*>)?[\s*&]+)+(?P<of>(?:\w+::)*)(?P<name>\w+)\s*(?:\[[^\]]*\]\s*)*(?:=(?!=)|;)"
            ),
            "variable",
            flat=True,
            outside=True,
            opens="{(",
        ),
    ),
    _p(
        r"//|/\*|\*/?(?:\s|$)|template\s*<|\[\[|__attribute__|(?:static|extern|inline|const|unsigned|struct)\b[\w\s*]*$|\w+(?:\s*\*+)?$"
    ),
    more=_p(
        r"[{)\]:,|&=.<>?+#-]|(?:public|private|protected|signals|default|case)\b[\w\s]*:|\w+:$"
    ),
    macro=_p(r"#\s*define\s+(?P<name>\w+)"),
)

# JavaScript and TypeScript

_ID = r"[\w$]+"
_EXPORT = r"(?:export\s+)?(?:default\s+)?(?:declare\s+)?"
_FUNCTION = (
    r"(?:async\s*)?(?:function\b|\((?:[^()]|\([^()]*\))*\)\s*(?::[^=]*)?=>|[\w$]+\s*=>|<[^>]*>\s*\(|"
    r"\((?:[^()=]*|\s*\{[^}]*)$)"
)
_WRAPPED = r"(?:[\w$.]+\()?"
_NOT_METHOD = (
    r"(?!(?:if|for|while|switch|catch|return|function|do|else|throw|new|await|yield|typeof|super|"
    r"import|require|with|case|delete|void)\b)"
)
_JS_MODIFIERS = (
    r"(?:(?:public|private|protected|static|async|readonly|abstract|override|get|set|declare|"
    r"accessor)\s+)*"
)
_JS_MEMBERS = _p(_JS_MODIFIERS + _NOT_METHOD + r"(?P<name>#?[\w$]+)[?!]?\s*(?::|=(?!=)|;|\(|<)")
_JS = Syntax(
    (
        Rule(
            _p(_EXPORT + r"(?:async\s+)?function\s*\*?\s*(?P<name>[\w$]+)"),
            "function",
        ),
        Rule(
            _p(_EXPORT + r"(?:abstract\s+)?class\s+(?!extends\b)(?P<name>[\w$]+)"),
            "class",
            into=True,
        ),
        Rule(
            _p(_EXPORT + r"interface\s+(?P<name>[\w$]+)"),
            "interface",
            into=True,
            members=_JS_MEMBERS,
        ),
        Rule(
            _p(_EXPORT + r"(?:const\s+)?enum\s+(?P<name>[\w$]+)"),
            "enum",
            into=True,
            members=_p(r"(?P<name>[\w$]+)\s*(?:[,=]|$)"),
        ),
        Rule(
            _p(_EXPORT + r"(?:namespace|module)\s+(?P<name>[\w$.]+)\s*\{"),
            "module",
            into=True,
        ),
        Rule(_p(r"declare\s+(?:global|module\s+['\"][^'\"]*['\"])\s*\{"), "", into=True),
        Rule(_p(_EXPORT + r"type\s+(?P<name>[\w$]+)\s*(?:<.*)?="), "type", flat=True, opens="{([="),
        Rule(
            _p(
                _EXPORT
                + r"(?:const|let|var)\s+(?P<name>[\w$]+)\s*(?::[^=]*(?:=>[^=]*)?)?=\s*"
                + _WRAPPED
                + _FUNCTION
            ),
            "function",
            opens="{",
        ),
        Rule(
            _p(_EXPORT + r"(?:const|let|var)\s+(?P<name>[\w$]+)\s*=\s*" + _WRAPPED + r"class\b"),
            "class",
            into=True,
        ),
        Rule(
            _p(
                r"(?:(?:window|global|globalThis|self|root|this)\.)?"
                r"(?:module\.)?(?:exports\.)?(?P<of>(?:[\w$]+\.)*)(?<=\.)(?!exports\b)(?P<name>[\w$]+)\s*=\s*"
                + _WRAPPED
                + _FUNCTION
            ),
            "function",
            flat=True,
        ),
        Rule(
            _p(
                r"(?:module\.)?exports\s*=\s*(?:[\w$.]+\()?\{$|export\s+default\s+(?:[\w$.]+\()?\{$"
                r"|(?:module\.)?exports\s*=\s*class\s*(?:extends\b.*)?\{$"
            ),
            "",
            into=True,
            flat=True,
        ),
        Rule(
            _p(
                r"(?:module\.)?exports\s*=\s*(?:class|(?:async\s+)?function\s*\*?)\s+(?P<name>[\w$]+)"
            ),
            "class",
            into=True,
            flat=True,
        ),
        Rule(
            _p(
                r"(?:export\s+)?(?:const|let|var)\s+(?P<name>[\w$]+)\s*(?::[^=]*)?=\s*"
                r"(?:Object\.freeze\()?\{$"
            ),
            "constant",
            into=True,
            flat=True,
        ),
        Rule(
            _p(
                _JS_MODIFIERS
                + r"\*?\s*"
                + _NOT_METHOD
                + r"(?P<name>#?[\w$]+|'[\w$.-]+'|\"[\w$.-]+\")\s*[?!]?\s*(?:<[^({]*>)?\((?!\s*\()"
            ),
            "function",
            flat=True,
            within=True,
            body=True,
            bare=frozenset(("class", "interface")),
        ),
        Rule(
            _p(
                _JS_MODIFIERS
                + _NOT_METHOD
                + r"(?P<name>#?[\w$]+|'[\w$.-]+'|\"[\w$.-]+\")\s*[?!]?(?::[^=]*)?\s*[:=]\s*"
                + _FUNCTION
            ),
            "function",
            flat=True,
            within=True,
        ),
        Rule(
            _p(
                _JS_MODIFIERS + _NOT_METHOD + r"(?P<name>#?[\w$]+)[?!]?\s*(?::(?!:)|=(?![=>])|;$|$)"
            ),
            "field",
            flat=True,
            within=True,
            within_kind="class",
            opens="{([",
        ),
        Rule(
            _p(
                r"(?:export\s+)?(?:declare\s+)?const\s+(?P<name>[\w$]+)\s*(?::[^=]*)?(?:=(?!\s*require\b)|;|$)"
            ),
            "constant",
            flat=True,
            opens="{([",
        ),
        Rule(
            _p(
                r"(?:export\s+)?(?:declare\s+)?(?:let|var)\s+(?P<name>[\w$]+)\s*(?::[^=]*)?(?:=(?!\s*require\b)|;|,|$)"
            ),
            "variable",
            flat=True,
            opens="{([",
        ),
    ),
    _p(r"//|/\*|\*/?(?:\s|$)|" + _ALONE),
)

SYNTAXES: dict[str, Syntax] = {
    "c": _C,
    "cpp": _C,
    "cuda": _C,
    "csharp": _CSHARP,
    "go": _GO,
    "java": _JAVA,
    "javascript": _JS,
    "rust": _RUST,
    "typescript": _JS,
}
