"""Outlines by the lines of a text: how the head of a definition is found, and where it ends.

People indent.  A definition begins with a line that looks like one (`heads_web` and the others
beside it have the patterns), and ends with the brace, or the word, that stands where it began, or
before what stands there next.  So each line is looked at once, nothing is kept of a line but how
far it is indented, and a text that no parser takes has an outline, too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from cidx_ref.index.above import first_line
from cidx_ref.index.structure import INNER, OWNER, Definition, Outline
from cidx_ref.index.syntax import (
    CONTAINERS,
    MAX_HEAD_CHARS,
    Heredocs,
    Rule,
    Syntax,
    any_of,
    bare_name,
    begins_with,
    end_of_head,
    is_header,
    opens_near,
    parts_of_name,
    tail_of,
)

__all__ = ["outlined"]

_MAX_DEPTH = 32
_TAB = 4
_DOLLARS = re.compile(r"\$\w*\$")
_BEGIN = re.compile(r"BEGIN\b", re.IGNORECASE)
_END = re.compile(r"END\b\s*(?:\w+\s*)?(?:[;$/]|$)", re.IGNORECASE)
_NAME = re.compile(r"\s*(?P<name>[A-Za-z_]\w*)")
#: What stands for something whose name it does not tell.
_NOBODY = frozenset(("exports", "module", "self", "that", "this"))


class _Open:
    """A definition that has begun, and whose end has not been met."""

    __slots__ = (
        "at",
        "first_member",
        "has_body",
        "indent",
        "kind",
        "lead",
        "name",
        "quotes",
        "rule",
        "start",
    )

    def __init__(self, rule: Rule, name: str, start: int, at: int, indent: int, lead: str) -> None:
        self.rule = rule
        self.kind = rule.kind  # or, where it has no name, that of what it is in
        self.name = name
        self.start = start
        self.at = at  # its place among the definitions, or -1
        self.indent = indent
        self.lead = lead  # the white space of that
        self.has_body = False
        self.quotes = 0  # "$$" of SQL
        self.first_member = -1  # how far the first line in it is indented

    @property
    def is_closed(self) -> bool:
        """Whether whatever is further indented is a part of it, and nothing else."""
        return self.has_body and not self.rule.into

    def is_around(self, line: str, ends: tuple[str, ...]) -> bool:
        """Whether `line` is further indented than this, or `ends` nothing and is not less indented,
        where one has tabs for the other's spaces."""
        lead = self.lead
        if line.startswith(lead):
            return line[len(lead) : len(lead) + 1].isspace()
        bare = line.lstrip()
        own = line[: len(line) - len(bare)]
        if not bare or lead.startswith(own):
            return False
        indent = len(own.expandtabs(_TAB))
        return indent > self.indent or (indent == self.indent and not begins_with(bare, ends))


def outlined(syntax: Syntax, lines: Sequence[str]) -> Outline:
    """The outline of a text of `lines`."""
    reader = _Reader(syntax, lines)
    reader.read()
    # Outer ones first, which begin no later, and end no earlier.
    definitions = sorted(
        (Definition(*each) for each in reader.found), key=lambda each: (each.start, -each.end)
    )
    return Outline(definitions, sorted(reader.names, key=lambda each: each[0]))


