#!/usr/bin/env python3
"""Structured output against an independent validator (python-jsonschema), in both directions.

Never invalid: texts drawn at random from the token masks of random schemas (and, with --data, of real ones) have to validate.
Never too strict, never too loose: documents made by changing those are given to the validator and to the grammar, which have to agree.

usage: check_structured.py --binary build/release/src/grammar/grammar_check [--schemas 2000] [--data schemas.jsonl[.gz]] [--seed 1]
Needs: jsonschema.

SPDX-License-Identifier: Apache-2.0
"""
import argparse
import collections
import copy
import gzip
import json
import random
import subprocess
import sys

import jsonschema


def random_schema(rng, depth=0):
    """Every keyword that is enforced has its chance; many combinations make little sense, which is the point."""
    kind = rng.choice(["string", "number", "integer", "boolean", "null", "array", "object", "object", "array", "enum", "logic"]) if depth < 3 else \
        rng.choice(["string", "number", "integer", "boolean", "enum"])
    maybe = lambda p=0.4: rng.random() < p  # noqa: E731
    if kind == "enum":
        return {"enum": rng.sample([1, 2.5, "a", "ab", "b\"c", None, True, [1], {"k": 1}, "\u00e9"], rng.randint(1, 4))}
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
            schema["multipleOf"] = rng.choice([2, 3, 7, 10])
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
    return schema


def mutations(rng, value):
    """Documents near to `value`."""
    yield value
    for _ in range(4):
        value = copy.deepcopy(value)
        at = value
        while isinstance(at, (list, dict)) and at and rng.random() < 0.7:
            key = rng.choice(list(at)) if isinstance(at, dict) else rng.randrange(len(at))
            if not isinstance(at[key], (list, dict)) or rng.random() < 0.3:
                at[key] = rng.choice([0, 1, 7, -3, 2.5, 100, "a", "ab", "abc12", "", None, True, [], {}, "2024-02-29", [1, 1], {"a": 1}])
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
    checks, labels = [], []
    counts = collections.Counter()
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
            if verdict["ok"] != test["valid"]:
                problems.append(f"{'TOO STRICT' if test['valid'] else 'TOO LOOSE'} {json.dumps(case['schema'])[:400]} <- {test['text'][:300]}")
    print(dict(counts), f"{len(problems)} problems")
    for problem in problems[:40]:
        print(problem)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
