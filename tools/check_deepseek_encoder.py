#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares our DeepSeek-V3.2 prompts with the reference encoder, on random conversations.

  python tools/check_deepseek_encoder.py --driver build/release/src/text/text_test --reference FILE [--count 3000] [--seed 1]

FILE: encoding_dsv32.py of the model's repository, or SGLang's copy of it. The first one's text about tools has blank lines that the second
has not; ours follows the second, so they are taken out. Where the reference raises, we must fail.
"""
import argparse
import copy
import importlib.util
import json
import random
import re
import sys

import make_template_goldens as goldens

TEXTS = ["", "Hi", "a\nb", " x ", "é 你好 🙂", "</think>", "<｜User｜>", "\"q\" \\ {x}", "{0}"]
VALUES = ["x", "", "a\"b\n", "<b>", 3, -1, 2.5, 1.0, 1e22, True, None, [], [1, "é"], {}, {"k": [1, {"z": None}]}, "你好"]


def arguments(rng):
    made = {rng.choice(["a", "b", "ключ", "c d"]): rng.choice(VALUES) for _ in range(rng.randint(0, 3))}
    return json.dumps(made, ensure_ascii=rng.random() < 0.5) if rng.random() < 0.4 else made if rng.random() < 0.95 else [1]


def message(rng, calls):
    """One message, mostly one that may follow; `calls`: results that are still to come."""
    if calls and rng.random() < 0.85:
        return {"role": "tool", "tool_call_id": "1", "content": rng.choice(TEXTS)}
    role = rng.choices(["user", "assistant", "system", "developer", "tool", "latest_reminder"], [8, 10, 1, 1, 0.3, 0.2])[0]
    made = {"role": role, "content": rng.choice(TEXTS)}
    if role == "assistant":
        if rng.random() < 0.5:
            made["reasoning_content"] = rng.choice(TEXTS)
        if rng.random() < 0.5:
            made["tool_calls"] = [{"id": str(i), "type": "function", "function": {"name": f"f{i}", "arguments": arguments(rng)}} for i in range(rng.randint(1, 3))]
            if rng.random() < 0.3:
                made["content"] = None
    if role in ("system", "developer") and rng.random() < 0.3:
        made["response_format"] = rng.choice([{"type": "object", "é": [1.0]}, {}])
    return made


def conversation(rng):
    out, open_calls = [], 0
    for _ in range(rng.randint(1, 7)):
        out.append(message(rng, open_calls))
        open_calls = len(out[-1].get("tool_calls", [])) or (max(open_calls - 1, 0) if out[-1]["role"] == "tool" else 0)
    tools = [t if rng.random() < 0.8 else {**t, "function": {**t["function"], "é": 1.0}} for t in [goldens.WEATHER, goldens.WEATHER][:rng.randint(0, 2)]]
    return {"messages": out, "tools": tools or None, "thinking": rng.random() < 0.6}


def reference(module, variables):
    messages = copy.deepcopy(variables["messages"])
    for m in messages:
        m["content"] = m["content"] or ""
        for call in m.get("tool_calls", []):  # the first version of the encoder takes text only
            if not isinstance(call["function"]["arguments"], str):
                call["function"]["arguments"] = json.dumps(call["function"]["arguments"])
    if messages[0]["role"] != "system":
        messages.insert(0, {"role": "system", "content": ""})
    if variables["tools"]:
        messages[0]["tools"] = variables["tools"]
    thinking = variables["thinking"]
    try:
        kept = module.drop_thinking_messages(messages) if thinking else messages
        return module.encode_messages(kept, thinking_mode="thinking" if thinking else "chat", drop_thinking=False)
    except Exception:  # whatever it raises
        return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--driver", required=True)
    parser.add_argument("--reference", required=True)
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    spec = importlib.util.spec_from_file_location("encoding", args.reference)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.TOOLS_SYSTEM_TEMPLATE = re.sub(r"\n\n+", "\n", module.TOOLS_SYSTEM_TEMPLATE)
    rng = random.Random(args.seed)
    rows = [conversation(rng) for _ in range(args.count)]
    bad = raised = 0
    for variables, got in zip(rows, goldens.ask(args.driver, [("deepseek-v3.2", v) for v in rows]), strict=True):
        want = reference(module, variables)
        raised += want is None
        if want != got.get("output"):
            bad += 1
            if bad <= 10:
                print(f"--- {json.dumps(variables, ensure_ascii=False)}\nwant {want!r}\ngot  {got}")
    print(f"{args.count} conversations, {raised} of which the reference refuses; {bad} differ")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
