#!/usr/bin/env python3
"""Serving under load: starts a server, floods it, prints what happened and whether it was good enough; exit code 1 if not.

  python tools/load_test.py connections --binary build/release/sglang --model-path M    2000 streams at once on 64 places
  python tools/load_test.py share --binary build/release/sglang --model-path M          scheduling and HTTP, as shares of a step at batch 32

Needs Python 3.10 with httpx; client and server share the machine. `ulimit -n` must allow the connections.

SPDX-License-Identifier: Apache-2.0
"""
import argparse
import json
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests"))

from kits import idle, load  # noqa: E402
from kits.server import start_server  # noqa: E402

GROWTH_PER_CONNECTION = 64 << 10  # bytes, while it streams
GROWTH_LEFT = 16 << 20            # bytes, when all is over
HEALTH_STEPS = 2
MOST_SHARE = 0.05


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", choices=["connections", "share"])
    parser.add_argument("--binary", required=True)
    parser.add_argument("--model-path", required=True)
    parser.add_argument("--connections", type=int, default=2000)
    parser.add_argument("--running", type=int, default=64, help="--max-running-requests of the server")
    parser.add_argument("--queued", type=int, default=1800, help="--max-queued-requests of the server: the others get a 503")
    parser.add_argument("--prompt-tokens", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--step-seconds", type=float, default=0, help="sleep before each step, for models without weight")
    parser.add_argument("--rounds", type=int, default=2, help="the last one is judged: buffers have their size by then")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def judge_connections(result, args):
    """What is not as it should be."""
    problems = []
    outcomes = dict(result["outcomes"])
    whole = outcomes.pop("whole", 0)
    refused = outcomes.pop(f"503: {load.FULL}", 0)
    if outcomes:
        problems.append(f"errors that nobody configured: {outcomes}")
    # Those who come before a step has begun all wait, so the places of the running ones may or may not add to the room.
    if whole < min(args.queued, args.connections) or whole + refused != args.connections:
        problems.append(f"{whole} whole and {refused} refused, of {args.connections} with {args.queued} places to wait")
    memory = result["rss_bytes"]
    if memory["most"] - memory["before"] > args.connections * GROWTH_PER_CONNECTION:
        problems.append(f"memory grew by {memory['most'] - memory['before'] >> 20} MiB")
    if memory["after"] - memory["before"] > GROWTH_LEFT:
        problems.append(f"{memory['after'] - memory['before'] >> 20} MiB were not given back")
    health = result["health"]
    if health["not_200"] or health["checks"] < 20:
        problems.append(f"health: {health}")
    if health["steps"]["p99"] > HEALTH_STEPS:
        problems.append(f"/health took {health['steps']['p99']} steps at p99")
    return problems


def run_connections(url, pid, args):
    load.connections(url, pid, args.connections, args.prompt_tokens, 1, traced=False)  # every page of the cache, every connection's buffers
    for number in range(args.rounds):
        result = load.connections(url, pid, args.connections, args.prompt_tokens, args.tokens, step_seconds=args.step_seconds)
        if not args.json:
            memory, health, steps = result["rss_bytes"], result["health"], result["steps"]
            print(f"round {number + 1}: {result['outcomes']} in {result['seconds']:.1f} s, {result['tokens_per_s']:.0f} tokens/s\n"
                  f"  first event   median {result['first_event_s']['median']:.2f} s, p99 {result['first_event_s']['p99']:.2f} s\n"
                  f"  steps         {steps['count']}, median {steps['median_s'] * 1e3:.2f} ms, p99 {steps['p99_s'] * 1e3:.2f} ms\n"
                  f"  /health       {health['checks']} checks, median {health['median_s'] * 1e3:.2f} ms, p99 {health['p99_s'] * 1e3:.2f} ms, "
                  f"steps that ended meanwhile: median {health['steps']['median']:.0f}, p99 {health['steps']['p99']}, most {health['steps']['most']}\n"
                  f"  resident MiB  before {memory['before'] >> 20}, most {memory['most'] >> 20}, after {memory['after'] >> 20}")
    return result, judge_connections(result, args)


def run_share(url, pid, args):
    load.share(url, pid, args.batch, tokens=16)  # warm
    results = [load.share(url, pid, args.batch, tokens=max(args.tokens, 64)) for _ in range(args.rounds)]
    for result in results:
        if not args.json:
            parts = ", ".join(f"{name} {100 * value:.2f}%" for name, value in result["share"].items())
            print(f"batch {result['batch']}: {result['steps']} steps, median {result['step_median_s'] * 1e3:.2f} ms; "
                  f"{100 * result['share_of_all']:.2f}% of it besides the model: {parts}")
    best = min(result["share_of_all"] for result in results)
    return results[-1], [] if best < MOST_SHARE else [f"scheduling and HTTP take {100 * best:.1f}% of a step"]


def main():
    args = parse()
    flags = ["--max-running-requests", str(args.running), "--max-queued-requests", str(args.queued), "--log-level-http", "warning"]
    with tempfile.TemporaryDirectory() as folder:
        server = start_server(args.binary, args.model_path, pathlib.Path(folder) / "log", flags)
        try:
            result, problems = (run_connections if args.work == "connections" else run_share)(server.url, server.pid, args)
            idle.check_at_rest(server)
            code = server.stop()
            problems += [f"the server's exit code is {code}"] if code else []
        finally:
            server.kill()
    if args.json:
        print(json.dumps({**result, "problems": problems, "cores": load.cores()}))
    for problem in problems:
        print("not good enough:", problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
