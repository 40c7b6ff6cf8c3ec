"""How definitions begin in what configures, builds and describes: CMake, Dockerfiles, GraphQL,
Terraform, makefiles and Protocol Buffers: what `patterns` goes by.

A pattern sees one line from its first letter on, and at most some hundred characters of it.
"""

from __future__ import annotations

import re

from cidx_ref.index.syntax import Rule, Syntax, pattern

__all__ = ["CONFIG"]

_CMAKE = Syntax(
    (
        Rule(
            pattern(r"(?:function|macro)\s*\(\s*(?P<name>[\w-]+)", re.IGNORECASE),
            "function",
            opens=")",
        ),
        Rule(
            pattern(
                r"add_(?:executable|library|custom_target)\s*\(\s*(?P<name>[\w.-]+)", re.IGNORECASE
            ),
            "target",
            key=True,
            opens="",
            single=pattern(r"\)$"),
        ),
        Rule(
            pattern(r"option\s*\(\s*(?P<name>\w+)", re.IGNORECASE),
            "variable",
            key=True,
            opens="",
            single=pattern(r"\)$"),
        ),
    ),
    pattern(r"#"),
    ends=("endfunction", "endmacro", "ENDFUNCTION", "ENDMACRO"),
    comments=(("#[[", "]]"),),
    line_comment="#",
    more=pattern(r"\)"),
)

_DOCKERFILE = Syntax(
    (
        Rule(
            pattern(r"FROM\s+(?:--\S+\s+)*\S+\s+AS\s+(?P<name>[\w.-]+)", re.IGNORECASE),
            "stage",
            into=True,
            flat=True,
            rest=True,
            whole=True,
            key=True,
        ),
        Rule(pattern(r"FROM\s", re.IGNORECASE), "", into=True, flat=True, rest=True, whole=True),
        Rule(
            pattern(r"(?:ARG|ENV)\s+(?P<name>[A-Za-z_]\w*)", re.IGNORECASE),
            "variable",
            flat=True,
            key=True,
            single=pattern(r"[^\\]$"),
        ),
    ),
    pattern(r"#"),
    ends=(),
    comments=(),
    line_comment="#",
    more=pattern(r"[&|\]]"),
    heredocs=True,
)

_GRAPHQL = Syntax(
    (
        Rule(
            pattern(r"(?:extend\s+)?(?:type|interface|input)\s+(?P<name>\w+)"),
            "type",
            into=True,
            members=pattern(r"(?P<name>\w+)\s*[(:]"),
            keys=True,
        ),
        Rule(
            pattern(r"(?:extend\s+)?enum\s+(?P<name>\w+)"),
            "enum",
            into=True,
            members=pattern(r"(?P<name>[A-Z]\w*)\b"),
        ),
        Rule(
            pattern(r"(?:extend\s+)?(?:union|scalar)\s+(?P<name>\w+)"),
            "type",
            opens="",
            single=pattern(r"[^|=]$"),
        ),
        Rule(
            pattern(r"directive\s+@(?P<name>\w+)"), "function", opens="", single=pattern(r"[^(|]$")
        ),
        Rule(pattern(r"(?:query|mutation|subscription|fragment)\s+(?P<name>\w+)"), "function"),
    ),
    pattern(r"#|\"[^\"]+\"$"),
    comments=(),
    heredoc='"""',
    line_comment="#",
    more=pattern(r"[{)\]|&=]"),
)

_HCL = Syntax(
    (
        Rule(
            pattern(r"(?:resource|data)\s+\"?(?P<of>[\w-]+)\"?\s+\"?(?P<name>[\w-]+)\"?\s*\{"),
            "resource",
            key=True,
        ),
        Rule(pattern(r"(?P<of>module)\s+\"(?P<name>[\w-]+)\"\s*\{"), "module", key=True),
        Rule(
            pattern(r"(?:variable|output|provider)\s+\"(?P<name>[\w-]+)\"\s*\{"),
            "variable",
            key=True,
        ),
        Rule(
            pattern(r"locals\s*\{$"),
            "",
            into=True,
            flat=True,
            members=pattern(r"(?P<name>\w+)\s*=(?!=)"),
            keys=True,
        ),
    ),
    pattern(r"#|//|/\*|\*/"),
    line_comment="#",
    heredocs=True,
)

_MAKEFILE = Syntax(
    (
        Rule(pattern(r"define\s+(?P<name>[\w.-]+)"), "function", key=True, flat=True, opens=""),
        Rule(
            pattern(r"(?:(?:export|override)\s+)*(?P<name>[A-Za-z_]\w*)\s*(?:::?:?|[?+!])?="),
            "variable",
            key=True,
            flat=True,
            opens="",
            single=pattern(r"[^\\]$"),
        ),
        Rule(
            pattern(r"(?P<name>[A-Za-z_][\w.-]*)(?:\s+[\w.-]+)*\s*::?(?!=)"),
            "target",
            key=True,
            flat=True,
            opens="",
        ),
    ),
    pattern(r"#"),
    ends=("endef",),
    layout=True,
    comments=(),
    line_comment="#",
    more=pattern(r"[.$@]"),
)

_PROTOBUF = Syntax(
    (
        Rule(
            pattern(r"(?:extend|message)\s+(?P<name>\w+)"),
            "message",
            into=True,
            members=pattern(
                r"(?:(?:repeated|optional|required)\s+)?(?:map\s*<[^>]*>|[\w.]+)\s+(?P<name>\w+)\s*=\s*\d"
            ),
            keys=True,
        ),
        Rule(
            pattern(r"enum\s+(?P<name>\w+)"),
            "enum",
            into=True,
            members=pattern(r"(?P<name>[A-Z]\w*)\s*="),
        ),
        Rule(pattern(r"service\s+(?P<name>\w+)"), "service", into=True),
        Rule(pattern(r"oneof\s+\w+\s*\{$"), "", into=True, within=True),
        Rule(pattern(r"rpc\s+(?P<name>\w+)"), "method", within=True),
    ),
    pattern(r"//|/\*|\*/?(?:\s|$)"),
)

CONFIG: dict[str, Syntax] = {
    "cmake": _CMAKE,
    "dockerfile": _DOCKERFILE,
    "graphql": _GRAPHQL,
    "hcl": _HCL,
    "makefile": _MAKEFILE,
    "protobuf": _PROTOBUF,
}
