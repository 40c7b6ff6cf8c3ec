"""How definitions begin in further languages: patterns for `patterns`.

A pattern sees one line from its first letter on, and at most some hundred characters of it.
"""

from __future__ import annotations

import re

from cidx_ref.index.patterns import Rule, Syntax

__all__ = ["MORE_SYNTAXES"]


def _p(pattern: str, flags: int = 0) -> re.Pattern[str]:
    return re.compile(pattern, flags)


def _modifiers(listed: str) -> str:
    return r"(?:@[\w.]+(?:\([^)]*\))?\s+)*(?:(?:" + "|".join(listed.split()) + r")\s+)*"


#: An annotation in a line of its own.
_ALONE = r"@[\w.:]+(?:\([^()]*(?:\([^()]*\)[^()]*)*\)?)?\s*$"
_ABOVE = _p(r"//|/\*|\*/?(?:\s|$)|" + _ALONE)

# Kotlin

_KT = _modifiers(
    "public private protected internal open abstract final sealed data enum annotation inner value"
    " inline noinline crossinline suspend tailrec operator infix external override lateinit const"
    " expect actual fun(?=\\s+interface) companion(?=\\s+object\\s+\\w)"
)
_KOTLIN = Syntax(
    (
        Rule(
            _p(
                _KT + r"fun\s+(?:<.*?>\s+)?(?:(?P<of>[\w.]+)(?:<[^()]*>)?\??\.)?"
                r"(?P<name>\w+|`[^`]+`)\s*\("
            ),
            "function",
        ),
        Rule(_p(_KT + r"interface\s+(?P<name>\w+)"), "interface", into=True),
        Rule(
            _p(r"(?=(?:[\w@]+\s+)*enum\b)" + _KT + r"class\s+(?P<name>\w+)"),
            "enum",
            into=True,
            members=_p(r"(?P<name>[A-Z]\w*)\s*(?:[,;({]|$)"),
        ),
        Rule(_p(_KT + r"(?:class|object)\s+(?P<name>\w+)"), "class", into=True),
        Rule(_p(_KT + r"companion\s+object\s*(?::[^{]*)?\{"), "", into=True),
        Rule(_p(_KT + r"typealias\s+(?P<name>\w+)"), "type", flat=True),
        Rule(
            _p(r"(?=(?:[\w@]+\s+)*const\b)" + _KT + r"val\s+(?P<name>\w+)"),
            "constant",
            flat=True,
            opens="{([",
        ),
        Rule(
            _p(_KT + r"va[lr]\s+(?:<[^>]*>\s*)?(?:[\w.<>?]+\.)?(?P<name>\w+)"),
            "variable",
            flat=True,
            opens="{([",
        ),
    ),
    _ABOVE,
)

# Swift

_SW = _modifiers(
    "public private fileprivate internal open final static class(?=\\s+(?:func|var|let|override))"
    " override mutating nonmutating convenience required lazy weak unowned dynamic optional"
    " indirect nonisolated async prefix postfix infix (?:private|fileprivate|internal)\\(set\\)"
)
_SWIFT = Syntax(
    (
        Rule(_p(_SW + r"func\s+(?P<name>\w+|`\w+`|[^\w\s(]+)\s*[(<]"), "function", body=False),
        Rule(_p(_SW + r"(?P<name>init|deinit|subscript)[?!]?\s*[({<]"), "function", within=True),
        Rule(
            _p(_SW + r"enum\s+(?P<name>\w+)"),
            "enum",
            into=True,
            members=_p(r"(?:indirect\s+)?case\s+(?P<name>\w+)"),
        ),
        Rule(_p(_SW + r"struct\s+(?P<name>\w+)"), "struct", into=True),
        Rule(_p(_SW + r"(?:class|actor)\s+(?P<name>\w+)"), "class", into=True),
        Rule(_p(_SW + r"protocol\s+(?P<name>\w+)"), "interface", into=True),
        Rule(_p(_SW + r"extension\s+(?P<name>[\w.]+)"), "impl", into=True),
        Rule(_p(_SW + r"(?:typealias|associatedtype)\s+(?P<name>\w+)"), "type", flat=True),
        Rule(_p(_SW + r"let\s+(?P<name>\w+)"), "constant", flat=True, opens="{(["),
        Rule(_p(_SW + r"var\s+(?P<name>\w+)"), "variable", flat=True, opens="{(["),
    ),
    _p(r"//|/\*|\*/?(?:\s|$)|#if\b|" + _ALONE),
)

