"""Against Hugging Face transformers in float32 on the same (dequantised) weights: tokens, text, log-probabilities.

The goldens come from tools/make_smollm2_reference.py.

SPDX-License-Identifier: Apache-2.0
"""
import math
import struct

import pytest

from conftest import GOLDENS
from kits.server import ServerDied

NEAR_TIE = 1e-3       # a gap between the two best logits that rounding may turn over
MEAN_KL = 1e-3        # nats; default dtype against float32
FLOAT32_KL = 1e-6     # nats; float32 against float32
TEXTS = 10            # the last prompts are plain text, the first ones rendered chats


@pytest.fixture(scope="module")
def exact(server_with, client_of):
    return client_of(server_with("--dtype", "float32"))


@pytest.fixture(scope="module")
def tops(reference):
    """tops[prompt][position] = {id: log-probability} of the likeliest tokens."""
    count, positions, cases = reference["top"], reference["positions"], reference["cases"]
    data = (GOLDENS / "top.bin").read_bytes()
    assert len(data) == len(cases) * positions * count * 8
    values = struct.unpack(f"<{'%di%df' % (count, count) * (len(cases) * positions)}", data)
    rows = [values[i : i + 2 * count] for i in range(0, len(values), 2 * count)]
    rows = [dict(zip(row[:count], row[count:])) for row in rows]
    return [rows[i : i + positions] for i in range(0, len(rows), positions)]


def test_tokenize(api, reference):
    texts = [case["text"] for case in reference["cases"]]
    reply = api.post_ok("/tokenize", {"prompt": texts, "add_special_tokens": False})
    assert reply["tokens"] == [case["ids"] for case in reference["cases"]]
    assert reply["count"] == [len(case["ids"]) for case in reference["cases"]]
    one = api.post_ok("/tokenize", {"prompt": texts[0], "add_special_tokens": False})
    assert one["tokens"] == reference["cases"][0]["ids"] and one["count"] == len(one["tokens"])


def test_detokenize(api, reference):
    cases = reference["cases"]
    reply = api.post_ok("/detokenize", {"tokens": [case["ids"] for case in cases], "skip_special_tokens": False})
    assert reply["text"] == [case["text"] for case in cases]
    one = api.post_ok("/detokenize", {"tokens": cases[-1]["ids"]})
    assert one["text"] == cases[-1]["text"]


@pytest.mark.parametrize("text", ["", " ", "\n\n\t x", "naïve café", "日本語のテキスト", "🙂👩‍👩‍👧", "1234567890", "a" * 1000, "<|im_start|>user", "\u0000\u0001"])
def test_any_text_comes_back(api, text):
    ids = api.post_ok("/tokenize", {"prompt": text, "add_special_tokens": False})["tokens"]
    assert api.post_ok("/detokenize", {"tokens": ids, "skip_special_tokens": False})["text"] == text


def test_chat_template(api, reference):
    """The first prompts are one-question chats rendered by transformers' Jinja."""
    for case in reference["cases"][:-TEXTS]:
        question = case["text"].split("<|im_start|>user\n")[1].split("<|im_end|>")[0]
        reply = api.post_ok("/tokenize", {"messages": [{"role": "user", "content": question}]})
        assert reply["tokens"] == case["ids"], question


def test_greedy_tokens(exact, reference):
    """All prompts at once. After a difference at a near tie the reference's choice is put in, and the rest is compared, too."""
    cases = reference["cases"]
    done = [0] * len(cases)
    compared, ties = 0, []
    while any(at < len(case["greedy"]) for at, case in zip(done, cases)):
        live = [i for i, case in enumerate(cases) if done[i] < len(case["greedy"])]
        replies = exact.post_ok("/generate", {
            "input_ids": [cases[i]["ids"] + cases[i]["greedy"][: done[i]] for i in live],
            "sampling_params": [{"temperature": 0, "ignore_eos": True, "max_new_tokens": len(cases[i]["greedy"]) - done[i]} for i in live]})
        for i, reply in zip(live, replies):
            want, got = cases[i]["greedy"][done[i] :], reply["output_ids"]
            same = next((k for k, (a, b) in enumerate(zip(want, got)) if a != b), len(want))
            compared += same
            if same == len(want):
                done[i] += same
                continue
            at = done[i] + same
            gap = cases[i]["gap"][at]
            assert gap < NEAR_TIE, f"prompt {i} {cases[i]['text']!r}, token {at}: {got[same]} instead of {want[same]}, which leads by {gap}"
            ties.append((i, at, gap))
            done[i] = at + 1
    print(f"\nfloat32 greedy: {compared} tokens equal, {len(ties)} turned at near ties: {ties}")
    assert compared + len(ties) == sum(len(case["greedy"]) for case in cases)


def test_greedy_text(exact, reference):
    """The streaming detokenizer's text is the text of all ids."""
    replies = exact.generate([case["ids"] for case in reference["cases"]], temperature=0, ignore_eos=True, max_new_tokens=16)
    whole = exact.post_ok("/detokenize", {"tokens": [reply["output_ids"] for reply in replies]})["text"]
    assert [reply["text"] for reply in replies] == whole


def cpu_flags():
    with open("/proc/cpuinfo") as info:
        return next((set(line.split()) for line in info if line.startswith("flags")), set())


