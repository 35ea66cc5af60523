#!/usr/bin/env python3
"""Structured output against independent judges, in both directions: JSON Schema against python-jsonschema, regular expressions and
EBNF against recognisers that know nothing but the definition and take no more than polynomial time.

Never invalid: texts drawn at random from the token masks of random schemas (and, with --data, of real ones) have to be accepted by the judge.
Never too strict, never too loose: texts made by changing those are given to both, which have to agree. Agreement is printed per keyword.

usage: check_structured.py --binary build/release/src/grammar/grammar_check [--schemas 2000] [--expressions 1000] [--data schemas.jsonl[.gz]] [--seed 1]
Needs: jsonschema.

SPDX-License-Identifier: Apache-2.0
"""
import argparse
import collections
import copy
import gzip
import json
import random
import re
import subprocess
import sys

import jsonschema
from schema_keywords import keywords


KEYWORDS = set("""type enum const allOf anyOf oneOf not if then else minLength maxLength pattern format minimum maximum exclusiveMinimum
exclusiveMaximum multipleOf items prefixItems minItems maxItems uniqueItems contains minContains maxContains unevaluatedItems properties required
additionalProperties patternProperties minProperties maxProperties propertyNames dependentRequired dependentSchemas unevaluatedProperties""".split())


def random_schema(rng, depth=0):
    """Every keyword that is enforced has its chance; many combinations make little sense, which is the point."""
    kind = rng.choice(["string", "number", "integer", "boolean", "null", "array", "object", "object", "array", "enum", "logic"]) if depth < 3 else \
        rng.choice(["string", "number", "integer", "boolean", "enum"])
    maybe = lambda p=0.4: rng.random() < p  # noqa: E731
    if kind == "enum":
        values = [1, 2.5, "a", "ab", "b\"c", None, True, [1], {"k": 1}, "\u00e9"]
        return {"const": rng.choice(values)} if maybe(0.2) else {"enum": rng.sample(values, rng.randint(1, 4))}
    if kind == "logic":
        word = rng.choice(["allOf", "anyOf", "oneOf", "not", "if"])
        if word == "not":
            return {"type": rng.choice(["string", "integer", "object"]), "not": random_schema(rng, depth + 1)}
        if word == "if":
            return {"if": random_schema(rng, depth + 1), "then": random_schema(rng, depth + 1), "else": random_schema(rng, depth + 1)}
        return {word: [random_schema(rng, depth + 1) for _ in range(rng.randint(1, 3))]}
    schema = {"type": kind}
    if kind == "string":
        if maybe():
            schema["minLength"] = rng.randint(0, 3)
        if maybe():
            schema["maxLength"] = rng.randint(2, 6)
        if maybe(0.3):
            schema["pattern"] = rng.choice(["^a", "b$", "[0-9]{2}", "^[a-c]*$", "x|y", "^.{2,4}$"])
        if maybe(0.1):
            schema["format"] = rng.choice(["date", "ipv4", "uuid"])
    if kind in ("number", "integer"):
        if maybe():
            schema[rng.choice(["minimum", "exclusiveMinimum"])] = rng.randint(-20, 5)
        if maybe():
            schema[rng.choice(["maximum", "exclusiveMaximum"])] = rng.randint(6, 300)
        if maybe(0.2):
            schema["multipleOf"] = rng.choice([2, 3, 7, 10] + ([0.5, 0.25] if kind == "number" else []))
    if kind == "array":
        if maybe(0.7):
            schema["items"] = random_schema(rng, depth + 1)
        if maybe(0.3):
            schema["prefixItems"] = [random_schema(rng, depth + 1) for _ in range(rng.randint(1, 2))]
        if maybe():
            schema["minItems"] = rng.randint(0, 2)
        if maybe():
            schema["maxItems"] = rng.randint(2, 4)
        if maybe(0.2):
            schema["uniqueItems"] = True
        if maybe(0.15):
            schema["contains"] = random_schema(rng, depth + 1)
            if maybe():
                schema["minContains"] = rng.randint(0, 2)
            if maybe():
                schema["maxContains"] = rng.randint(1, 3)
        if maybe(0.1):
            schema["unevaluatedItems"] = rng.choice([False, True]) if "contains" not in schema else True
    if kind == "object":
        names = rng.sample(["a", "b", "ab", "key", "\u00e9"], rng.randint(0, 3))
        schema["properties"] = {n: random_schema(rng, depth + 1) for n in names}
        if maybe(0.5) and names:
            schema["required"] = rng.sample(names, rng.randint(0, len(names)))
        if maybe():
            schema["additionalProperties"] = rng.choice([False, True, random_schema(rng, depth + 1)])
        if maybe(0.2):
            schema["patternProperties"] = {rng.choice(["^x", "b$", "[0-9]"]): random_schema(rng, depth + 1)}
        if maybe(0.15):
            schema["minProperties"] = rng.randint(0, 2)
        if maybe(0.15):
            schema["maxProperties"] = rng.randint(1, 4)
        if maybe(0.1):
            schema["propertyNames"] = {"maxLength": rng.randint(1, 3)}
        if maybe(0.1) and len(names) > 1:
            schema["dependentRequired"] = {names[0]: [names[1]]}
        if maybe(0.1) and names:
            schema["dependentSchemas"] = {names[0]: random_schema(rng, depth + 1)}
        elif maybe(0.1):
            schema["allOf"] = [{"properties": {"c": random_schema(rng, depth + 1)}}]
            schema["unevaluatedProperties"] = rng.choice([False, random_schema(rng, depth + 1)])
    return schema


