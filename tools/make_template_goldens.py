#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goldens for src/text/chat_template: outputs of the jinja2 environment that transformers uses.

  python tools/make_template_goldens.py                       rewrites tests/goldens/chat_templates/*.json
  python tools/make_template_goldens.py --add NAME=FILE ...   first copies a template (a tokenizer_config.json, .gguf or .jinja) to templates/
  python tools/make_template_goldens.py --check DRIVER [NAME=FILE ...]   compares our renderer with the reference on all cases and on templates
                                                              that are not committed

DRIVER is build/<preset>/src/text/text_test: its test ChatTemplateDriver answers a file of one {"template", "variables"} per line
with {"output"} or {"error"}. Needs transformers and jinja2.
"""
import datetime
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import transformers.utils.chat_template_utils as ctu

HERE = pathlib.Path(__file__).resolve().parent
OUT = HERE.parent / "tests/goldens/chat_templates"
NOW = datetime.datetime(2025, 6, 5, 14, 3, 9)


class FixedDateTime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


ctu.datetime = FixedDateTime


def render(template, variables):
    try:
        return {"output": ctu._compile_jinja_template(template).render(**variables)}
    except RecursionError:
        raise
    except Exception as e:  # the reference raises whatever Python raises
        return {"error": f"{type(e).__name__}: {e}"}


def read_template(path):
    path = pathlib.Path(path)
    if path.suffix == ".gguf":
        import gguf
        field = gguf.GGUFReader(str(path)).fields["tokenizer.chat_template"]
        return bytes(field.parts[field.data[0]]).decode()
    if path.suffix == ".json":
        template = json.loads(path.read_text())["chat_template"]
        if isinstance(template, list):
            template = next(t["template"] for t in template if t["name"] == "default")
        return template
    return path.read_text()


WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "Get the weather <b>now</b> & \"later\"",
    "parameters": {"type": "object", "properties": {
        "city": {"type": "string", "description": "The city, e.g. Zürich"},
        "unit": {"type": "string", "enum": ["c", "f"]},
        "days": {"type": "array", "items": {"type": "integer"}}}, "required": ["city"]},
    "return": {"type": "string"}}}


def user(text):
    return {"role": "user", "content": text}


def call(arguments, id="abcdefghi"):
    return {"id": id, "type": "function", "function": {"name": "get_weather", "arguments": arguments}}


CONVERSATIONS = {
    "user": dict(messages=[user("Hi")]),
    "system": dict(messages=[{"role": "system", "content": "Be brief."}, user("Hi")]),
    "multi_turn": dict(messages=[{"role": "system", "content": " S "}, user(" a "), {"role": "assistant", "content": "b\n"}, user("c"),
                                 {"role": "assistant", "content": "<think>\nhm\n</think>\n\nd"}, user("e\n\n")]),
    "no_generation_prompt": dict(messages=[user("Hi"), {"role": "assistant", "content": "Hello"}], add_generation_prompt=False),
    "tools": dict(messages=[user("Weather?")], tools=[WEATHER]),
    "tools_system": dict(messages=[{"role": "system", "content": "S"}, user("Weather?")], tools=[WEATHER, WEATHER]),
    "tool_calls": dict(messages=[user("Weather?"), {"role": "assistant", "content": None, "tool_calls": [
        call({"city": "Zürich", "days": [1, 2], "x": 1.0, "ok": True, "none": None})]},
        {"role": "tool", "name": "get_weather", "tool_call_id": "abcdefghi", "content": "{\"t\": 21}"}, user("And?")], tools=[WEATHER]),
    "tool_calls_text": dict(messages=[user("W?"), {"role": "assistant", "content": "Let me see", "tool_calls": [
        call({"city": "A"}, "aaaaaaaaa"), call({"city": "B"}, "bbbbbbbbb")]},
        {"role": "tool", "tool_call_id": "aaaaaaaaa", "content": "1"}, {"role": "tool", "tool_call_id": "bbbbbbbbb", "content": "2"},
        {"role": "assistant", "content": "Done"}, user("Thanks")], tools=[WEATHER]),
    "tool_calls_string_arguments": dict(messages=[user("W?"), {"role": "assistant", "content": "", "tool_calls": [call("{\"city\": \"A\"}")]},
                                                  {"role": "tool", "tool_call_id": "abcdefghi", "content": "x"}], tools=[WEATHER]),
    "none_content": dict(messages=[user("Hi"), {"role": "assistant", "content": None}, user("x")]),
    "parts": dict(messages=[{"role": "user", "content": [{"type": "text", "text": "What is"}, {"type": "image"}, {"type": "text", "text": "this?"}]}]),
    "unicode": dict(messages=[{"role": "system", "content": "Größe 你好"}, user("🙂 \u200d ñ\u0301 'q' \"d\" <|im_end|> \\ \t")]),
    "thinking_on": dict(messages=[user("Hi")], enable_thinking=True, thinking=True),
    "thinking_off": dict(messages=[user("Hi")], enable_thinking=False, thinking=False, reasoning_effort="low"),
    "reasoning": dict(messages=[user("Hi"), {"role": "assistant", "reasoning_content": "r", "thinking": "r", "content": "a"}, user("x")]),
    "wrong_order": dict(messages=[{"role": "assistant", "content": "x"}, {"role": "assistant", "content": "y"}]),
    "unknown_role": dict(messages=[{"role": "alien", "content": "x"}]),
    "empty": dict(messages=[]),
}


def variables_of(conversation):
    variables = dict(tools=None, documents=None, add_generation_prompt=True, bos_token="<s>", eos_token="</s>", unk_token="<unk>",
                     pad_token="<pad>")
    variables.update(conversation)
    return variables


def case_list():
    sys.path.insert(0, str(HERE))
    import template_cases
    return template_cases.cases()


def templates():
    return {p.stem: p.read_text() for p in sorted((OUT / "templates").glob("*.jinja"))}


def write(name, value):
    lines = ",\n".join(json.dumps(v, ensure_ascii=False) for v in value)
    (OUT / name).write_text("[\n" + lines + "\n]\n")


def main(arguments):
    if arguments[:1] == ["--check"]:
        return check(arguments[1], dict(a.split("=", 1) for a in arguments[2:]))
    if arguments[:1] == ["--add"]:
        for argument in arguments[1:]:
            name, path = argument.split("=", 1)
            (OUT / "templates" / f"{name}.jinja").write_text(read_template(path))
    rows = [dict(template=t, **render(t, v)) for t, v in case_list()]
    write("cases.json", [r for r in rows if " at 0x" not in r.get("output", "")])  # addresses differ from run to run
    (OUT / "case_variables.json").write_text(json.dumps(case_list()[0][1], ensure_ascii=False, indent=1) + "\n")
    (OUT / "conversations.json").write_text(json.dumps({k: variables_of(c) for k, c in CONVERSATIONS.items()}, ensure_ascii=False, indent=1) + "\n")
    rows = []
    for name, template in templates().items():
        for key, conversation in CONVERSATIONS.items():
            rows.append(dict(template=name, conversation=key, **render(template, variables_of(conversation))))
    write("renders.json", rows)


def ask(driver, rows):
    """Our answers to (template, variables) pairs."""
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = pathlib.Path(folder, "asked"), pathlib.Path(folder, "answered")
        asked.write_text("".join(json.dumps(dict(template=t, variables=v)) + "\n" for t, v in rows))
        subprocess.run([driver, "--gtest_filter=ChatTemplateDriver.*", "--gtest_brief=1"], check=True, stdout=sys.stderr,
                       env={**os.environ, "SGLANG_TEMPLATE_ASKED": str(asked), "SGLANG_TEMPLATE_ANSWERED": str(answered)})
        return [json.loads(line) for line in answered.read_text().split("\n")[:-1]]


def check(driver, extra):
    rows = [(t, v) for t, v in case_list()]
    for template in [*templates().values(), *(read_template(p) for p in extra.values())]:
        rows += [(template, variables_of(c)) for c in CONVERSATIONS.values()]
    bad = 0
    for (template, variables), got in zip(rows, ask(driver, rows), strict=True):
        want = render(template, variables)
        if " at 0x" in want.get("output", ""):
            continue
        if ("error" in want) == ("error" in got) and want.get("output") == got.get("output"):
            continue
        bad += 1
        print(f"--- {template[:200]!r} {json.dumps(variables)[:200]}\nwant {want}\ngot  {got}")
    print(f"{len(rows)} compared, {bad} differ")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
