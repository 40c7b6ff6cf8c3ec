"""How definitions begin in JavaScript, TypeScript and PHP: what `patterns` goes by.

A pattern sees one line from its first letter on, and at most some hundred characters of it.
"""

from __future__ import annotations

import re

from cidx_ref.index.syntax import ALONE, Rule, Syntax, pattern

__all__ = ["WEB"]


def _modifiers(listed: str) -> str:
    return r"(?:@[\w.]+(?:\([^)]*\))?\s+)*(?:(?:" + "|".join(listed.split()) + r")\s+)*"


# JavaScript and TypeScript


_ID = r"[\w$]+"
_EXPORT = r"(?:export\s+)?(?:default\s+)?(?:declare\s+)?"
_FUNCTION = (
    r"(?:async\s*)?(?:function\b|\((?:[^()]|\([^()]*\))*\)\s*(?::[^=]*)?=>|[\w$]+\s*=>|<[^>]*>\s*\(|"
    r"\((?:[^()=]*|\s*\{[^}]*)$)"
)
_WRAPPED = r"(?:[\w$.]+\()?"
#: What is assigned to something that is exported, or to a part of a class.
_ASSIGNED = r"(?:(?:module\.)?exports\.|(?P<of>[A-Z][\w$]*\.(?:prototype\.)?))(?P<name>[\w$]+)\s*="
#: A name is defined where it is, and not where it is given to another one.
_NO_NAME = r"(?![A-Za-z_$][\w$.]*\s*;?$)\S"
#: A function that is told apart from what else stands in a function.
_PLAIN_FUNCTION = (
    r"(?:async\s*)?(?:function\b|\((?:[^()]|\([^()]*\))*\)\s*(?::[^=]*)?=>|[\w$]+\s*=>)"
)
_NOT_METHOD = (
    r"(?!(?:if|for|while|switch|catch|return|function|do|else|throw|new|await|yield|typeof|super|"
    r"with|case|void)\b)"
    # Calls, if not methods that are called so.
    r"(?!(?:import|require|delete)\b(?!\s*\([^()]*\)\s*(?::[^{}]*)?\{$))"
)
_JS_MODIFIERS = (
    r"(?:(?:public|private|protected|static|async|readonly|abstract|override|get|set|declare|"
    r"accessor)\s+)*"
)
# What is around a whole file, for it is no module by itself: a function that is called at once,
# or that is handed to whoever loads it.
_WRAPPER = (
    r";?\s*(?:[!+]|\(\(?)\s*(?:async\s+)?(?:function\s*\w*\s*\([\w\s,$]*\)|\([\w\s,$]*\)\s*=>)\s*\{$"
    r"|(?:define|require)\((?:'[^']*',\s*|\"[^\"]*\",\s*)?(?:\[[^\]]*\],\s*)?"
    r"(?:function\s*\w*\s*\([^()]*\)|\([^()]*\)\s*=>)\s*\{$"
    r"|(?:\$|jQuery)(?:\(document\)\.ready)?\((?:function\s*\([^()]*\)|\([^()]*\)\s*=>)\s*\{$"
)
_JS_MEMBERS = pattern(
    _JS_MODIFIERS + _NOT_METHOD + r"(?P<name>#?[\w$]+)[?!]?\s*(?::|=(?!=)|;|\(|<)"
)
#: Not of what is there under the same name, or another one, anyhow.
_JS_KEYS = pattern(
    r"(?!(?:case|default)\b)(?P<name>[A-Za-z_$][\w$]*)\s*:\s+(?![A-Za-z_$][\w$.]*\s*,?$)\S"
)
_JS = Syntax(
    (
        Rule(pattern(_WRAPPER), "", into=True, flat=True),
        Rule(
            pattern(_EXPORT + r"(?:async\s+)?function\s*\*?\s*(?P<name>[\w$]+)"),
            "function",
        ),
        Rule(
            pattern(_EXPORT + r"(?:abstract\s+)?class\s+(?!extends\b)(?P<name>[\w$]+)"),
            "class",
            into=True,
        ),
        Rule(
            pattern(_EXPORT + r"interface\s+(?P<name>[\w$]+)"),
            "interface",
            into=True,
            members=_JS_MEMBERS,
        ),
        Rule(
            pattern(_EXPORT + r"(?:const\s+)?enum\s+(?P<name>[\w$]+)"),
            "enum",
            into=True,
            members=pattern(r"(?P<name>[\w$]+)\s*(?:[,=]|$)"),
        ),
        Rule(
            pattern(_EXPORT + r"(?:namespace|module)\s+(?P<name>[\w$.]+)\s*\{"),
            "module",
            into=True,
        ),
        Rule(pattern(r"declare\s+(?:global|module\s+['\"][^'\"]*['\"])\s*\{"), "", into=True),
        Rule(
            pattern(_EXPORT + r"type\s+(?P<name>[\w$]+)\s*(?:<.*)?="),
            "type",
            flat=True,
            opens="{([=",
        ),
        Rule(
            pattern(
                _EXPORT
                + r"(?:const|let|var)\s+(?P<name>[\w$]+)\s*(?::[^=]*(?:=>[^=]*)?)?=\s*"
                + _WRAPPED
                + _FUNCTION
            ),
            "function",
            opens="{",
        ),
        Rule(
            pattern(
                _EXPORT + r"(?:const|let|var)\s+(?P<name>[\w$]+)\s*=\s*" + _WRAPPED + r"class\b"
            ),
            "class",
            into=True,
        ),
        Rule(
            pattern(
                r"(?:(?:window|global|globalThis|self|root|this)\.)?"
                r"(?:module\.)?(?:exports\.)?(?P<of>(?:[\w$]+\.)*)(?<=\.)(?!exports\b)(?P<name>[\w$]+)\s*=\s*"
                + _WRAPPED
                + _FUNCTION
            ),
            "function",
            flat=True,
        ),
        Rule(
            pattern(
                r"(?:module\.)?(?:exports\.)?(?P<of>(?:[\w$]+\.)*)(?<=\.)(?!exports\b)(?P<name>[\w$]+)\s*=\s*"
                + _WRAPPED
                + r"class\b"
            ),
            "class",
            into=True,
            flat=True,
        ),
        # What a type's instances have, given to it at once.
        Rule(
            pattern(
                r"(?P<of>(?:[\w$]+\.)+)prototype\s*=\s*(?:[\w$.]+\((?:[\w$.]+,\s*)*)?\{$"
                r"|[\w$.]+\((?P<of_that>(?:[\w$]+\.)+)prototype,\s*(?:[\w$.]+,\s*)*\{$"
            ),
            "constant",
            into=True,
            flat=True,
        ),
        Rule(
            pattern(_ASSIGNED + r"\s*(?:Object\.freeze\()?\{$"),
            "constant",
            into=True,
            flat=True,
            members=_JS_KEYS,
            keys=True,
        ),
        Rule(
            pattern(_ASSIGNED + r"(?!=)\s*(?!void 0)" + _NO_NAME),
            "constant",
            flat=True,
            opens="{([",
        ),
        Rule(
            pattern(
                r"(?:module\.)?exports\s*=\s*(?:[\w$.]+\()?\{$|export\s+default\s+(?:[\w$.]+\()?\{$"
                r"|(?:module\.)?exports\s*=\s*class\s*(?:extends\b.*)?\{$"
            ),
            "",
            into=True,
            flat=True,
            members=_JS_KEYS,
            keys=True,
        ),
        Rule(
            pattern(
                r"(?:module\.)?exports\s*=\s*(?:class|(?:async\s+)?function\s*\*?)\s+(?P<name>[\w$]+)"
            ),
            "class",
            into=True,
            flat=True,
        ),
        Rule(
            pattern(
                r"(?:export\s+)?(?:const|let|var)\s+(?P<name>[\w$]+)\s*(?::[^=]*)?=\s*"
                r"(?:Object\.freeze\()?\{$"
            ),
            "constant",
            into=True,
            flat=True,
            members=_JS_KEYS,
            keys=True,
        ),
        # Of a component, in what its file exports.
        Rule(
            pattern(r"(?:methods|computed|watch|getters|actions|mutations)\s*:\s*\{$"),
            "",
            into=True,
            flat=True,
            within=True,
        ),
        Rule(
            pattern(
                _JS_MODIFIERS
                + r"(?:\*\s*)?"
                + _NOT_METHOD
                + r"(?P<name>#?[\w$]+|'[\w$.-]+'|\"[\w$.-]+\")\s*"
                + r"(?:[?!]\s*)?(?:<[^({]*>)?\((?!\s*\()"
            ),
            "function",
            flat=True,
            within=True,
            body=True,
            bare=frozenset(("class", "interface")),
        ),
        Rule(
            pattern(
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
            pattern(
                _JS_MODIFIERS + _NOT_METHOD + r"(?P<name>#?[\w$]+)[?!]?\s*(?::(?!:)|=(?![=>])|;$|$)"
            ),
            "field",
            flat=True,
            within=True,
            within_kind="class",
            opens="{([",
        ),
        Rule(
            pattern(
                r"(?:export\s+)?(?:declare\s+)?const\s+(?P<name>[\w$]+)\s*(?::[^=]*)?(?:=(?!\s*require\b)|;|$)"
            ),
            "constant",
            flat=True,
            opens="{([",
        ),
        Rule(
            pattern(
                r"(?:export\s+)?(?:declare\s+)?(?:let|var)\s+(?P<name>[\w$]+)\s*(?::[^=]*)?(?:=(?!\s*require\b)|;|,|$)"
            ),
            "variable",
            flat=True,
            opens="{([",
        ),
    ),
    pattern(r"//|/\*|\*/?(?:\s|$)|" + ALONE),
    nested=pattern(
        r"(?:(?:async\s+)?function\b\s*\*?\s*(?=[\w$]+\s*[(<])"
        r"|(?P<of>(?:[\w$]+\.)+)(?!exports\b)(?=[\w$]+\s*=\s*"
        + _PLAIN_FUNCTION
        + r"))(?P<name>[\w$]+)"
    ),
)

# PHP


_PH = _modifiers("public private protected static final abstract readonly")
_PHP = Syntax(
    (
        Rule(
            pattern(_PH + r"function\b\s*&?\s*(?P<name>\w+)\s*\(", re.IGNORECASE),
            "function",
        ),
        Rule(pattern(r"namespace\s+[\w\\]+\s*(?:\{|$)"), "", into=True),
        Rule(pattern(_PH + r"class\s+(?P<name>\w+)", re.IGNORECASE), "class", into=True),
        Rule(pattern(_PH + r"interface\s+(?P<name>\w+)", re.IGNORECASE), "interface", into=True),
        Rule(pattern(_PH + r"trait\s+(?P<name>\w+)", re.IGNORECASE), "trait", into=True),
        Rule(
            pattern(r"enum\s+(?P<name>\w+)\s*(?::|\{|implements|$)", re.IGNORECASE),
            "enum",
            into=True,
            members=pattern(r"case\s+(?P<name>\w+)\s*(?:=|;)"),
        ),
        Rule(
            pattern(_PH + r"const\s+(?:\??[\w\\|]+\s+)?(?P<name>\w+)\s*="),
            "constant",
            flat=True,
            opens="{([",
        ),
        Rule(pattern(r"define\(\s*['\"](?P<name>\w+)['\"]"), "constant", flat=True, opens="{(["),
        Rule(
            pattern(
                r"(?:(?:public|private|protected|static|readonly|var)\s+)+(?:\??[\w\\|]+\s+)?\$(?P<name>\w+)"
            ),
            "field",
            flat=True,
            within=True,
            opens="{([",
        ),
    ),
    pattern(r"//|/\*|\*/?(?:\s|$)|#"),
    more=pattern(r"[{)\]:,|&=.<>?+-]"),
    nested=pattern(_PH + r"function\b\s*&?\s*(?P<name>\w+)\s*\(", re.IGNORECASE),
)

WEB: dict[str, Syntax] = {
    "javascript": _JS,
    "php": _PHP,
    "typescript": _JS,
}