def random_regex(rng, depth=0):
    """A tree: ("one", class), ("or" or "then", left, right), ("repeat", what, mark, least, most)."""
    kinds = ["a", "[a-c]", "b", "[^a\\d]", "\\d", "\\w", ".", "x"]
    if depth > 3 or rng.random() < 0.3:
        return ("one", rng.choice(kinds))
    word = rng.randint(0, 4)
    one = random_regex(rng, depth + 1)
    if word == 0:
        return ("or", one, random_regex(rng, depth + 1))
    if word == 1:
        return ("repeat", one, *rng.choice([("*", 0, None), ("+", 1, None), ("?", 0, 1), ("{2}", 2, 2), ("{1,3}", 1, 3), ("{2,}", 2, None),
                                            ("*?", 0, None)]))
    return ("then", one, random_regex(rng, depth + 1))


def regex_text(tree):
    if tree[0] == "one":
        return tree[1]
    if tree[0] == "or":
        return f"({regex_text(tree[1])}|{regex_text(tree[2])})"
    if tree[0] == "repeat":
        return f"(?:{regex_text(tree[1])}){tree[2]}"
    return regex_text(tree[1]) + regex_text(tree[2])


def regex_ends(tree, text, begins):
    """Where matches that begin at one of `begins` can end. Python's `re` judges single characters only: a whole expression with repetitions
    inside of repetitions takes it exponential time."""
    if tree[0] == "one":
        return {i + 1 for i in begins if i < len(text) and re.fullmatch(tree[1], text[i], re.ASCII)}
    if tree[0] == "or":
        return regex_ends(tree[1], text, begins) | regex_ends(tree[2], text, begins)
    if tree[0] == "then":
        return regex_ends(tree[2], text, regex_ends(tree[1], text, begins))
    _, what, _, least, most = tree
    ends, found, times = begins, set(begins) if least == 0 else set(), 0
    while ends and (most is None or times < most):
        ends = regex_ends(what, text, ends)
        times += 1
        if times >= least:
            if most is None and ends <= found:
                break
            found |= ends
    return found


def random_rules(rng):
    """Rules as lists of lists of symbols: an int is a rule, a str a letter."""
    count = rng.randint(2, 4)
    return [[[rng.randrange(count) if rng.random() < 0.45 else rng.choice("ab(") for _ in range(rng.randint(0, 3))]
             for _ in range(rng.randint(1, 3))] for _ in range(count)]


def rules_text(rules):
    name = lambda i: "root" if i == 0 else f"r{i}"  # noqa: E731
    arm = lambda symbols: " ".join(name(s) if isinstance(s, int) else f'"{s}"' for s in symbols) or '""'  # noqa: E731
    return "\n".join(f"{name(i)} ::= " + " | ".join(arm(a) for a in arms) for i, arms in enumerate(rules)) + "\n"


def rules_accept(rules, text):
    """Which ends each rule can reach from each begin, until nothing is new."""
    n = len(text) + 1
    ends = [[set() for _ in range(n)] for _ in rules]
    changed = True
    while changed:
        changed = False
        for r, arms in enumerate(rules):
            for begin in range(n):
                for arm in arms:
                    at = {begin}
                    for symbol in arm:
                        if isinstance(symbol, int):
                            at = set().union(*(ends[symbol][i] for i in at)) if at else at
                        else:
                            at = {i + 1 for i in at if i + 1 < n and text[i] == symbol}
                    if not at <= ends[r][begin]:
                        ends[r][begin] |= at
                        changed = True
    return n - 1 in ends[0][0]


def check_expressions(args, rng, problems):
    """Counts per kind: expressions, drawn texts, compared texts."""
    for kind in ("regex", "ebnf"):
        sources = [random_regex(rng) if kind == "regex" else random_rules(rng) for _ in range(args.expressions)]
        cases = [{"id": i, "kind": kind, "schema": regex_text(s) if kind == "regex" else rules_text(s)} for i, s in enumerate(sources)]
        drawn = run(args.binary, cases, "--draw", str(args.draws))
        judge = (lambda s, t: len(t) in regex_ends(s, t, {0})) if kind == "regex" else rules_accept
        counts = collections.Counter()
        checks = []
        for case, source, reply in zip(cases, sources, drawn):
            counts["expressions"] += 1
            texts = list(reply.get("drawn", []))
            for text in texts:
                if kind == "ebnf" and len(text) > 40:
                    continue  # the judge is cubic
                counts["drawn"] += 1
                if not judge(source, text):
                    problems.append(f"INVALID {kind} {case['schema']!r} <- {text!r}")
            for stuck in reply.get("stuck", []):
                problems.append(f"STUCK {kind} {case['schema']!r} <- {stuck!r}")
            letters = "abcx1" if kind == "regex" else "ab("
            texts = [t[:8] for t in texts] + ["".join(rng.choice(letters) for _ in range(rng.randint(0, 6))) for _ in range(8)]
            tests = [{"valid": judge(source, t), "text": t} for t in texts]
            if "error" in reply:  # refused: then nothing may match
                if any(t["valid"] for t in tests):
                    problems.append(f"REFUSED {kind} {case['schema']!r}: {reply['error']}")
                continue
            checks.append({**case, "tests": tests})
        for case, reply in zip(checks, run(args.binary, checks)):
            for test, verdict in zip(case["tests"], reply["verdicts"]):
                counts["compared"] += 1
                if verdict["ok"] != test["valid"]:
                    problems.append(f"{'TOO STRICT' if test['valid'] else 'TOO LOOSE'} {kind} {case['schema']!r} <- {test['text']!r}")
        print(kind, dict(counts))


