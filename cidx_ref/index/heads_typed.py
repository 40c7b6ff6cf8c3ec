"""How definitions begin in Java, C#, Kotlin, Scala and Swift: what `patterns` goes by.

A pattern sees one line from its first letter on, and at most some hundred characters of it.
"""

from __future__ import annotations

from cidx_ref.index.syntax import ALONE, Rule, Syntax, pattern

__all__ = ["TYPED"]


def _words(listed: str) -> str:
    return "(?:" + "|".join(listed.split()) + ")"


def _modifiers(listed: str) -> str:
    return r"(?:@[\w.]+(?:\([^)]*\))?\s+)*(?:(?:" + "|".join(listed.split()) + r")\s+)*"


_ABOVE = pattern(r"//|/\*|\*/?(?:\s|$)|" + ALONE)

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
    pattern(
        f"{_JAVA_BEFORE}{_NO_TYPE}{_TYPE}\\s+(?P<name>\\w+)\\s*(?:\\[\\])*\\s*(?:=(?!=)|;|,|$)"
    ),
    "field",
    flat=True,
    within=True,
    opens="{([",
)
_BARE = frozenset(("interface", "class", "enum", "trait"))
_JAVA = Syntax(
    (
        Rule(pattern(f"{_JAVA_BEFORE}(?:class|record)\\s+(?P<name>\\w+)"), "class", into=True),
        Rule(pattern(f"{_JAVA_BEFORE}@?interface\\s+(?P<name>\\w+)"), "interface", into=True),
        Rule(
            pattern(f"{_JAVA_BEFORE}enum\\s+(?P<name>\\w+)"),
            "enum",
            into=True,
            members=pattern(r"(?P<name>[A-Z]\w*)\s*(?:[,;({]|$)"),
        ),
        Rule(
            pattern(r"(?P<name>[A-Z]\w*)\s*(?:\(.*\))?\s*\{$"),
            "constant",
            into=True,
            flat=True,
            within=True,
            within_kind="enum",
        ),
        Rule(
            pattern(
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
            pattern(f"{_JAVA_BEFORE}{_NO_TYPE}(?P<name>[A-Z]\\w*)\\s*\\("),
            "function",
            flat=True,
            within=True,
            body=True,
        ),
        Rule(
            pattern(
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
    pattern(r"//|/\*|\*/?(?:\s|$)|" + ALONE),
    # The methods of a class without a name are told from calls by a modifier.
    nested=pattern(
        r"(?:(?:public|protected|private)\s[^=;(){}\"]*?\b(?=\w+\s*\()"
        r"|(?:(?:final|abstract|static)\s+)*(?:class|record|enum|interface)\s+)(?P<name>\w+)"
    ),
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
        Rule(pattern(r"namespace\s+[\w.]+\s*(?:\{|$)"), "", into=True),
        Rule(
            pattern(f"{_CS_BEFORE}(?:class|record(?:\\s+(?:class|struct))?)\\s+(?P<name>\\w+)"),
            "class",
            into=True,
        ),
        Rule(pattern(f"{_CS_BEFORE}struct\\s+(?P<name>\\w+)"), "struct", into=True),
        Rule(pattern(f"{_CS_BEFORE}interface\\s+(?P<name>\\w+)"), "interface", into=True),
        Rule(
            pattern(f"{_CS_BEFORE}enum\\s+(?P<name>\\w+)"),
            "enum",
            into=True,
            members=pattern(r"(?P<name>[A-Z]\w*)\s*(?:[,=]|$)"),
        ),
        Rule(pattern(f"{_CS_BEFORE}delegate\\s+.*?\\b(?P<name>\\w+)\\s*(?:<[^>]*>)?\\("), "type"),
        Rule(
            pattern(
                f"{_CS_BEFORE}{_NO_TYPE}{_TYPE}\\s+(?:[\\w.]+(?:<[^()]*>)?\\.)?{_NO_TYPE}"
                r"(?P<name>\w+)\s*(?:<[^(>]*>)?\s*\("
            ),
            "function",
            flat=True,
            within=True,
        ),
        Rule(
            pattern(f"{_CS_BEFORE}{_NO_TYPE}(?P<name>~?[A-Z]\\w*)\\s*\\("),
            "function",
            flat=True,
            within=True,
            body=True,
        ),
        Rule(
            pattern(f"(?=(?:\\w+\\s+)*const\\b){_CS_BEFORE}{_TYPE}\\s+(?P<name>\\w+)\\s*="),
            "constant",
            flat=True,
            within=True,
            opens="{([",
        ),
        Rule(
            pattern(
                f"{_CS_BEFORE}{_NO_TYPE}{_TYPE}\\s+(?:\\w+\\.)?(?P<name>\\w+)\\s*(?:=|;|\\{{|$)"
            ),
            "field",
            flat=True,
            within=True,
            opens="{([",
        ),
    ),
    pattern(r"//|/\*|\*/?(?:\s|$)|\[[A-Za-z](?:.*\]\s*$|[^\]]*$)"),
)

# Kotlin


_KT = _modifiers(
    "public private protected internal open abstract final sealed data enum annotation inner value"
    " inline noinline crossinline suspend tailrec operator infix external override lateinit const"
    " expect actual fun(?=\\s+interface) companion(?=\\s+object\\s+\\w)"
)
_KOTLIN = Syntax(
    (
        Rule(
            pattern(
                _KT + r"fun\s+(?:<.*?>\s+)?(?:(?P<of>[\w.]+)(?:<[^()]*>)?\??\.)?"
                r"(?P<name>\w+|`[^`]+`)\s*\("
            ),
            "function",
        ),
        Rule(pattern(_KT + r"interface\s+(?P<name>\w+)"), "interface", into=True),
        Rule(
            pattern(r"(?=(?:[\w@]+\s+)*enum\b)" + _KT + r"class\s+(?P<name>\w+)"),
            "enum",
            into=True,
            members=pattern(r"(?P<name>[A-Z]\w*)\s*(?:[,;({]|$)"),
        ),
        Rule(pattern(_KT + r"(?:class|object)\s+(?P<name>\w+)"), "class", into=True),
        Rule(pattern(_KT + r"companion\s+object\s*(?::[^{]*)?\{"), "", into=True),
        Rule(pattern(_KT + r"typealias\s+(?P<name>\w+)"), "type", flat=True),
        Rule(
            pattern(r"(?=(?:[\w@]+\s+)*const\b)" + _KT + r"val\s+(?P<name>\w+)"),
            "constant",
            flat=True,
            opens="{([",
        ),
        Rule(
            pattern(_KT + r"va[lr]\s+(?:<[^>]*>\s*)?(?:[\w.<>?]+\.)?(?P<name>\w+)"),
            "variable",
            flat=True,
            opens="{([",
        ),
    ),
    _ABOVE,
    nested=pattern(
        _KT + r"(?:fun\s+(?:<.*?>\s+)?(?:[\w.]+(?:<[^()]*>)?\??\.)?(?=[^\s(]+\s*\()"
        r"|(?:class|object|interface)\s+)(?P<name>\w+|`[^`]+`)"
    ),
)

# Swift


_SW = _modifiers(
    "public private fileprivate internal open final static class(?=\\s+(?:func|var|let|override))"
    " override mutating nonmutating convenience required lazy weak unowned dynamic optional"
    " indirect nonisolated async prefix postfix infix (?:private|fileprivate|internal)\\(set\\)"
)
_SWIFT = Syntax(
    (
        Rule(pattern(_SW + r"func\s+(?P<name>\w+|`\w+`|[^\w\s(]+)\s*[(<]"), "function", body=False),
        Rule(
            pattern(_SW + r"(?P<name>init|deinit|subscript)[?!]?\s*[({<]"), "function", within=True
        ),
        Rule(
            pattern(_SW + r"enum\s+(?P<name>\w+)"),
            "enum",
            into=True,
            members=pattern(r"(?:indirect\s+)?case\s+(?P<name>\w+)"),
        ),
        Rule(pattern(_SW + r"struct\s+(?P<name>\w+)"), "struct", into=True),
        Rule(pattern(_SW + r"(?:class|actor)\s+(?P<name>\w+)"), "class", into=True),
        Rule(pattern(_SW + r"protocol\s+(?P<name>\w+)"), "interface", into=True),
        Rule(pattern(_SW + r"extension\s+(?P<name>[\w.]+)"), "impl", into=True),
        Rule(pattern(_SW + r"(?:typealias|associatedtype)\s+(?P<name>\w+)"), "type", flat=True),
        Rule(pattern(_SW + r"let\s+(?P<name>\w+)"), "constant", flat=True, opens="{(["),
        Rule(pattern(_SW + r"var\s+(?P<name>\w+)"), "variable", flat=True, opens="{(["),
    ),
    pattern(r"//|/\*|\*/?(?:\s|$)|#if\b|" + ALONE),
    nested=pattern(_SW + r"(?:func|struct|class|actor|enum|protocol)\s+(?P<name>\w+|`\w+`)"),
)

# Scala


_SC = _modifiers(
    "private(?:\\[\\w+\\])? protected(?:\\[\\w+\\])? final abstract sealed implicit lazy override"
    " case inline opaque open transparent infix export"
)
_SCALA = Syntax(
    (
        Rule(pattern(_SC + r"def\s+(?P<name>\w+|`[^`]+`|[^\w\s(\[]+)"), "function"),
        Rule(pattern(_SC + r"class\s+(?P<name>\w+)"), "class", into=True, opens="{:"),
        Rule(
            pattern(_SC + r"(?:package\s+)?object\s+(?P<name>\w+)"), "module", into=True, opens="{:"
        ),
        Rule(pattern(_SC + r"trait\s+(?P<name>\w+)"), "trait", into=True, opens="{:"),
        Rule(
            pattern(_SC + r"enum\s+(?P<name>\w+)"),
            "enum",
            into=True,
            opens="{:",
            members=pattern(r"case\s+(?P<name>\w+)"),
        ),
        Rule(pattern(r"extension\s*[\[(]"), "", into=True, opens="{)"),
        Rule(pattern(_SC + r"given\s+(?P<name>\w+)"), "variable", flat=True, opens="{:"),
        Rule(pattern(_SC + r"type\s+(?P<name>\w+)"), "type", flat=True),
        Rule(pattern(_SC + r"val\s+(?P<name>\w+)"), "constant", flat=True, opens="{(["),
        Rule(pattern(_SC + r"var\s+(?P<name>\w+)"), "variable", flat=True, opens="{(["),
    ),
    _ABOVE,
    layout=True,
    more=pattern(r"[{)\]:,|&=.<>?+#-]|extends\b|with\b|else\b|derives\b"),
    nested=pattern(_SC + r"(?:def|class|object|trait)\s+(?P<name>\w+|`[^`]+`)"),
)

TYPED: dict[str, Syntax] = {
    "csharp": _CSHARP,
    "java": _JAVA,
    "kotlin": _KOTLIN,
    "scala": _SCALA,
    "swift": _SWIFT,
}