# Scala

_SC = _modifiers(
    "private(?:\\[\\w+\\])? protected(?:\\[\\w+\\])? final abstract sealed implicit lazy override"
    " case inline opaque open transparent infix export"
)
_SCALA = Syntax(
    (
        Rule(_p(_SC + r"def\s+(?P<name>\w+|`[^`]+`|[^\w\s(\[]+)"), "function"),
        Rule(_p(_SC + r"class\s+(?P<name>\w+)"), "class", into=True, opens="{:"),
        Rule(_p(_SC + r"(?:package\s+)?object\s+(?P<name>\w+)"), "module", into=True, opens="{:"),
        Rule(_p(_SC + r"trait\s+(?P<name>\w+)"), "trait", into=True, opens="{:"),
        Rule(
            _p(_SC + r"enum\s+(?P<name>\w+)"),
            "enum",
            into=True,
            opens="{:",
            members=_p(r"case\s+(?P<name>\w+)"),
        ),
        Rule(_p(r"extension\s*[\[(]"), "", into=True, opens="{)"),
        Rule(_p(_SC + r"given\s+(?P<name>\w+)"), "variable", flat=True, opens="{:"),
        Rule(_p(_SC + r"type\s+(?P<name>\w+)"), "type", flat=True),
        Rule(_p(_SC + r"val\s+(?P<name>\w+)"), "constant", flat=True, opens="{(["),
        Rule(_p(_SC + r"var\s+(?P<name>\w+)"), "variable", flat=True, opens="{(["),
    ),
    _ABOVE,
    layout=True,
    more=_p(r"[{)\]:,|&=.<>?+#-]|extends\b|with\b|else\b|derives\b"),
)

# PHP

_PH = _modifiers("public private protected static final abstract readonly")
_PHP = Syntax(
    (
        Rule(
            _p(_PH + r"function\s*&?\s*(?P<name>\w+)\s*\(", re.IGNORECASE),
            "function",
        ),
        Rule(_p(r"namespace\s+[\w\\]+\s*(?:\{|$)"), "", into=True),
        Rule(_p(_PH + r"class\s+(?P<name>\w+)", re.IGNORECASE), "class", into=True),
        Rule(_p(_PH + r"interface\s+(?P<name>\w+)", re.IGNORECASE), "interface", into=True),
        Rule(_p(_PH + r"trait\s+(?P<name>\w+)", re.IGNORECASE), "trait", into=True),
        Rule(
            _p(r"enum\s+(?P<name>\w+)\s*(?::|\{|implements|$)", re.IGNORECASE),
            "enum",
            into=True,
            members=_p(r"case\s+(?P<name>\w+)\s*(?:=|;)"),
        ),
        Rule(
            _p(_PH + r"const\s+(?:\??[\w\\|]+\s+)?(?P<name>\w+)\s*="),
            "constant",
            flat=True,
            opens="{([",
        ),
        Rule(_p(r"define\(\s*['\"](?P<name>\w+)['\"]"), "constant", flat=True, opens="{(["),
        Rule(
            _p(
                r"(?:(?:public|private|protected|static|readonly|var)\s+)+(?:\??[\w\\|]+\s+)?\$(?P<name>\w+)"
            ),
            "field",
            flat=True,
            within=True,
            opens="{([",
        ),
    ),
    _p(r"//|/\*|\*/?(?:\s|$)|#"),
    more=_p(r"[{)\]:,|&=.<>?+-]"),
)

# Zig

_PUB = r"(?:(?:pub|export|extern(?:\s+\"[^\"]*\")?|inline|noinline|threadlocal|comptime)\s+)*"
_ZIG_MEMBERS = _p(
    r"(?!pub\b|const\b|var\b|fn\b|return\b)(?P<name>\w+|@\"[^\"]*\")\s*(?::|,|=(?!=))"
)


def _zig_type(words: str, kind: str) -> Rule:
    pattern = _PUB + r"const\s+(?P<name>\w+)(?:\s*:[^=]*)?\s*=\s*(?:extern\s+|packed\s+)?" + words
    return Rule(_p(pattern), kind, into=True, members=_ZIG_MEMBERS)