def mutations(rng, value):
    """Documents near to `value`."""
    yield value
    for _ in range(4):
        value = copy.deepcopy(value)
        at = value
        while isinstance(at, (list, dict)) and at and rng.random() < 0.7:
            key = rng.choice(list(at)) if isinstance(at, dict) else rng.randrange(len(at))
            if not isinstance(at[key], (list, dict)) or rng.random() < 0.3:
                at[key] = rng.choice([0, 1, 7, -3, 2.5, 100, 5.0, 1e-07, 1.5e+16, -2e-300, "a", "ab", "abc12", "", None, True, [], {}, "2024-02-29", [1, 1], {"a": 1}])
                break
            at = at[key]
        if isinstance(at, dict):
            if at and rng.random() < 0.3:
                at.pop(rng.choice(list(at)))
            if rng.random() < 0.3:
                at[rng.choice(["a", "b", "x1", "zzz", "key"])] = rng.choice([1, "a", None, [2]])
            items = list(at.items())
            rng.shuffle(items)
            at.clear()
            at.update(items)
        if isinstance(at, list) and rng.random() < 0.4:
            at.append(rng.choice([1, "a", 2.5, None]))
        yield value


def run(binary, lines, *options):
    done = subprocess.run([binary, *options], input="\n".join(json.dumps(line) for line in lines), capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"grammar_check failed: {done.stderr[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--schemas", type=int, default=2000)
    parser.add_argument("--expressions", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--data")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    schemas = [random_schema(rng) for _ in range(args.schemas)]
    if args.data:
        opener = gzip.open if args.data.endswith(".gz") else open
        schemas += [json.loads(line)["schema"] for line in opener(args.data, "rt")]
    cases = [{"id": i, "schema": s} for i, s in enumerate(schemas)]
    drawn = run(args.binary, cases, "--draw", str(args.draws))
    checks = []
    counts = collections.Counter()
    by_keyword = collections.defaultdict(lambda: [0, 0])  # compared, agreed
    problems = []
    for case, reply in zip(cases, drawn):
        counts["schemas"] += 1
        if "error" in reply:
            counts["refused"] += 1
            continue
        schema = case["schema"]
        validator = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)(
            schema, format_checker=jsonschema.FormatChecker(["date", "ipv4", "uuid"]))
        tests = []
        for stuck in reply.get("stuck", []):
            counts["stuck"] += 1
            if counts["stuck"] <= 10:
                print(f"STUCK {json.dumps(schema)[:400]} <- {stuck[:300]}")
        for text in reply["drawn"]:
            counts["drawn"] += 1
            value = json.loads(text)
            try:
                good = validator.is_valid(value)
            except Exception:  # noqa: BLE001  references that the validator does not follow, patterns that Python does not read
                counts["not judged"] += 1
                continue
            if not good:
                problems.append(f"INVALID {json.dumps(schema)[:400]} <- {text[:300]}")
            if case["id"] < args.schemas:
                for changed in mutations(rng, value):
                    tests.append({"valid": validator.is_valid(changed), "text": json.dumps(changed, ensure_ascii=rng.random() < 0.5)})
        checks.append({"id": case["id"], "schema": schema, "tests": tests})
    for case, reply in zip(checks, run(args.binary, checks)):
        for test, verdict in zip(case["tests"], reply["verdicts"]):
            counts["accepted" if verdict["ok"] else "rejected"] += 1
            for keyword in keywords(case["schema"], set()) & KEYWORDS:
                by_keyword[keyword][0] += 1
                by_keyword[keyword][1] += verdict["ok"] == test["valid"]
            if verdict["ok"] != test["valid"]:
                problems.append(f"{'TOO STRICT' if test['valid'] else 'TOO LOOSE'} {json.dumps(case['schema'])[:400]} <- {test['text'][:300]}")
    print("| keyword | documents | agreed |\n|---|---|---|")
    for keyword, (compared, agreed) in sorted(by_keyword.items()):
        print(f"| {keyword} | {compared} | {100 * agreed / compared:.2f} % |")
    check_expressions(args, rng, problems)
    print(dict(counts), f"{len(problems)} problems")
    for problem in problems[:40]:
        print(problem)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
