"""Twins: one request in every circumstance a server knows gives the same tokens and the same log-probabilities, to the last bit.

SPDX-License-Identifier: Apache-2.0
"""
import concurrent.futures

import pytest

WORDS = "the quick brown fox jumps over a lazy dog while seven wise owls watch from an old oak tree ".split()


def prose(words, seed):
    """Text of so many words, different for every seed."""
    state, out = seed * 7919 + 1, []
    for _ in range(words):
        state = (state * 1103515245 + 12345) % 2**31
        out.append(WORDS[(state >> 16) % len(WORDS)])
    return " ".join(out)


SAMPLED = dict(temperature=1.0)
PROBES = {  # name: (prompt, sampling parameters, first prompt position with log-probabilities)
    "greedy": ("The capital of France is", dict(temperature=0), -1),
    "greedy_scored": (prose(40, 1), dict(temperature=0), 0),
    "long": (prose(650, 2), dict(temperature=0), 600),  # more than one pass and several chunks
    "seeded": (prose(60, 4), dict(**SAMPLED, sampling_seed=11), -1),
    "filtered": (prose(70, 3), dict(temperature=0.8, top_p=0.9, top_k=40, min_p=0.01, sampling_seed=12), 5),
    "penalised": ("la la la la la", dict(**SAMPLED, sampling_seed=13, repetition_penalty=1.3, frequency_penalty=0.4,
                                        presence_penalty=0.3, logit_bias={"1000": 2.0}), -1),
}
NEW_TOKENS = 24
OTHERS = 15


def body_of(name):
    prompt, params, start = PROBES[name]
    return {"text": prompt, "return_logprob": True, "logprob_start_len": start, "top_logprobs_num": 3,
            "sampling_params": {"max_new_tokens": NEW_TOKENS, "ignore_eos": True, **params}}


def essence(reply):
    """What may not depend on circumstances. JSON carries the shortest text of each float, so equal means equal bits."""
    meta = reply["meta_info"]
    assert meta["completion_tokens"] == len(reply["output_ids"]) == len(meta["output_token_logprobs"]) == NEW_TOKENS
    keys = ("prompt_tokens", "input_token_logprobs", "output_token_logprobs", "input_top_logprobs", "output_top_logprobs")
    return {"output_ids": reply["output_ids"], "text": reply["text"], **{key: meta[key] for key in keys}}


def ask(api, name):
    return api.post_ok("/generate", body_of(name))


def batch_with_others(api, names, others=OTHERS):
    """One body with the probes among others, who differ in everything."""
    bodies = [body_of(name) for name in names]
    for i in range(others):
        bodies.insert(i * 2 % (len(bodies) + 1), {
            "text": prose(3 + 17 * i, 100 + i), "return_logprob": i % 2 == 0, "logprob_start_len": -1, "top_logprobs_num": i % 3,
            "sampling_params": {"max_new_tokens": 4 + 5 * i % 40, "ignore_eos": True, "temperature": i % 3 * 0.6}})
    fields = ("text", "return_logprob", "logprob_start_len", "top_logprobs_num", "sampling_params")
    replies = api.post_ok("/generate", {field: [b[field] for b in bodies] for field in fields})
    return {name: next(r for r, b in zip(replies, bodies) if b["text"] == PROBES[name][0]) for name in names}


def all_at_once(api, names):
    with concurrent.futures.ThreadPoolExecutor(len(names)) as pool:
        return dict(zip(names, pool.map(lambda name: ask(api, name), names)))


@pytest.fixture(scope="module")
def alone(api):
    """Each probe by itself on a server with nothing in its cache."""
    results = {}
    for name in PROBES:
        api.flush()
        reply = ask(api, name)
        assert reply["meta_info"]["cached_tokens"] == 0
        results[name] = essence(reply)
    return results


@pytest.fixture(params=PROBES)
def probe(request):
    return request.param


def test_log_probabilities_belong_to_the_tokens(alone, probe):
    result = alone[probe]
    assert [entry[1] for entry in result["output_token_logprobs"]] == result["output_ids"]
    assert all(entry[0] <= 0 for entry in result["output_token_logprobs"])
    start = PROBES[probe][2]
    assert len(result["input_token_logprobs"]) == (0 if start < 0 else result["prompt_tokens"] - start)
    if start >= 0:
        assert result["input_token_logprobs"][0][0] is None and result["input_top_logprobs"][0] is None