_ZIG = Syntax(
    (
        Rule(_p(_PUB + r"fn\s+(?P<name>\w+|@\"[^\"]*\")\s*\("), "function"),
        _zig_type(r"struct\b", "struct"),
        _zig_type(r"(?:enum|union|error)\b\s*(?:\([^)]*\)\s*)?\{", "enum"),
        Rule(_p(r"test\s+\"(?P<name>[^\".]*)"), "test"),
        Rule(_p(r"test\s*(?P<name>\w*)\s*\{"), "test"),
        Rule(
            _p(_PUB + r"const\s+(?P<name>\w+)\b(?!\s*=\s*@import)"),
            "constant",
            flat=True,
            opens="{([",
        ),
        Rule(_p(_PUB + r"var\s+(?P<name>\w+)"), "variable", flat=True, opens="{(["),
    ),
    _p(r"//"),
    comments=(),
)

# Ruby

_RUBY = Syntax(
    (
        Rule(
            _p(
                r"(?:(?:private|public|protected|private_class_method|module_function|memoize|helper_method)\s+)*"
                r"def\s+(?:self\.|(?P<of>\w+)\.)?(?P<name>\w+[?!=]?|[^\w\s(]+)"
            ),
            "function",
            opens="",
            single=_p(r"\bend$|def\s+[\w.?!]+(?:\([^)]*\))?\s*=\s*\S"),
        ),
        Rule(_p(r"class\s*<<"), "", into=True, opens=""),
        Rule(
            _p(r"class\s+(?P<name>[A-Z][\w:]*)"),
            "class",
            into=True,
            opens="",
            single=_p(r"\bend$"),
        ),
        Rule(
            _p(r"module\s+(?P<name>[A-Z][\w:]*)"),
            "module",
            into=True,
            opens="",
            single=_p(r"\bend$"),
        ),
        Rule(
            _p(r"(?P<name>[A-Z]\w*)\s*=\s*(?:Struct|Class|Data)\.(?:new|define)\b.*\bdo\b"),
            "class",
            into=True,
            opens="",
        ),
        Rule(
            _p(r"(?P<name>[A-Z]\w*)\s*(?:\|\|)?=(?![=~])"),
            "constant",
            flat=True,
            opens="{([",
            single=_p(r"[^\[({,=+\\|&.]$"),
        ),
        Rule(
            _p(
                r"(?:attr_(?:reader|writer|accessor)|alias_method|alias|scope|define_method)[\s(]+:?(?P<name>\w+[?!]?)"
            ),
            "field",
            flat=True,
            within=True,
            opens="",
            single=_p(r"[^,(\[{o]$|[^d]o$"),
        ),
    ),
    _p(r"#"),
    ends=("end", "}"),
    comments=(("=begin", "=end"),),
    line_comment="#",
    more=_p(r"[{)\]:,|&=.<>?+-]|(?:rescue|ensure|else|elsif|when|in|private|protected|public)\b"),
)

# Lua

_LUA = Syntax(
    (
        Rule(
            _p(r"(?:local\s+)?function\s+(?P<of>(?:\w+[.:])*)(?P<name>\w+)"),
            "function",
            opens="",
            single=_p(r"\bend[,;]?$"),
        ),
        Rule(
            _p(r"(?:local\s+)?(?P<of>(?:\w+\.)*)(?P<name>\w+)\s*=\s*function\b"),
            "function",
            opens="",
            single=_p(r"\bend[,;)]*$"),
        ),
        Rule(
            _p(r"local\s+(?P<name>\w+)\s*(?:<\w+>\s*)?=(?!\s*require\b)"),
            "variable",
            flat=True,
            opens="{([",
            single=_p(r"[^\[({,=.]$"),
        ),
        Rule(
            _p(r"(?P<of>(?:\w+\.)*)(?P<name>\w+)\s*=(?![=]|\s*require\b)"),
            "variable",
            flat=True,
            opens="{([",
            single=_p(r"[^\[({,=.]$"),
        ),
    ),
    _p(r"--"),
    ends=("end", "}"),
    comments=(("--[[", "]]"), ("--[=[", "]=]")),
    line_comment="--",
)

