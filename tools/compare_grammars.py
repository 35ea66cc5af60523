#!/usr/bin/env python3
"""JSON Schemas and labelled documents through this server's grammar engine, llguidance and xgrammar, side by side in one run.

For every engine: share of the schemas that compile, share of the documents of compiled schemas that are decided as labelled, compile time,
and time per token mask while the documents are walked token by token (each token must be allowed by the mask before it). A document counts
as accepted when all its tokens are allowed and the text may end after them. Masks are timed twice, on a fresh grammar and again on the
same one. A schema gets --limit seconds of an engine, compilation and both passes together; one that needs more counts as not compiled, and
is listed as timed out.

usage: compare_grammars.py --data schemas.jsonl[.gz] --tokenizer tokenizer.json --binary build/release/src/grammar/grammar_check
                           [--every N] [--limit SECONDS] [--engines ours,llguidance,xgrammar] [--misses FILE]
Data: one {"id", "schema", "tests": [{"valid", "data"}]} per line. Needs: tokenizers, llguidance, xgrammar (with torch).

SPDX-License-Identifier: Apache-2.0
"""
import argparse
import collections
import gzip
import json
import multiprocessing
import subprocess
import time

import tokenizers
from schema_keywords import keywords


TIMED_OUT = "timed out"


def load(args):
    opener = gzip.open if args.data.endswith(".gz") else open
    tokenizer = tokenizers.Tokenizer.from_file(args.tokenizer)
    cases = []
    with opener(args.data, "rt") as file:
        for number, line in enumerate(file):
            if number % args.every != 0:
                continue
            case = json.loads(line)
            tests = []
            for test in case["tests"]:
                text = json.dumps(test["data"], ensure_ascii=False)
                tests.append({"valid": test["valid"], "text": text, "tokens": tokenizer.encode(text, add_special_tokens=False).ids})
            cases.append({"id": case["id"], "schema": case["schema"], "tests": tests})
    return tokenizer, cases


def run_ours(args, tokenizer, cases):
    lines = "\n".join(json.dumps(case) for case in cases)
    output = subprocess.run([args.binary, "--tokenizer", args.tokenizer], input=lines, capture_output=True, text=True, check=True)
    for line in output.stdout.splitlines():
        reply = json.loads(line)
        result = {"error": reply.get("error"), "compile_us": reply["compile_us"], "ok": [], "cold": [], "warm": []}
        for verdict in reply.get("verdicts", []):
            result["ok"].append(verdict["ok"])
            result["cold"] += [t / 1000 for t in verdict.get("mask_ns", [])]
        for verdict in reply.get("again", []):
            result["warm"] += [t / 1000 for t in verdict.get("mask_ns", [])]
        if reply["compile_us"] > args.limit * 1e6:
            result["error"] = TIMED_OUT
        yield result


def walk(make, fill, allowed, accept, ended, tests):
    oks, times = [], []
    for test in tests:
        matcher = make()
        good = True
        for token in test["tokens"]:
            begin = time.perf_counter_ns()
            fill(matcher)
            times.append((time.perf_counter_ns() - begin) / 1000)
            if not allowed(token) or not accept(matcher, token):
                good = False
                break
        oks.append(good and ended(matcher))
    return oks, times


def serve(engine, args, tokenizer, pipe):
    """A process of its own: answers one case after the other, until it is killed over one of them."""
    def asked():
        while True:
            yield pipe.recv()
    for result in engine(args, tokenizer, asked()):
        pipe.send(result)


def within_limit(engine):
    """The same engine, each case with a limit; a process that runs over it is replaced."""
    def run(args, tokenizer, cases):
        child = None
        for case in cases:
            if child is None:
                pipe, end = multiprocessing.Pipe()
                child = multiprocessing.Process(target=serve, args=(engine, args, tokenizer, end), daemon=True)
                child.start()
                end.close()
                pipe.send({"id": "warm-up", "schema": {}, "tests": []})  # libraries are loaded and the vocabulary is read
                pipe.recv()
            pipe.send(case)
            try:
                if pipe.poll(args.limit):
                    yield pipe.recv()
                    continue
                error = TIMED_OUT
            except EOFError:
                error = "the process ended"
            child.kill()
            child.join()
            child = None
            yield {"error": error}
        if child is not None:
            child.kill()
    return run


