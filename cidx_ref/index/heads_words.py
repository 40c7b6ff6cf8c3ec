"""How definitions begin in Elixir, Haskell, Lua, Ruby, shells and SQL: what `patterns` goes by.

A pattern sees one line from its first letter on, and at most some hundred characters of it.
"""

from __future__ import annotations

import re

from cidx_ref.index.syntax import Rule, Syntax, pattern

__all__ = ["WORDS"]

# Ruby


_RUBY = Syntax(
    (
        Rule(
            pattern(
                r"(?:(?:private|public|protected|private_class_method|module_function|memoize|helper_method)\s+)*"
                r"def\s+(?:self\.|(?P<of>\w+)\.)?(?P<name>\w+[?!=]?|[^\w\s(]+)"
            ),
            "function",
            opens="",
            single=pattern(r"\bend$|def\s+[\w.?!]+(?:\([^)]*\))?\s*=\s*\S"),
        ),
        Rule(pattern(r"class\s*<<"), "", into=True, opens=""),
        Rule(
            pattern(r"class\s+(?P<name>[A-Z][\w:]*)"),
            "class",
            into=True,
            opens="",
            single=pattern(r"\bend$"),
        ),
        Rule(
            pattern(r"module\s+(?P<name>[A-Z][\w:]*)"),
            "module",
            into=True,
            opens="",
            single=pattern(r"\bend$"),
        ),
        Rule(
            pattern(r"(?P<name>[A-Z]\w*)\s*=\s*(?:Struct|Class|Data)\.(?:new|define)\b.*\bdo\b"),
            "class",
            into=True,
            opens="",
        ),
        Rule(
            pattern(r"(?P<name>[A-Z]\w*)\s*(?:\|\|)?=(?![=~])"),
            "constant",
            flat=True,
            opens="{([",
            single=pattern(r"[^\[({,=+\\|&.]$"),
        ),
        Rule(
            pattern(
                r"(?:attr_(?:reader|writer|accessor)|alias_method|alias|scope|define_method)[\s(]+:?(?P<name>\w+[?!]?)"
            ),
            "field",
            flat=True,
            within=True,
            opens="",
            single=pattern(r"[^,(\[{o]$|[^d]o$"),
        ),
    ),
    pattern(r"#"),
    ends=("end", "}"),
    comments=(("=begin", "=end"),),
    heredocs=True,
    line_comment="#",
    more=pattern(
        r"[{)\]:,|&=.<>?+-]|(?:rescue|ensure|else|elsif|when|in|private|protected|public)\b"
    ),
)

# Lua


_LUA = Syntax(
    (
        Rule(
            pattern(r"(?:local\s+)?function\s+(?P<of>(?:\w+[.:])*)(?P<name>\w+)"),
            "function",
            opens="",
            single=pattern(r"\bend[,;]?$"),
        ),
        Rule(
            pattern(r"(?:local\s+)?(?P<of>(?:\w+\.)*)(?P<name>\w+)\s*=\s*function\b"),
            "function",
            opens="",
            single=pattern(r"\bend[,;)]*$"),
        ),
        Rule(
            pattern(r"local\s+(?P<name>\w+)\s*(?:<\w+>\s*)?=(?!\s*require\b)"),
            "variable",
            flat=True,
            opens="{([",
            single=pattern(r"[^\[({,=.]$"),
        ),
        Rule(
            pattern(r"(?P<of>(?:\w+\.)*)(?P<name>\w+)\s*=(?![=]|\s*require\b)"),
            "variable",
            flat=True,
            opens="{([",
            single=pattern(r"[^\[({,=.]$"),
        ),
    ),
    pattern(r"--"),
    ends=("end", "}"),
    comments=(("--[[", "]]"), ("--[=[", "]=]")),
    line_comment="--",
    nested=pattern(
        r"(?:(?:local\s+)?function\s+(?P<of>(?:\w+[.:])*)(?=\w+\s*\()"
        r"|(?P<of_that>(?:\w+\.)+)(?=\w+\s*=\s*function\b))(?P<name>\w+)"
    ),
)

# Elixir