# Elixir

_DO = _p(r"\bend$|,\s*do:\s*\S|^defstruct\b.*[^,\[]$|^def(?:guardp?|delegate)\b.*[^,]$")
_ELIXIR = Syntax(
    (
        Rule(
            _p(r"def(?:module|protocol)\s+(?P<name>[A-Z][\w.]*)"),
            "module",
            into=True,
            opens="",
            single=_DO,
        ),
        Rule(
            _p(r"defimpl\s+(?P<name>[A-Z][\w.]*)(?:,\s*for:\s*[\w.\[\], ]+)?"),
            "impl",
            into=True,
            opens="",
            single=_DO,
        ),
        Rule(
            _p(r"def(?:macro)p?\s+(?:unquote\()?:?(?P<name>\w+[?!]?)"),
            "macro",
            opens="",
            single=_DO,
        ),
        Rule(
            _p(r"def(?:p|guard|guardp|delegate|n|np)?\s+(?:unquote\()?:?(?P<name>\w+[?!]?)"),
            "function",
            opens="",
            single=_DO,
        ),
        Rule(
            _p(r"@(?:type|typep|opaque)\s+(?P<name>\w+)"),
            "type",
            flat=True,
            opens="",
            single=_p(r"[^{(\[,|:]$"),
        ),
        Rule(
            _p(r"@(?:callback|macrocallback)\s+(?P<name>\w+)"),
            "function",
            flat=True,
            opens="",
            single=_p(r"[^{(\[,|:]$"),
        ),
        Rule(
            _p(
                r"@(?!(?:doc|moduledoc|typedoc|spec|impl|behaviour|derive|dialyzer|compile|enforce_keys|"
                r"before_compile|after_compile|external_resource|on_load|on_definition|tag|deprecated|"
                r"since|optional_callbacks|fallback_to_any)\b)(?P<name>\w+)\s+\S"
            ),
            "constant",
            flat=True,
            within=True,
            opens="{([",
            single=_p(r"[^\[({,=.|]$"),
        ),
    ),
    _p(r"#|@(?:doc|spec|impl|deprecated|typedoc|tag|dialyzer|since)\b"),
    ends=("end",),
    comments=(),
    heredoc='"""',
    line_comment="#",
    clauses=True,
)

# Shell

_SHELL = Syntax(
    (
        Rule(
            _p(r"function\s+(?P<name>[\w:.@+-]+)"),
            "function",
            opens="{(",
        ),
        Rule(_p(r"(?P<name>[\w:@+-]+)\s*\(\s*\)"), "function", opens="{("),
        Rule(_p(r"alias\s+(?P<name>[\w.-]+)="), "constant", flat=True, single=_p(r"[^\\]$")),
        Rule(
            _p(r"(?:readonly|declare\s+-\w*r\w*)\s+(?P<name>[A-Za-z_]\w*)="),
            "constant",
            flat=True,
            single=_p(r"[^\\(]$"),
            opens="(",
        ),
        Rule(
            _p(r"(?:(?:export|declare|typeset)\s+(?:-\w+\s+)?)?(?P<name>[A-Za-z_]\w*)\+?="),
            "variable",
            flat=True,
            single=_p(r"[^\\(]$"),
            opens="(",
        ),
    ),
    _p(r"#"),
    ends=("}", ")"),
    comments=(),
    line_comment="#",
)

# Haskell