def test_cached(api, alone, probe):
    ask(api, probe)
    reply = ask(api, probe)
    assert essence(reply) == alone[probe]
    prompt_tokens, start = alone[probe]["prompt_tokens"], PROBES[probe][2]
    if (prompt_tokens - 1 if start < 0 else start) >= 16:
        assert reply["meta_info"]["cached_tokens"] > 0, "the cache was meant to be used"


def test_after_a_flush(api, alone, probe):
    api.flush()
    reply = ask(api, probe)
    assert reply["meta_info"]["cached_tokens"] == 0
    assert essence(reply) == alone[probe]


def test_with_half_of_the_prefix_cached(api, alone):
    api.flush()
    prompt = PROBES["long"][0]
    api.generate(prompt[: len(prompt) // 2] + " and then something else", max_new_tokens=8)
    reply = ask(api, "long")
    assert 0 < reply["meta_info"]["cached_tokens"] < alone["long"]["prompt_tokens"] * 2 // 3
    assert essence(reply) == alone["long"]


def test_in_a_batch_with_others(api, alone, probe):
    assert essence(batch_with_others(api, [probe])[probe]) == alone[probe]


def test_all_in_a_batch_with_others_after_a_flush(api, alone):
    api.flush()
    assert {name: essence(reply) for name, reply in batch_with_others(api, list(PROBES)).items()} == alone


def test_all_at_once(api, alone):
    api.flush()
    for _ in range(2):
        assert {name: essence(reply) for name, reply in all_at_once(api, list(PROBES)).items()} == alone


def test_streamed(api, alone, probe):
    events = api.events("/generate", body_of(probe))
    assert len(events) == NEW_TOKENS
    assert essence(events[-1]) == alone[probe]


@pytest.mark.parametrize("flags", [("--chunked-prefill-size", "32", "--page-size", "1"), ("--threads", "1", "--disable-radix-cache")],
                         ids=["small_chunks_and_pages", "one_thread_no_cache"])
def test_on_another_server(server_with, client_of, alone, flags):
    other = client_of(server_with(*flags))
    assert {name: essence(ask(other, name)) for name in PROBES} == alone
    assert {name: essence(ask(other, name)) for name in PROBES} == alone, "asked again"
    assert {name: essence(reply) for name, reply in batch_with_others(other, list(PROBES)).items()} == alone


def test_retracted(server_with, client_of, alone):
    """A pool that is too small for what is let in, and a server that retracts for no reason, too."""
    other = client_of(server_with("--max-total-tokens", "2048", env={
        "SGLANG_TEST_RETRACT": "1", "SGLANG_TEST_RETRACT_INTERVAL": "3", "SGLANG_INIT_NEW_TOKEN_RATIO": "0.1"}))
    replies = batch_with_others(other, list(PROBES))
    assert sum(reply["meta_info"]["num_retractions"] for reply in replies.values()) > 0
    assert {name: essence(reply) for name, reply in replies.items()} == alone


def test_a_full_pool_retracts(server_with, client_of, api):
    """Twelve answers of 100 tokens do not fit into 768, but an optimist lets them in, one prompt a step."""
    other = client_of(server_with("--max-total-tokens", "768", "--chunked-prefill-size", "16", env={"SGLANG_INIT_NEW_TOKEN_RATIO": "0.05"}))
    prompts = [prose(10, 200 + i) for i in range(12)]
    params = {"max_new_tokens": 100, "ignore_eos": True, "temperature": 1}
    body = {"text": prompts, "return_logprob": True, "sampling_params": [{**params, "sampling_seed": i} for i in range(12)]}
    crowded, roomy = other.post_ok("/generate", body), api.post_ok("/generate", body)
    assert sum(reply["meta_info"]["num_retractions"] for reply in crowded) > 0
    for a, b in zip(crowded, roomy):
        assert a["output_ids"] == b["output_ids"]
        assert a["meta_info"]["output_token_logprobs"] == b["meta_info"]["output_token_logprobs"]
        assert b["meta_info"]["num_retractions"] == 0


def test_seeds(api):
    def sample(**params):
        return api.generate("My favourite animal is", temperature=1, max_new_tokens=16, ignore_eos=True, **params)["output_ids"]

    by_seed = {seed: sample(sampling_seed=seed) for seed in (0, 1, 2, 3, 2**40, -5)}
    assert {seed: sample(sampling_seed=seed) for seed in by_seed} == by_seed
    assert len({tuple(ids) for ids in by_seed.values()}) == len(by_seed), "different seeds differ"
    assert len({tuple(sample()) for _ in range(4)}) > 1, "no seed: not repeated"
