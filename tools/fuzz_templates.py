#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares our chat template renderer with jinja2, as transformers sets it up, on random small templates.

  python tools/fuzz_templates.py --driver build/release/src/text/text_test [--count 5000] [--seed 1] [--show 20]

A template is made of the statements, filters, tests, methods and operators that chat templates use, with values that mostly have the type
asked for and now and then another. Outputs must be equal to the byte; where the reference raises we must fail. Left out of the comparison:
outputs with addresses, integers beyond 64 bits, and what docs/chat-templates.md tells of limits and differences. The shortest
templates that differ are shown. The same seed makes the same templates.
"""
import argparse
import copy
import json
import random
import re
import signal
import sys
import warnings

import make_template_goldens as goldens
from template_cases import V

VARIABLES = {**V, "tools": [goldens.WEATHER, {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}],
             "add_generation_prompt": True, "bos_token": "<s>", "eos_token": "</s>", "enable_thinking": False, "docs": [{"title": "T", "text": "x\ny"}],
             "call": {"name": "g", "arguments": {"q": "a<b>&'\"", "n": 1, "deep": {"l": [1, None, True, 2.5]}}}}

STRINGS = ["''", "'a'", "'Ab c'", "' x '", "'a,b,,c'", "'12'", "'-3.5'", "'é ß'", "'<b>&'", '"it\'s"', "'a\\nb\\n'", "'{}'", "'%s'", "'user'", "'</think>'", "'x</think>y'", "'\\t'", "'你好'"]
NAMES = ["content", "role", "a", "b", "C", "name", "n", "g", "items", "nope", "arguments", "é"]
STRING_METHODS = ["strip()", "lstrip()", "rstrip()", "upper()", "lower()", "title()", "capitalize()", "swapcase()", "strip('x ')", "lstrip('\\n')", "rstrip('<>')",
                  "replace('a', 'bb')", "replace('a', '', 1)", "removeprefix('<')", "removesuffix('b')", "zfill(5)", "center(7, '*')", "ljust(6)", "rjust(6)", "expandtabs(4)"]
STRING_LISTS = ["split()", "split(',')", "split('</think>')", "rsplit(',', 1)", "split(none, 1)", "splitlines()", "partition('b')", "rpartition(',')", "split('a', -1)", "splitlines(true)"]
STRING_BOOLS = ["startswith('a')", "endswith('b')", "startswith(('a', ' '))", "isdigit()", "isalpha()", "isspace()", "isupper()", "islower()", "isalnum()", "istitle()", "endswith('')"]
STRING_INTS = ["find('b')", "rfind('a')", "count('a')", "count('')", "index('a')", "find('b', 1, 3)"]
STRING_FILTERS = ["trim", "upper", "lower", "title", "capitalize", "string", "e", "safe", "escape", "indent", "indent(2, true)", "indent(2, blank=true)", "indent('> ')", "replace('a', 'z')",
                  "replace('a', 'z', 1)", "trim('x')", "truncate(5)", "truncate(5, true, '…', 0)", "wordwrap(5)", "center(9)", "urlencode", "forceescape", "format('x')", "default('q')", "d('q', true)",
                  "reverse", "tojson", "wordwrap(3, false)", "truncate(length=4, leeway=1)"]
LIST_FILTERS = ["list", "sort", "sort(reverse=true)", "unique", "reverse", "map('string')", "map('upper')", "map('length')", "map(attribute='role')", "map(attribute='n')", "map(attribute='a', default=0)",
                "select", "reject", "select('defined')", "select('string')", "reject('none')", "select('equalto', 1)", "select('in', [1, 2])", "selectattr('role')", "selectattr('role', 'equalto', 'user')",
                "rejectattr('content', 'none')", "selectattr('n', 'defined')", "sort(attribute='n')", "sort(attribute='a', reverse=true)", "unique(attribute='g')", "batch(2)", "batch(2, 'x')", "slice(2)",
                "slice(2, 'f')", "sort(case_sensitive=true)", "map('tojson')", "map('replace', 'a', 'b')", "groupby('g')", "map('default', 'u')", "map('trim')", "map(attribute='parameters.type')",
                "rejectattr('nope')", "map('int')", "map('first')", "unique(true)", "list|list", "selectattr('a', 'gt', 1)", "selectattr('g', 'sameas', none)", "map('indent', 2)"]
TO_STRING = ["join", "join(', ')", "join('-', attribute='n')", "string", "tojson", "tojson(indent=2)", "tojson(ensure_ascii=true)", "tojson(separators=(',', ':'))", "tojson(sort_keys=true)", "first", "last",
             "tojson(indent=1, sort_keys=true)", "join(d=' ')"]
TO_INT = ["length", "count", "sum", "int", "abs", "round", "min", "max", "int(5)", "float", "round(1)", "sum(attribute='a')", "sum(start=3)", "round(0, 'ceil')", "round(2, 'floor')", "float(1.5)",
          "int(base=16)", "filesizeformat"]
TESTS = ["defined", "undefined", "none", "string", "mapping", "iterable", "sequence", "number", "integer", "float", "boolean", "true", "false", "callable", "odd", "even", "divisibleby(3)", "divisibleby 2",
         "equalto('a')", "eq 1", "ne 'a'", "gt 1", "lt 5", "ge 2", "le 2", "in [1, 2, 'a']", "in 'abc'", "sameas none", "sameas true", "lower", "upper", "escaped", "filter", "test"]
TEXTS = ["x", " ", "\n", "\n\n", "  y  ", "<|im_start|>", "\n  ", "a\n  b", "\t", "é", "'\"", "#", "}", "%", "\\n"]


class Maker:
    def __init__(self, rng):
        self.rng = rng
        self.names = [[]]  # variables of the enclosing scopes
        self.loops = 0
        self.macros = []
        self.count = 0

    def of(self, depth, kind):
        if self.rng.random() < 0.06:
            kind = self.rng.choice(["str", "int", "list", "dict", "bool", "any"])
        return getattr(self, "a_" + kind)(depth - 1)

    def local(self):
        known = [n for scope in self.names for n in scope]
        return self.rng.choice(known) if known else "s"

    def a_str(self, d):
        r = self.rng
        leaf = [lambda: r.choice(STRINGS), lambda: "s", lambda: "u", lambda: self.local(), lambda: f"messages[{r.choice(['0', '1', '-1', '2'])}]{r.choice(['.role', '.content', chr(91) + chr(39) + 'content' + chr(39) + ']'])}",
                lambda: "bos_token", lambda: "call.name"] + ([lambda: "missing"] if r.random() < 0.1 else [])
        if d <= 0:
            return r.choice(leaf)()
        s = lambda: self.wrap(self.of(d, "str"))  # noqa: E731
        return r.choice(leaf + [
            lambda: f"{s()}.{r.choice(STRING_METHODS)}", lambda: f"{s()}|{r.choice(STRING_FILTERS)}", lambda: f"{self.wrap(self.of(d, 'list'))}|{r.choice(TO_STRING)}",
            lambda: f"{s()} ~ {self.wrap(self.of(d, 'any'))}", lambda: f"{s()} + {s()}", lambda: f"{s()}[{self.slice(d)}]", lambda: f"{s()} * {r.choice(['0', '2', 'n', '-1'])}",
            lambda: f"{s()} if {self.of(d, 'bool')} else {s()}", lambda: f"({s()} if {self.of(d, 'bool')})", lambda: f"{self.wrap(self.of(d, 'any'))}|{r.choice(TO_STRING)}",
            lambda: f"'%s|%s' % ({s()}, {self.of(d, 'any')})", lambda: f"'{{}}-{{}}'.format({s()}, {self.of(d, 'int')})", lambda: f"{s()}.join({self.of(d, 'list')})",
            lambda: f"{s()} or {s()}", lambda: f"{self.wrap(self.of(d, 'dict'))}.{r.choice(NAMES)}", lambda: f"{self.wrap(self.of(d, 'dict'))}[{s()}]", lambda: f"{self.wrap(self.of(d, 'any'))}|string",
            lambda: self.macro_call(d), lambda: f"{self.wrap(self.of(d, 'list'))}[{r.choice(['0', '-1', '1', '7'])}]", lambda: f"{self.wrap(self.of(d, 'any'))}|tojson"])()

    def a_int(self, d):
        r = self.rng
        leaf = [lambda: r.choice(["0", "1", "2", "-1", "7", "2.5", "n", "f", "true", "10", "1.0", "3"]), lambda: self.local()] + ([lambda: f"loop.{r.choice(['index', 'index0', 'length', 'revindex', 'revindex0', 'depth'])}"] if self.loops else [])
        if d <= 0:
            return r.choice(leaf)()
        i = lambda: self.wrap(self.of(d, "int"))  # noqa: E731
        return r.choice(leaf + [lambda: f"{i()} {r.choice(['+', '-', '*', '//', '%', '/'])} {i()}", lambda: f"-{i()}", lambda: f"{self.wrap(self.of(d, 'any'))}|{r.choice(TO_INT)}",
                                lambda: f"{self.wrap(self.of(d, 'list'))}|{r.choice(TO_INT)}", lambda: f"{self.wrap(self.of(d, 'str'))}.{r.choice(STRING_INTS)}", lambda: f"{self.wrap(self.of(d, 'str'))}|length",
                                lambda: f"{i()} ** {r.choice(['2', '0', '3'])}", lambda: f"{i()}|{r.choice(TO_INT)}", lambda: f"{self.wrap(self.of(d, 'list'))}.{r.choice(['index(1)', 'count(1)'])}"])()

    def a_list(self, d):
        r = self.rng
        leaf = [lambda: r.choice(["l", "e", "words", "people", "messages", "messages", "tools", "tree", "[]", "()", "[1, 'a', none]", "range(3)", "range(5, 0, -2)", "[missing, 1]", "docs", "d", "'abc'", "[[1, 2], [3, 4]]"]),
                lambda: self.local()]
        if d <= 0:
            return r.choice(leaf)()
        a = lambda: self.wrap(self.of(d, "list"))  # noqa: E731
        return r.choice(leaf + [
            lambda: "[" + ", ".join(self.of(d, "any") for _ in range(r.randint(0, 3))) + "]", lambda: f"{a()}|{r.choice(LIST_FILTERS)}", lambda: f"{a()}|{r.choice(LIST_FILTERS)}|list", lambda: f"{a()}[{self.slice(d)}]",
            lambda: f"{a()} + {a()}", lambda: f"{self.wrap(self.of(d, 'str'))}.{r.choice(STRING_LISTS)}", lambda: f"{self.wrap(self.of(d, 'dict'))}.{r.choice(['items()', 'keys()', 'values()', 'items()|list'])}",
            lambda: f"{self.wrap(self.of(d, 'dict'))}|{r.choice(['items', 'dictsort', 'list', 'dictsort(by=' + chr(39) + 'value' + chr(39) + ')', 'dictsort(true)', 'dictsort(reverse=true)', 'length'])}",
            lambda: "(" + ", ".join(self.of(d, "any") for _ in range(r.randint(2, 3))) + ")"])()

    def a_dict(self, d):
        r = self.rng
        leaf = [lambda: r.choice(["d", "nested", "call", "call.arguments", "messages[0]", "people[1]", "{}", "{'a': 1, 'b': 'x'}", "tools[0].function", "dict(a=1)", "namespace(a=1)", "{'items': 1}", "tools[0]"]), lambda: self.local()]
        if d <= 0:
            return r.choice(leaf)()
        return r.choice(leaf + [
            lambda: "{" + ", ".join(f"{r.choice(STRINGS + ['1', 'none', 's'])}: {self.of(d, 'any')}" for _ in range(r.randint(0, 3))) + "}", lambda: f"dict({self.wrap(self.of(d, 'dict'))}, z={self.of(d, 'any')})",
            lambda: f"{self.wrap(self.of(d, 'dict'))}.get({r.choice(['', chr(39) + 'a' + chr(39) + ', '])}{r.choice(STRINGS)})", lambda: f"{self.wrap(self.of(d, 'list'))}|first", lambda: f"{self.wrap(self.of(d, 'list'))}[0]"])()

    def a_bool(self, d):
        r = self.rng
        leaf = [lambda: r.choice(["true", "false", "t", "z", "add_generation_prompt", "enable_thinking", "n", "missing is defined", "e", "tools"]), lambda: self.local()] + (
            [lambda: r.choice(["loop.first", "loop.last", "loop.previtem is defined", "loop.nextitem", "loop.changed(n)"])] if self.loops else [])
        if d <= 0:
            return r.choice(leaf)()
        x = lambda k="any": self.wrap(self.of(d, k))  # noqa: E731
        return r.choice(leaf + [lambda: f"{x()} is {r.choice(['', 'not '])}{r.choice(TESTS)}", lambda: f"{x()} {r.choice(['==', '!='])} {x()}", lambda: f"{x('int')} {r.choice(['<', '>', '<=', '>='])} {x('int')}",
                                lambda: f"{x('str')} {r.choice(['<', '=='])} {x('str')}", lambda: f"{x()} {r.choice(['in', 'not in'])} {x('list')}", lambda: f"{x('str')} in {x('str')}", lambda: f"not {x('bool')}",
                                lambda: f"{x('bool')} and {x('bool')}", lambda: f"{x('bool')} or {x('bool')}", lambda: f"{x('str')}.{r.choice(STRING_BOOLS)}", lambda: f"{x('str')} in {x('dict')}",
                                lambda: f"{x('int')} < {x('int')} <= {x('int')}"])()

    def a_any(self, d):
        return self.of(d, self.rng.choice(["str", "str", "int", "list", "dict", "bool"])) if self.rng.random() < 0.9 else self.rng.choice(["none", "missing", "missing.x", "nested.a[1].b", "z", "loop", "1.5e3", "strftime_now('%d %b %Y %H:%M')", "l.append(1)", "d.pop('b')", "d.update({})",
                                   "raise_exception('no')", "cycler('a', 'b').next()", "joiner()()", "d.copy()", "s.__class__", "x.nope is defined"])

    def slice(self, d):
        r = self.rng
        part = lambda: r.choice(["", "", "1", "-1", "2", "0", "n", "none"])  # noqa: E731
        return f"{part()}:{part()}" + r.choice(["", "", ":" + r.choice(["1", "-1", "2", ""])])

    def wrap(self, text):
        return f"({text})" if any(c in text for c in " -|") and not (text[0] in "'\"([{" and self.rng.random() < 0.3) else text

    def macro_call(self, d):
        if not self.macros:
            return "s"
        arguments = [self.of(d, "any") for _ in range(self.rng.randint(0, 2))]
        if self.rng.random() < 0.3:
            arguments.append(f"b={self.of(d, 'any')}")
        return f"{self.rng.choice(self.macros)}({', '.join(arguments)})"

    # Statements.
    def tag(self, inside, mark="%"):
        r = self.rng
        left, right = r.choice(["", "", "", "-", "-", "+"]) if mark == "%" else r.choice(["", "", "-"]), r.choice(["", "", "", "-", "-", "+"]) if mark == "%" else r.choice(["", "", "-"])
        return "{" + mark + left + " " + inside + " " + right + (mark if mark != "{" else "}") + "}"

    def output(self, d):
        return self.tag(self.a_any(d), "{")

    def body(self, d):
        self.names.append([])
        text = "".join(self.statement(d) for _ in range(self.rng.randint(1, 3)))
        self.names.pop()
        return text

    def statement(self, d):
        r = self.rng
        if d <= 0 or r.random() < 0.35:
            return r.choice(TEXTS) if r.random() < 0.4 else self.output(r.randint(1, 3))
        return r.choice([self.if_, self.for_, self.for_, self.set_, self.set_, self.block_set, self.macro, self.filter_, self.call, self.with_, self.namespace, self.comment, self.raw, self.generation])(d - 1)

    def if_(self, d):
        text = self.tag(f"if {self.a_bool(2)}") + self.body(d)
        while self.rng.random() < 0.3:
            text += self.tag(f"elif {self.a_bool(1)}") + self.body(d)
        if self.rng.random() < 0.4:
            text += self.tag("else") + self.body(d)
        return text + self.tag("endif")

    def for_(self, d):
        r = self.rng
        pair = r.random() < 0.25
        target = r.choice(["k, v", "(k, v)"]) if pair else r.choice(["x", "m", "y"])
        source = r.choice(["d.items()", "call.arguments|items", "d|dictsort", "[[1, 2], (3, 4)]", "{'p': 1, 'q': 2}.items()"]) if pair and r.random() < 0.8 else self.a_list(2)
        self.names.append(["k", "v"] if pair else [target, f"{target}.role", f"{target}['content']"])
        condition = f" if {self.a_bool(1)}" if r.random() < 0.2 else ""
        recursive = " recursive" if not pair and r.random() < 0.08 else ""
        self.loops += 1
        text = self.tag(f"for {target} in {source}{condition}{recursive}") + self.body(d)
        if recursive:
            text += self.tag(r.choice([f"loop({target}.c)", f"loop({target}.c) if {target}.c"]), "{")
        if r.random() < 0.15:
            text += self.tag(f"if {self.a_bool(1)}") + self.tag(r.choice(["break", "continue"])) + self.tag("endif")
        text += self.body(d - 1) if r.random() < 0.3 else ""
        self.loops -= 1
        self.names.pop()
        if r.random() < 0.2:
            text += self.tag("else") + self.body(d)
        return text + self.tag("endfor")

    def set_(self, d):
        r = self.rng
        name = r.choice(["p", "q", "x", "s", "content"])
        text = self.tag(f"set {name} = {self.a_any(2)}") if r.random() < 0.85 else self.tag(f"set {name}, w = {self.a_any(1)}, {self.a_any(1)}")
        self.names[-1].append(name)
        return text

    def block_set(self, d):
        name = self.rng.choice(["p", "q"])
        text = self.tag(f"set {name}{self.rng.choice(['', '', ' | upper', ' | trim'])}") + self.body(d) + self.tag("endset")
        self.names[-1].append(name)
        return text

    def macro(self, d):
        self.count += 1
        name = f"mac{self.count}"
        self.names.append(["a", "b"])
        loops, self.loops = self.loops, 0
        text = self.tag(f"macro {name}({self.rng.choice(['a', 'a, b=1', 'a=none, b=s', ''])})") + self.body(d) + (self.tag("caller()", "{") if self.rng.random() < 0.2 else "") + self.tag("endmacro")
        self.loops = loops
        self.names.pop()
        self.macros.append(name)
        return text

    def filter_(self, d):
        return self.tag(f"filter {self.rng.choice(STRING_FILTERS)}") + self.body(d) + self.tag("endfilter")

    def call(self, d):
        if not self.macros:
            return self.macro(d)
        return self.tag(f"call {self.macro_call(1)}") + self.body(d) + self.tag("endcall")

    def with_(self, d):
        self.names.append(["p"])
        text = self.tag(f"with p = {self.a_any(1)}") + self.body(d) + self.tag("endwith")
        self.names.pop()
        return text

    def namespace(self, d):
        inner = self.tag(f"set ns.v = {self.rng.choice(['ns.v', 'x'])} {self.rng.choice(['+', '~'])} {self.a_any(1)}")
        return self.tag(f"set ns = namespace(v={self.a_any(1)})") + self.tag(f"for x in {self.a_list(1)}") + inner + self.tag("endfor") + self.tag("ns.v", "{")

    def comment(self, d):
        return self.tag(self.rng.choice(["c", "{{ x }}", "\n"]), "#")

    def raw(self, d):
        return "{% raw %}" + self.rng.choice(["{{ x }}", " {% if %} ", "\n a \n"]) + self.tag("endraw")

    def generation(self, d):
        return self.tag("generation") + self.body(d) + self.tag("endgeneration")


def a_template(rng):
    maker = Maker(rng)
    return "".join(maker.statement(rng.choice([0, 1, 2, 3])) for _ in range(rng.randint(1, 4)))


class TooLong(Exception):
    pass


def reference(template):
    def alarm(*_):
        raise TooLong

    signal.signal(signal.SIGALRM, alarm)
    signal.alarm(5)
    try:
        return goldens.render(template, copy.deepcopy(VARIABLES))
    except RecursionError:
        return {"error": "recursion"}
    finally:
        signal.alarm(0)


def compares(want, got):
    """Whether this pair says anything."""
    text = want.get("output", "")
    limits = ("64 bits", "too many", "limit", "too long", "longer than", "nested", "not subscriptable with a slice", "Can only get item pairs")
    return not re.search("0[xX][0-9a-fA-F]{6,}", text.replace("\n", "")) and not ("TooLong" in want.get("error", "")) and not ("output" in want and any(w in got.get("error", "") for w in limits))


def differs(want, got):
    return compares(want, got) and (("error" in want) != ("error" in got) or want.get("output") != got.get("output"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--driver", required=True)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=20)
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # Python's, about what the compiled templates do
    rng = random.Random(args.seed)
    templates = [a_template(rng) for _ in range(args.count)]
    answers = goldens.ask(args.driver, [(t, VARIABLES) for t in templates])
    bad, raised = [], 0
    for template, got in zip(templates, answers, strict=True):
        want = reference(template)
        raised += "error" in want
        if differs(want, got):
            bad.append((template, want, got))
    for template, want, got in sorted(bad, key=lambda b: len(b[0]))[:args.show]:
        print(f"--- {json.dumps(template, ensure_ascii=False)}\nwant {str(want)[:400]}\ngot  {str(got)[:400]}")
    print(f"{len(templates)} templates, {raised} of which the reference refuses; {len(bad)} differ")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