def divergences(api, cases, tops):
    """KL(transformers || ours) in nats, per prompt and position, with the reference's own continuation as context.

    Summed over the reference's likeliest tokens; all other tokens count as one. `token_ids_logprob` asks for exactly those ids, so
    nothing has to be guessed. Merging tokens can only lower a divergence, and the merged ones hold little.
    """
    out = []
    for case, rows in zip(cases, tops):
        ids = sorted(set().union(*rows))
        reply = api.post_ok("/generate", {
            "input_ids": case["ids"] + case["greedy"][: len(rows)], "sampling_params": {"max_new_tokens": 0, "temperature": 0},
            "return_logprob": True, "logprob_start_len": len(case["ids"]) - 1, "token_ids_logprob": ids})
        entries = reply["meta_info"]["input_token_ids_logprobs"]
        assert len(entries) == len(rows) + 1 and entries[0] is None
        for row, entry in zip(rows, entries[1:]):
            ours = {token: logprob for logprob, token, _ in entry}
            assert len(ours) == len(ids)
            kl, p_rest, q_rest = 0.0, 1.0, 1.0
            for token, logprob in row.items():
                p = math.exp(logprob)
                kl += p * (logprob - ours[token])
                p_rest -= p
                q_rest -= math.exp(ours[token])
            if p_rest > 1e-12:
                kl += p_rest * math.log(p_rest / max(q_rest, 1e-12))
            out.append(kl)
    return out


def test_divergence_of_the_default(api, reference, tops):
    kl = divergences(api, reference["cases"], tops)
    assert len(kl) == len(reference["cases"]) * reference["positions"]
    print(f"\ndefault dtype: KL {sum(kl) / len(kl):.3e} nats on average, {max(kl):.3e} at most, over {len(kl)} positions")
    assert sum(kl) / len(kl) < MEAN_KL


def test_divergence_of_float32(exact, reference, tops):
    kl = divergences(exact, reference["cases"], tops)
    print(f"\nfloat32: KL {sum(kl) / len(kl):.3e} nats on average, {max(kl):.3e} at most")
    assert abs(sum(kl) / len(kl)) < FLOAT32_KL


@pytest.mark.parametrize("isa, needs", [("portable", set()), ("avx2", {"avx2", "fma", "f16c"}), ("avx512", {"avx512f", "avx512bw", "avx512vl", "avx512dq"}),
                                        ("amx", {"amx_tile", "amx_bf16", "amx_int8", "avx512_vnni", "avx512_bf16"})])
def test_every_instruction_set(isa, needs, server_with, client_of, reference, tops):
    """A forced instruction set computes the same model; one that the processor lacks is refused by name."""
    if not needs <= cpu_flags():
        with pytest.raises(ServerDied, match=isa):
            server_with("--max-total-tokens", "1024", env={"SGLANG_CPU_ISA": isa})
        return
    api = client_of(server_with("--max-total-tokens", "1024", env={"SGLANG_CPU_ISA": isa}))
    kl = divergences(api, reference["cases"][-4:], tops[-4:])
    assert sum(kl) / len(kl) < MEAN_KL


@pytest.mark.parametrize("cache, bound", [("int8", 5e-3), ("fp8_e4m3", 3e-2), ("fp8_e5m2", 0.12)])
def test_divergence_of_small_caches(cache, bound, server_with, client_of, reference, tops):
    """What a cache of one byte costs; docs/kernels.md has the figures over all prompts."""
    api = client_of(server_with("--max-total-tokens", "1024", "--kv-cache-dtype", cache))
    kl = divergences(api, reference["cases"][-4:], tops[-4:])
    print(f"\n{cache}: KL {sum(kl) / len(kl):.3e} nats on average, {max(kl):.3e} at most")
    assert 0 < sum(kl) / len(kl) < bound


def test_top_logprobs(api, reference):
    """The list of the likeliest agrees with the answers for single ids, bit by bit, and is sorted."""
    case = reference["cases"][-1]
    body = {"input_ids": case["ids"], "sampling_params": {"max_new_tokens": 2, "temperature": 0, "ignore_eos": True}, "return_logprob": True,
            "logprob_start_len": 0, "top_logprobs_num": 2048, "return_text_in_logprobs": True}
    meta = api.post_ok("/generate", body)["meta_info"]
    for tokens, tops in ((meta["input_token_logprobs"], meta["input_top_logprobs"]), (meta["output_token_logprobs"], meta["output_top_logprobs"])):
        assert len(tokens) == len(tops)
        for (logprob, token, text), top in zip(tokens, tops):
            assert isinstance(text, str)
            if top is None:
                assert logprob is None
                continue
            values = [entry[0] for entry in top]
            assert len({entry[1] for entry in top}) == 2048 and values == sorted(values, reverse=True)
            mass = sum(map(math.exp, values))
            assert 0.5 < mass < 1 + 1e-4
            assert {entry[1]: entry[0] for entry in top}.get(token, logprob) == logprob
    ids = [entry[1] for entry in meta["output_top_logprobs"][0][:100]]
    single = api.post_ok("/generate", {**body, "top_logprobs_num": 0, "token_ids_logprob": ids})["meta_info"]
    assert [entry[:2] for entry in single["output_token_ids_logprobs"][0]] == [entry[:2] for entry in meta["output_top_logprobs"][0][:100]]