def run_llguidance(args, tokenizer, cases):
    import llguidance
    import llguidance.numpy
    vocabulary = llguidance.LLTokenizer(open(args.tokenizer).read())
    mask = llguidance.numpy.allocate_token_bitmask(1, vocabulary.vocab_size)
    for case in cases:
        result = {"error": None, "ok": [], "cold": [], "warm": []}
        begin = time.perf_counter_ns()
        try:
            first = llguidance.LLMatcher(vocabulary, llguidance.LLMatcher.grammar_from_json_schema(json.dumps(case["schema"])), log_level=0)
            if first.is_error():
                result["error"] = first.get_error()
        except Exception as error:  # noqa: BLE001
            result["error"] = repr(error)
        result["compile_us"] = (time.perf_counter_ns() - begin) / 1000
        if result["error"] is None:
            for kind in ("cold", "warm"):
                result["ok"], result[kind] = walk(
                    first.deep_copy, lambda m: llguidance.numpy.fill_next_token_bitmask(m, mask, 0),
                    lambda t: bool(mask[0, t // 32] >> (t % 32) & 1), lambda m, t: m.consume_token(t), lambda m: m.is_accepting(), case["tests"])
        yield result


def run_xgrammar(args, tokenizer, cases):
    import xgrammar
    size = tokenizer.get_vocab_size(with_added_tokens=True)
    stops = [i for i in (tokenizer.token_to_id(t) for t in ("<|eot_id|>", "<|end_of_text|>", "<|im_end|>", "<|endoftext|>")) if i is not None]
    info = xgrammar.TokenizerInfo([tokenizer.id_to_token(i) or "" for i in range(size)], vocab_type=xgrammar.VocabType.BYTE_LEVEL,
                                  vocab_size=size, stop_token_ids=stops)
    compiler = xgrammar.GrammarCompiler(info, max_threads=1, cache_enabled=False)
    mask = xgrammar.allocate_token_bitmask(1, size)
    view = mask.numpy()
    for case in cases:
        result = {"error": None, "ok": [], "cold": [], "warm": []}
        begin = time.perf_counter_ns()
        try:
            grammar = compiler.compile_json_schema(json.dumps(case["schema"]), any_whitespace=True, strict_mode=False)
        except Exception as error:  # noqa: BLE001
            result["error"] = repr(error)
        result["compile_us"] = (time.perf_counter_ns() - begin) / 1000
        if result["error"] is None:
            for kind in ("cold", "warm"):
                result["ok"], result[kind] = walk(
                    lambda: xgrammar.GrammarMatcher(grammar), lambda m: m.fill_next_token_bitmask(mask),
                    lambda t: bool(view[0, t // 32] >> (t % 32) & 1), lambda m, t: m.accept_token(t),
                    lambda m: m.accept_token(stops[0]), case["tests"])
        yield result


def quantile(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * q))] if values else float("nan")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--limit", type=float, default=10)
    parser.add_argument("--engines", default="ours,llguidance,xgrammar")
    parser.add_argument("--misses")
    args = parser.parse_args()
    tokenizer, cases = load(args)
    runners = {"ours": run_ours, "llguidance": within_limit(run_llguidance), "xgrammar": within_limit(run_xgrammar)}
    print(f"{len(cases)} schemas, {sum(len(c['tests']) for c in cases)} documents, {tokenizer.get_vocab_size()} tokens")
    print("| engine | compiled | timed out | decided rightly | too strict | too loose | compile median, us | mask median / p99, us | again |")
    print("|---|---|---|---|---|---|---|---|---|")
    misses = []
    for engine in args.engines.split(","):
        compiled = right = strict = loose = total = late = 0
        compile_us, cold, warm = [], [], []
        for case, result in zip(cases, runners[engine](args, tokenizer, cases)):
            if result["error"] is not None:
                misses.append({"engine": engine, "id": case["id"], "error": result["error"]})
                late += result["error"] == TIMED_OUT
                continue
            compiled += 1
            compile_us.append(result["compile_us"])
            cold += result["cold"]
            warm += result["warm"]
            for test, ok in zip(case["tests"], result["ok"]):
                total += 1
                right += ok == test["valid"]
                strict += test["valid"] and not ok
                loose += ok and not test["valid"]
                if ok != test["valid"]:
                    misses.append({"engine": engine, "id": case["id"], "valid": test["valid"], "text": test["text"],
                                   "keywords": sorted(keywords(case["schema"], set()))})
        print(f"| {engine} | {100 * compiled / len(cases):.2f} % | {late} | {100 * right / max(total, 1):.2f} % | {strict} | {loose} | "
              f"{quantile(compile_us, 0.5):.0f} | {quantile(cold, 0.5):.1f} / {quantile(cold, 0.99):.1f} | "
              f"{quantile(warm, 0.5):.1f} / {quantile(warm, 0.99):.1f} |", flush=True)
    if args.misses:
        with open(args.misses, "w") as file:
            for miss in misses:
                file.write(json.dumps(miss) + "\n")
    counts = collections.Counter(m["engine"] for m in misses)
    print("misses:", dict(counts))


if __name__ == "__main__":
    main()