_DO = pattern(r"\bend$|,\s*do:\s*\S|^defstruct\b.*[^,\[]$|^def(?:guardp?|delegate)\b.*[^,]$")
_ELIXIR = Syntax(
    (
        Rule(
            pattern(r"def(?:module|protocol)\s+(?P<name>[A-Z][\w.]*)"),
            "module",
            into=True,
            opens="",
            single=_DO,
        ),
        Rule(
            pattern(r"defimpl\s+(?P<name>[A-Z][\w.]*)(?:,\s*for:\s*[\w.\[\], ]+)?"),
            "impl",
            into=True,
            opens="",
            single=_DO,
        ),
        Rule(
            pattern(r"def(?:macro)p?\s+(?:unquote\()?:?(?P<name>\w+[?!]?)"),
            "macro",
            opens="",
            single=_DO,
        ),
        Rule(
            pattern(r"def(?:p|guard|guardp|delegate|n|np)?\s+(?:unquote\()?:?(?P<name>\w+[?!]?)"),
            "function",
            opens="",
            single=_DO,
        ),
        Rule(
            pattern(r"@(?:type|typep|opaque)\s+(?P<name>\w+)"),
            "type",
            flat=True,
            opens="",
            single=pattern(r"[^{(\[,|:]$"),
        ),
        Rule(
            pattern(r"@(?:callback|macrocallback)\s+(?P<name>\w+[?!]?)"),
            "function",
            flat=True,
            opens="",
            single=pattern(r"[^{(\[,|:]$"),
        ),
        Rule(
            pattern(
                r"@(?!(?:doc|moduledoc|typedoc|spec|impl|behaviour|derive|dialyzer|compile|enforce_keys|"
                r"before_compile|after_compile|external_resource|on_load|on_definition|tag|deprecated|"
                r"since|optional_callbacks|fallback_to_any)\b)(?P<name>\w+)\s+\S"
            ),
            "constant",
            flat=True,
            within=True,
            opens="{([",
            single=pattern(r"[^\[({,=.|]$"),
        ),
    ),
    pattern(r"#|@(?:doc|spec|impl|deprecated|typedoc|tag|dialyzer|since)\b"),
    ends=("end",),
    comments=(),
    heredoc='"""',
    line_comment="#",
    clauses=True,
    nested=pattern(r"def(?:macro)?p?\s+(?!unquote\b)(?P<name>\w+[?!]?)"),
)

# Shell


_SHELL = Syntax(
    (
        Rule(
            pattern(r"function\s+(?P<name>[\w:.@+-]+)"),
            "function",
            opens="{(",
        ),
        Rule(pattern(r"(?P<name>[\w:@+-]+)\s*\(\s*\)"), "function", opens="{("),
        Rule(
            pattern(r"alias\s+(?P<name>[\w.-]+)="), "constant", flat=True, single=pattern(r"[^\\]$")
        ),
        Rule(
            pattern(r"(?:readonly|declare\s+-\w*r\w*)\s+(?P<name>[A-Za-z_]\w*)="),
            "constant",
            flat=True,
            single=pattern(r"[^\\(]$"),
            opens="(",
        ),
        Rule(
            pattern(r"(?:(?:export|declare|typeset)\s+(?:-\w+\s+)?)?(?P<name>[A-Za-z_]\w*)\+?="),
            "variable",
            flat=True,
            single=pattern(r"[^\\(]$"),
            opens="(",
        ),
    ),
    pattern(r"#"),
    ends=("}", ")"),
    comments=(),
    line_comment="#",
    heredocs=True,
    nested=pattern(
        r"(?:function\s+(?=[\w:.@+-]+\s*(?:\(\s*\)\s*)?[{(])|(?=[\w:@+-]+\s*\(\s*\)\s*[{(]))"
        r"(?P<name>[\w:.@+-]+)"
    ),
)

# Haskell