_HASKELL = Syntax(
    (
        Rule(
            _p(r"(?:data|newtype)\s+(?:instance\s+|family\s+)?(?:[^=]*=>\s*)?(?P<name>[A-Z]\w*'?)"),
            "type",
            flat=True,
            into=True,
            opens="",
            members=_p(r"[{,]\s*(?P<name>[a-z_]\w*)\s*(?:,|::)"),
        ),
        Rule(
            _p(r"type\s+(?:family\s+|instance\s+)?(?P<name>[A-Z]\w*)"), "type", flat=True, opens=""
        ),
        Rule(
            _p(r"class\s+(?:[^=]*=>\s*)?(?P<name>[A-Z]\w*)"),
            "interface",
            flat=True,
            into=True,
            opens="",
            members=_p(r"(?P<name>[a-z_][\w']*)(?:\s*,\s*[a-z_][\w']*)*\s*::"),
        ),
        Rule(
            _p(r"(?:deriving\s+)?instance\s+(?:[^=]*=>\s*)?(?:[\w.]+)\s+[(\[]?(?P<name>[A-Z]\w*)"),
            "impl",
            flat=True,
            opens="",
        ),
        Rule(_p(r"pattern\s+(?P<name>[A-Z]\w*)"), "function", flat=True, opens=""),
        Rule(
            _p(r"(?:foreign\s+import\s.*?\s)?(?P<name>[a-z_][\w']*)(?:\s*,\s*[a-z_][\w']*)*\s*::"),
            "function",
            flat=True,
            outside=True,
            opens="",
        ),
        Rule(_p(r"\((?P<name>[^\w\s()]+)\)\s*::"), "function", flat=True, outside=True, opens=""),
        Rule(
            _p(
                r"(?!(?:import|module|where|infix[lr]?|deriving|let|in|if|then|else|case|of|do|type|default)\b)"
                r"(?P<name>[a-z_][\w']*)(?![\w'])[\w\s'()\[\],\"!@~.:{}-]*(?:=(?!=)|\||$)"
            ),
            "function",
            flat=True,
            outside=True,
            opens="",
        ),
    ),
    _p(r"--|\{-|-\}"),
    ends=(),
    layout=True,
    comments=(("{-", "-}"),),
    line_comment="--",
    more=_p(r"where\b|[|=,)\]}]|deriving\b"),
    clauses=True,
)

# SQL

_SQL_NAME = r"(?:IF\s+NOT\s+EXISTS\s+)?(?P<of>(?:[\w\"`\[\]]+\.)*)(?P<name>[\w\"`\[\]]+)"
_SQL_BEFORE = (
    r"CREATE\s+(?:OR\s+(?:REPLACE|ALTER)\s+)?(?:DEFINER\s*=\s*\S+\s+)?"
    r"(?:(?:GLOBAL|LOCAL|TEMP|TEMPORARY|UNLOGGED|EXTERNAL|MATERIALIZED|RECURSIVE|VIRTUAL|FOREIGN|"
    r"UNIQUE|CLUSTERED|NONCLUSTERED|CONSTRAINT|AGGREGATE)\s+)*"
)
_SQL = Syntax(
    (
        Rule(
            _p(_SQL_BEFORE + r"TABLE\s+" + _SQL_NAME, re.IGNORECASE),
            "table",
            into=True,
            opens="(",
            members=_p(
                r"(?!(?:PRIMARY|FOREIGN|UNIQUE|CONSTRAINT|CHECK|KEY|INDEX|EXCLUDE|LIKE|PARTITION)\b)"
                r"[\"`\[]?(?P<name>\w+)[\"`\]]?\s+\w",
                re.IGNORECASE,
            ),
        ),
        Rule(_p(_SQL_BEFORE + r"VIEW\s+" + _SQL_NAME, re.IGNORECASE), "table"),
        Rule(
            _p(_SQL_BEFORE + r"(?:FUNCTION|PROCEDURE|PROC|TRIGGER)\s+" + _SQL_NAME, re.IGNORECASE),
            "function",
            opens="",
        ),
        Rule(
            _p(_SQL_BEFORE + r"(?:TYPE|DOMAIN)\s+" + _SQL_NAME, re.IGNORECASE),
            "type",
        ),
        Rule(
            _p(
                _SQL_BEFORE
                + r"(?:INDEX(?:\s+CONCURRENTLY)?|SEQUENCE|SCHEMA|EXTENSION|DATABASE|POLICY)\s+"
                + _SQL_NAME,
                re.IGNORECASE,
            ),
            "variable",
        ),
    ),
    _p(r"--|/\*"),
    ends=(),
    line_comment="--",
    more=_p(r"(?!CREATE\b|--|/\*)", re.IGNORECASE),
    statement=True,
)

MORE_SYNTAXES: dict[str, Syntax] = {
    "elixir": _ELIXIR,
    "haskell": _HASKELL,
    "kotlin": _KOTLIN,
    "lua": _LUA,
    "php": _PHP,
    "ruby": _RUBY,
    "scala": _SCALA,
    "shell": _SHELL,
    "sql": _SQL,
    "swift": _SWIFT,
    "zig": _ZIG,
}