class _Reader:
    def __init__(self, syntax: Syntax, lines: Sequence[str]) -> None:
        self._syntax = syntax
        self._any = any_of(syntax.rules)
        self._lines = lines
        self._is_header = syntax.macro is not None and is_header(lines)
        self._stack: list[_Open] = []
        #: Where comments above the next definition may begin.
        self._floor = 0
        self._code = -1  # the last line that is code
        self._heredocs = Heredocs(syntax, lines)
        self._until = 0  # lines before this one have been taken in
        #: Name, kind, start and end of each definition.
        self.found: list[tuple[str, str, int, int]] = []
        self.names: list[tuple[int, str]] = []

    def read(self) -> None:
        closing = ""  # what ends the comment that is open
        ends = self._syntax.ends
        for number, line in enumerate(self._lines):
            if number < self._until:
                self._code = number
                continue
            if closing:
                closing = "" if closing in line else closing
                continue
            self._until = self._heredocs.behind(number, line)
            top = self._stack[-1] if self._stack else None
            if top is not None and top.is_closed and top.is_around(line, ends):
                self._code = number
                if self._syntax.nested is not None:
                    closing = self._look_within(number, line, self._syntax.nested)
                continue
            bare = line.strip()
            if bare:
                closing, bare = self._begun_comment(bare)
            if bare:
                self._line(number, line, bare[:MAX_HEAD_CHARS])
        self._close(-1, len(self._lines))

    def _look_within(self, number: int, line: str, nested: re.Pattern[str]) -> str:
        """Take in the name that a line within a function defines, if it does; what ends the comment
        that it begins, if it goes on."""
        bare = line.strip()
        if met := nested.match(bare[:MAX_HEAD_CHARS]):
            self.names.append((number, INNER + bare_name(met["name"])))
            owned = (part for part in parts_of_name(_of(met)) if part not in _NOBODY)
            self.names += ((number, OWNER + part) for part in owned)
            return ""
        return self._begun_comment(bare)[0]

    def _begun_comment(self, bare: str) -> tuple[str, str]:
        """What ends the comment that the line begins, if it goes on, and the rest of the line."""
        heredoc = self._syntax.heredoc
        if heredoc and bare.endswith(heredoc) and bare.count(heredoc) % 2:
            return heredoc, ""
        for begin, end in self._syntax.comments:
            if bare.startswith(begin):
                _, closed, rest = bare[len(begin) :].partition(end)
                return "" if closed else end, rest.strip()
        return "", bare

    def _line(self, number: int, line: str, bare: str) -> None:
        lead = line[: len(line) - len(line.lstrip())]
        indent = len(lead.expandtabs(_TAB)) if "\t" in lead else len(lead)
        stack = self._stack
        # A comment, or an attribute that has a line of its own.
        if self._syntax.above.match(bare) and (not stack or indent <= stack[-1].indent):
            if stack and (self._syntax.layout or not stack[-1].has_body):
                self._close(indent, number)
            return
        macro = self._syntax.macro
        if macro is not None and bare[0] == "#" and (met := macro.match(bare)):
            self._aside(number, met["name"], indent)
            return
        self._take(number, bare, indent, lead)
        self._code = number

    def _aside(self, number: int, name: str, indent: int) -> None:
        """Take in a macro, which may stand anywhere and ends nothing."""
        end = number + 1
        while end < len(self._lines) and self._lines[end - 1].rstrip().endswith("\\"):
            end += 1
        self.names.append((number, name))
        if not self._stack or self._stack[-1].rule.into:
            self.found.append(
                (name, "macro", first_line(self._syntax, self._lines, number, self._floor), end)
            )
            self._floor = end
        self._code = end - 1
        self._until = end

    def _take(self, number: int, bare: str, indent: int, lead: str) -> None:
        stack = self._stack
        if stack and indent <= stack[-1].indent and self._is_end(number, indent, bare):
            return
        top = stack[-1] if stack else None
        if top is not None and indent > top.indent:
            self._take_within(top, number, bare, indent, lead)
        elif not self._begin(number, bare, indent, lead) and top is not None:
            self._go_on(top, number, bare)

    def _take_within(self, top: _Open, number: int, bare: str, indent: int, lead: str) -> None:
        if top.has_body and top.rule.into:
            # Members are indented more than a label above them, such as ` public:`.
            tail = tail_of(bare, self._syntax.line_comment)
            is_label = tail[-1:] == ":" and self._syntax.more.match(bare)
            if top.first_member < 0 and not is_label:
                top.first_member = indent
            if self._begin(number, bare, indent, lead):
                return
            if indent <= top.first_member:
                self._member(top, number, bare)
        self._go_on(top, number, bare)

    def _go_on(self, top: _Open, number: int, bare: str) -> None:
        if not top.has_body or (self._syntax.statement and not top.rule.into):
            self._head_goes_on(top, number, bare)

    def _member(self, top: _Open, number: int, bare: str) -> None:
        """Take in the names that a line right within `top` defines."""
        if top.rule.members is None or not (met := top.rule.members.match(bare)):
            return
        self._name(number, f"{INNER if top.rule.keys else ''}{met['name']}")
        if top.kind == "enum" and "(" not in bare:
            for met in map(_NAME.match, bare.split(",")[1:]):
                if met:
                    self._name(number, met["name"])

    def _is_end(self, number: int, indent: int, bare: str) -> bool:
        """Whether the line ends the innermost definition, or is certainly a part of it."""
        syntax, top = self._syntax, self._stack[-1]
        if begins_with(bare, syntax.ends) or (top.has_body and bare[0] in ")]"):
            if tail_of(bare, syntax.line_comment)[-1:] in ("{", "("):  # such as `} else {`
                top.has_body = True
                return True
            self._close(indent + 1, number)
            if self._stack and self._stack[-1].indent >= indent:
                self._end(self._stack.pop(), number)
            return True
        if syntax.more.match(bare):
            if not top.has_body or (syntax.statement and not top.rule.into):
                self._head_goes_on(top, number, bare)
            return True
        if syntax.layout or not top.has_body:
            self._close(indent, number)
        return False

    def _begin(self, number: int, bare: str, indent: int, lead: str) -> bool:
        """Begin the definition that the line is the head of, if it is one."""
        first = self._any.match(bare)
        if first is None or len(self._stack) >= _MAX_DEPTH:
            return False
        outer = self._outer(indent)
        rules = self._syntax.rules
        for place in range(int((first.lastgroup or "r0")[1:]), len(rules)):
            rule = rules[place]
            if self._is_out_of_place(rule, outer, indent):
                continue
            met = rule.pattern.match(bare)
            if met is not None and self._has_body(rule, number, outer):
                break
            if met is not None and self._is_header and rule.kind == "function":
                self._declared(rule, met, number)
        else:
            return False
        start = first_line(self._syntax, self._lines, number, self._floor)
        indent = -1 if rule.rest else indent
        self._close(indent, start)
        self._open(rule, met, number, start, indent, lead)
        return True

    def _is_out_of_place(self, rule: Rule, outer: _Open | None, indent: int) -> bool:
        if outer is None:
            return rule.within or (rule.flat and indent > 0)
        if rule.within_kind not in ("", outer.kind) or (rule.flat and indent > outer.first_member):
            return True
        return rule.outside and outer.kind in CONTAINERS

    def _outer(self, indent: int) -> _Open | None:
        """The innermost that is indented less."""
        return next((one for one in reversed(self._stack) if one.indent < indent), None)

    def _has_body(self, rule: Rule, number: int, outer: _Open | None) -> bool:
        if not rule.body:
            return True
        if rule.near and not opens_near(self._lines, number):
            return False
        end = end_of_head(self._lines, number, self._syntax.line_comment, rule.pattern)
        return end == "{" or (end == ";" and outer is not None and outer.kind in rule.bare)

    def _declared(self, rule: Rule, met: re.Match[str], number: int) -> None:
        """Take in the name of a prototype; without a type before it, it is the call of a macro."""
        syntax, typed = self._syntax, met.string[: met.start("name")].strip()
        if typed.startswith("friend "):
            return
        if typed and end_of_head(self._lines, number, syntax.line_comment, rule.pattern) == ";":
            self._name(number, met["name"])

    def _open(
        self, rule: Rule, met: re.Match[str], number: int, start: int, indent: int, lead: str
    ) -> None:
        groups = met.groupdict()
        own = bare_name(groups.get("name") or "")
        outer = self._stack[-1] if self._stack else None
        prefix = outer.name if outer is not None and not rule.whole else ""
        parts = parts_of_name(_of(met))
        name = ".".join(filter(None, (prefix, *parts, *parts_of_name(own))))
        own = own if name != prefix else ""
        at = -1
        if own:
            kind = rule.kind
            in_type = parts or (outer is not None and outer.kind in CONTAINERS)
            if kind == "function" and in_type and not self._syntax.statement:
                kind = "method"
            simple = name.rpartition(".")[2]
            clause = self._syntax.clauses and self.found and self.found[-1][0] == name
            last = len(self.found) - 1
            if clause and all(one.at != last for one in self._stack):
                at = last
            else:
                at = len(self.found)
                self.found.append((name, kind, start, number + 1))
                if kind != "impl":
                    self.names.append((number, INNER * rule.key + simple))
        one = _Open(rule, name, start, at, indent, lead)
        if not own and outer is not None:
            one.kind = outer.kind
        self._stack.append(one)
        self._floor = number + 1
        if rule.rest:
            one.has_body, one.first_member = True, 0
        else:
            self._head_goes_on(one, number, met.string, first=True)

    def _head_goes_on(self, top: _Open, number: int, bare: str, first: bool = False) -> None:
        """See whether the head of `top` ends in this line, and how."""
        syntax = self._syntax
        tail = tail_of(bare, syntax.line_comment)
        last, opened = tail[-1:], tail.count("{") - tail.count("}")
        if top.rule.single is not None and first and top.rule.single.search(tail):
            self._end(self._stack.pop(), number)
        elif last and last in top.rule.opens:
            top.has_body = True
        elif first and top.rule.members is not None and "{" in tail and opened == 0:
            self._members_of_one_line(top, number, tail)
            self._end(self._stack.pop(), number, bare)
        elif syntax.statement:
            self._statement_goes_on(top, number, bare, tail)
        elif last == ";" or (last == "}" and opened <= 0):
            self._end(self._stack.pop(), number, bare)
        else:
            top.has_body |= opened > 0 or syntax.ends[:1] == ("end",)

    def _members_of_one_line(self, top: _Open, number: int, tail: str) -> None:
        assert top.rule.members is not None
        inner = tail.partition("{")[2].rpartition("}")[0]
        for part in inner.replace(";", ";,").split(","):
            if met := top.rule.members.match(part.strip()):
                self._name(number, f"{INNER if top.rule.keys else ''}{met['name']}")

    def _statement_goes_on(self, top: _Open, number: int, bare: str, tail: str) -> None:
        """The same of SQL, where a semicolon ends a statement that has neither quotes nor BEGIN."""
        top.quotes += len(_DOLLARS.findall(bare))
        top.has_body |= _BEGIN.match(bare) is not None
        is_over = _END.match(bare) is not None if top.has_body else tail[-1:] == ";"
        if is_over and top.quotes % 2 == 0:
            self._end(self._stack.pop(), number, bare)

    def _close(self, indent: int, number: int) -> None:
        """End all that are indented at least so much, before the line `number`."""
        last = min(number - 1, self._code)
        while self._stack and self._stack[-1].indent >= indent:
            self._end(self._stack.pop(), last)

    def _end(self, one: _Open, last: int, bare: str = "") -> None:
        """`last` is the last line of `one`."""
        if one.rule.named_at_end is not None:
            line = bare or self._lines[last].strip()[:MAX_HEAD_CHARS]
            if met := one.rule.named_at_end.search(line):
                if one.at < 0:
                    name = ".".join(filter(None, (one.name, met["name"])))
                    self.found.append((name, one.rule.kind, one.start, last + 1))
                self._name(last, met["name"])
        if one.at >= 0:
            name, kind, start, end = self.found[one.at]
            self.found[one.at] = (name, kind, start, max(end, last + 1))
        self._floor = max(self._floor, last + 1)

    def _name(self, number: int, name: str) -> None:
        self.names.append((number, bare_name(name)))


def _of(met: re.Match[str]) -> str:
    """What the definition that was met is a part of; a pattern may have two places for that."""
    groups = met.groupdict()
    return groups.get("of") or groups.get("of_that") or ""