_HASKELL = Syntax(
    (
        Rule(
            pattern(
                r"(?:data|newtype)\s+(?:instance\s+|family\s+)?(?:[^=]*=>\s*)?(?P<name>[A-Z]\w*'?)"
            ),
            "type",
            flat=True,
            into=True,
            opens="",
            members=pattern(r"[{,]\s*(?P<name>[a-z_]\w*)\s*(?:,|::)"),
        ),
        Rule(
            pattern(r"type\s+(?:family\s+|instance\s+)?(?P<name>[A-Z]\w*)"),
            "type",
            flat=True,
            opens="",
        ),
        Rule(
            pattern(r"class\s+(?:[^=]*=>\s*)?(?P<name>[A-Z]\w*)"),
            "interface",
            flat=True,
            into=True,
            opens="",
            members=pattern(r"(?P<name>[a-z_][\w']*)(?:\s*,\s*[a-z_][\w']*)*\s*::"),
        ),
        Rule(
            pattern(
                r"(?:deriving\s+)?instance\s+(?:[^=]*=>\s*)?(?:[\w.]+)\s+[(\[]?(?P<name>[A-Z]\w*)"
            ),
            "impl",
            flat=True,
            opens="",
        ),
        Rule(pattern(r"pattern\s+(?P<name>[A-Z]\w*)"), "function", flat=True, opens=""),
        Rule(
            pattern(
                r"(?:foreign\s+import\s.*?\s)?(?P<name>[a-z_][\w']*)(?:\s*,\s*[a-z_][\w']*)*\s*::"
            ),
            "function",
            flat=True,
            outside=True,
            opens="",
        ),
        Rule(
            pattern(r"\((?P<name>[^\w\s()]+)\)\s*::"), "function", flat=True, outside=True, opens=""
        ),
        Rule(
            pattern(
                r"(?!(?:import|module|where|infix[lr]?|deriving|let|in|if|then|else|case|of|do|type|default)\b)"
                r"(?P<name>[a-z_][\w']*)(?![\w'])[\w\s'()\[\],\"!@~.:{}-]*(?:=(?!=)|\||$)"
            ),
            "function",
            flat=True,
            outside=True,
            opens="",
        ),
    ),
    pattern(r"--|\{-|-\}"),
    ends=(),
    layout=True,
    comments=(("{-", "-}"),),
    line_comment="--",
    more=pattern(r"where\b|[|=,)\]}]|deriving\b"),
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
            pattern(_SQL_BEFORE + r"TABLE\s+" + _SQL_NAME, re.IGNORECASE),
            "table",
            into=True,
            opens="(",
            members=pattern(
                r"(?!(?:PRIMARY|FOREIGN|UNIQUE|CONSTRAINT|CHECK|KEY|INDEX|EXCLUDE|LIKE|PARTITION)\b)"
                r"[\"`\[]?(?P<name>\w+)[\"`\]]?\s+\w",
                re.IGNORECASE,
            ),
        ),
        Rule(pattern(_SQL_BEFORE + r"VIEW\s+" + _SQL_NAME, re.IGNORECASE), "table"),
        Rule(
            pattern(
                _SQL_BEFORE + r"(?:FUNCTION|PROCEDURE|PROC|TRIGGER)\s+" + _SQL_NAME, re.IGNORECASE
            ),
            "function",
            opens="",
        ),
        Rule(
            pattern(_SQL_BEFORE + r"(?:TYPE|DOMAIN)\s+" + _SQL_NAME, re.IGNORECASE),
            "type",
        ),
        Rule(
            pattern(
                _SQL_BEFORE
                + r"(?:INDEX(?:\s+CONCURRENTLY)?|SEQUENCE|SCHEMA|EXTENSION|DATABASE|POLICY)\s+"
                + _SQL_NAME,
                re.IGNORECASE,
            ),
            "variable",
        ),
    ),
    pattern(r"--|/\*"),
    ends=(),
    line_comment="--",
    more=pattern(r"(?!CREATE\b|--|/\*)", re.IGNORECASE),
    statement=True,
)

WORDS: dict[str, Syntax] = {
    "elixir": _ELIXIR,
    "haskell": _HASKELL,
    "lua": _LUA,
    "ruby": _RUBY,
    "shell": _SHELL,
    "sql": _SQL,
}
