"""What sampling parameters mean, on a real model.

SPDX-License-Identifier: Apache-2.0
"""
import math
import re

import pytest

PROMPT = "The capital of France is"
STORY = "Once upon a time there was a"
LOOP = "a b a b a b a b a b a b a b a b a b"


@pytest.fixture(scope="module")
def greedy(api):
    """An answer to cut into pieces: 32 tokens and the text of each."""
    return api.generate(STORY, temperature=0, max_new_tokens=32, ignore_eos=True)


@pytest.fixture(scope="module")
def end_of_turn(api):
    ids = api.post_ok("/tokenize", {"prompt": "<|im_end|>", "add_special_tokens": False})["tokens"]
    assert len(ids) == 1
    return ids[0]


def again(api, **params):
    return api.generate(STORY, **{"temperature": 0, "max_new_tokens": 32, "ignore_eos": True, **params})


def stop_of(reply):
    return reply["meta_info"]["finish_reason"]


def first_logprobs(api, prompt, ids, **params):
    """Log-probabilities of the first output token for the given ids."""
    reply = api.generate(prompt, many={"return_logprob": True, "token_ids_logprob": ids}, max_new_tokens=1, **params)
    return [entry[0] for entry in reply["meta_info"]["output_token_ids_logprobs"][0]]


def test_meta_info(api):
    reply = api.generate(PROMPT, temperature=0, max_new_tokens=4, ignore_eos=True, many={"rid": "my-request"})
    meta = reply["meta_info"]
    assert meta["id"] == "my-request" and meta["weight_version"] == "default"
    assert stop_of(reply) == {"type": "length", "length": 4}
    assert meta["completion_tokens"] == 4 and meta["e2e_latency"] > 0 and meta["num_retractions"] == 0
    assert meta["prompt_tokens"] == api.post_ok("/tokenize", {"prompt": PROMPT})["count"]


def test_default_length_is_128(api):
    reply = api.generate(LOOP, ignore_eos=True, temperature=0)
    assert reply["meta_info"]["completion_tokens"] == 128


def test_stop_string(api, greedy):
    text = greedy["text"]
    for begin, length in ((10, 1), (20, 5), (31, 12)):  # inside a token, and over several
        stop = text[begin : begin + length]
        reply = again(api, stop=["never seen", stop])
        assert reply["text"] == text[: text.index(stop)]
        assert stop_of(reply) == {"type": "stop", "matched": stop}
        assert reply["output_ids"] == greedy["output_ids"][: len(reply["output_ids"])]
        kept = again(api, stop=stop, no_stop_trim=True)
        assert stop in kept["text"] and text.startswith(kept["text"])


def test_stop_string_is_never_streamed(api, greedy):
    stop = greedy["text"][20:32]
    for event in api.events("/generate", {"text": STORY, "sampling_params": dict(temperature=0, max_new_tokens=32, ignore_eos=True, stop=stop)}):
        assert greedy["text"][: greedy["text"].index(stop)].startswith(event["text"])
    assert event["text"] == greedy["text"][: greedy["text"].index(stop)]


def test_stop_token_ids(api, greedy):
    stop = greedy["output_ids"][10]
    cut = greedy["output_ids"].index(stop) + 1
    reply = again(api, stop_token_ids=[10**7, stop], ignore_eos=False)
    assert reply["output_ids"] == greedy["output_ids"][:cut], "the matched token is kept among the ids"
    assert reply["text"] == api.post_ok("/detokenize", {"tokens": reply["output_ids"][:-1]})["text"], "and not in the text"
    assert stop_of(reply) == {"type": "stop", "matched": stop}
    assert len(again(api, stop_token_ids=[stop], ignore_eos=True)["output_ids"]) == 32, "ignore_eos covers all token ids"


def test_stop_regex(api, greedy):
    pattern = r"[a-z]{4},? [a-z]+"
    found = re.search(pattern, greedy["text"])
    assert found
    reply = again(api, stop_regex=pattern)
    assert stop_of(reply) == {"type": "stop", "matched": pattern}
    assert re.search(pattern, reply["text"]) and greedy["text"].startswith(reply["text"])
    assert len(reply["output_ids"]) < 32
    before = api.post_ok("/detokenize", {"tokens": reply["output_ids"][:-1]})["text"]
    assert not re.search(pattern, before), "the first token that completes a match ends the answer"


def test_end_of_turn_and_ignore_eos(api, end_of_turn):
    chat = "<|im_start|>user\nSay hi.<|im_end|>\n<|im_start|>assistant\nHi!"
    force = {str(end_of_turn): 50.0}
    reply = api.generate(chat, temperature=0, max_new_tokens=8, logit_bias=force)
    assert reply["output_ids"] == [end_of_turn] and reply["text"] == ""
    assert stop_of(reply) == {"type": "stop", "matched": end_of_turn}
    ignored = api.generate(chat, temperature=0, max_new_tokens=8, logit_bias=force, ignore_eos=True)
    assert ignored["output_ids"] == [end_of_turn] * 8 and stop_of(ignored)["type"] == "length"
    assert ignored["text"] == ""
    shown = api.generate(chat, temperature=0, max_new_tokens=2, logit_bias=force, ignore_eos=True, skip_special_tokens=False)
    assert shown["text"] == "<|im_end|>" * 2


def test_min_new_tokens(api, end_of_turn):
    force = {str(end_of_turn): 50.0}
    reply = api.generate(STORY, temperature=0, max_new_tokens=9, min_new_tokens=5, logit_bias=force)
    assert len(reply["output_ids"]) == 6 and reply["output_ids"][-1] == end_of_turn
    assert end_of_turn not in reply["output_ids"][:5]
    other = again(api, ignore_eos=False)["output_ids"][3]
    late = api.generate(STORY, temperature=0, max_new_tokens=32, min_new_tokens=8, stop_token_ids=[other])
    assert len(late["output_ids"]) > 8 and other not in late["output_ids"][:8]


def test_length_wins_over_stop(api, end_of_turn):
    reply = api.generate(STORY, temperature=0, max_new_tokens=1, logit_bias={str(end_of_turn): 50.0})
    assert stop_of(reply) == {"type": "length", "length": 1}


def test_max_new_tokens_0(api):
    reply = api.generate(PROMPT, max_new_tokens=0, many={"return_logprob": True})
    assert reply["text"] == "" and reply["meta_info"]["completion_tokens"] == 0
    assert stop_of(reply) == {"type": "length", "length": 0}
    assert len(reply["meta_info"]["output_token_logprobs"]) == 1


def test_logit_bias(api):
    paris, rome = (api.post_ok("/tokenize", {"prompt": city, "add_special_tokens": False})["tokens"] for city in (" Paris", " Rome"))
    assert api.generate(PROMPT, temperature=0, max_new_tokens=1)["output_ids"] == paris[:1]
    assert api.generate(PROMPT, temperature=0, max_new_tokens=1, logit_bias={str(rome[0]): 30})["output_ids"] == rome[:1]
    assert api.generate(PROMPT, temperature=0, max_new_tokens=1, logit_bias={str(paris[0]): -100})["output_ids"] != paris[:1]
    forced = api.generate(PROMPT, temperature=1, max_new_tokens=5, ignore_eos=True, logit_bias={str(rome[0]): 100})
    assert forced["output_ids"] == rome[:1] * 5
    plain, biased = (first_logprobs(api, PROMPT, paris[:1] + rome[:1], temperature=1, **more) for more in ({}, {"logit_bias": {str(rome[0]): 2.5}}))
    assert (biased[1] - biased[0]) - (plain[1] - plain[0]) == pytest.approx(2.5, abs=1e-4)


def repeats(ids):
    return len(ids) - len(set(ids))


@pytest.mark.parametrize("more, less", [
    (dict(frequency_penalty=-2), dict(frequency_penalty=2)),
    (dict(presence_penalty=-2), dict(presence_penalty=2)),
    (dict(repetition_penalty=0.5), dict(repetition_penalty=1.8)),
])
def test_penalties(api, more, less):
    def count(**params):
        return repeats(api.generate(LOOP, temperature=0, max_new_tokens=32, ignore_eos=True, **params)["output_ids"])

    plain = count()
    assert plain >= 16, "this prompt repeats itself"
    assert count(**more) >= plain > count(**less)


def test_penalties_do_not_see_the_prompt(api):
    a, b = (first_logprobs(api, LOOP, [0, 100, 1000], temperature=0, **params)
            for params in ({}, dict(frequency_penalty=2, presence_penalty=2, repetition_penalty=2)))
    assert a == b


def test_penalty_sizes(api):
    """The second token's log-probabilities, with the first one forced: exactly the documented arithmetic, up to the normalisation."""
    forced = api.post_ok("/tokenize", {"prompt": " a", "add_special_tokens": False})["tokens"][0]
    other = 1000

    def gap(**params):
        reply = api.generate(LOOP, temperature=0, max_new_tokens=2, ignore_eos=True,
                             many={"return_logprob": True, "token_ids_logprob": [forced, other]}, **params)
        assert reply["output_ids"][0] == forced
        first, second = reply["meta_info"]["output_token_ids_logprobs"][1]
        return first[0] - second[0]

    plain = gap()
    assert gap(frequency_penalty=1.5) == pytest.approx(plain - 1.5, abs=1e-4)
    assert gap(presence_penalty=0.5) == pytest.approx(plain - 0.5, abs=1e-4)
    assert gap(presence_penalty=0.5, frequency_penalty=1.0) == pytest.approx(plain - 1.5, abs=1e-4)
    assert gap(repetition_penalty=1.5) != pytest.approx(plain, abs=0.1)


@pytest.mark.parametrize("params", [dict(top_k=1), dict(top_p=1e-9), dict(min_p=1.0), dict(temperature=1e-9)])
def test_ways_to_be_greedy(api, greedy, params):
    assert again(api, **{"temperature": 1.5, **params})["output_ids"] == greedy["output_ids"]


def test_filters_keep_to_the_likeliest(api):
    reply = api.generate(STORY, temperature=5, top_k=3, max_new_tokens=24, ignore_eos=True, sampling_seed=1,
                         many={"return_logprob": True, "top_logprobs_num": 3})
    meta = reply["meta_info"]
    for token, top in zip(reply["output_ids"], meta["output_top_logprobs"]):
        assert token in [entry[1] for entry in top]
    assert len({top[0][1] == token for token, top in zip(reply["output_ids"], meta["output_top_logprobs"])}) == 2, "not always the first"
    reply = api.generate(STORY, temperature=2, min_p=0.2, max_new_tokens=24, ignore_eos=True, sampling_seed=1,
                         many={"return_logprob": True, "top_logprobs_num": 1})
    for (logprob, _, _), top in zip(reply["meta_info"]["output_token_logprobs"], reply["meta_info"]["output_top_logprobs"]):
        assert logprob >= top[0][0] + math.log(0.2) - 1e-5


def test_temperature_shapes_log_probabilities(api):
    cold, plain, hot = (first_logprobs(api, PROMPT, [100, 1000], temperature=t, sampling_seed=1) for t in (0.5, 1.0, 2.0))
    assert cold[0] - cold[1] == pytest.approx(2 * (plain[0] - plain[1]), abs=1e-3)
    assert hot[0] - hot[1] == pytest.approx((plain[0] - plain[1]) / 2, abs=1e-3)
    assert first_logprobs(api, PROMPT, [100, 1000], temperature=0) == pytest.approx(plain, abs=1e-5)


def test_samples_follow_the_distribution(api):
    """600 first tokens against the model's own probabilities; a fixed seed, so the outcome is fixed, too."""
    meta = api.generate(PROMPT, temperature=1, max_new_tokens=1, many={"return_logprob": True, "top_logprobs_num": 5})["meta_info"]
    likeliest = {entry[1]: math.exp(entry[0]) for entry in meta["output_top_logprobs"][0]}
    samples = [r["output_ids"][0] for r in api.generate(PROMPT, temperature=1, max_new_tokens=1, n=600, sampling_seed=7)]
    for token, p in likeliest.items():
        sigma = math.sqrt(600 * p * (1 - p))
        assert abs(samples.count(token) - 600 * p) < 4.5 * sigma + 1, (token, p, samples.count(token))


def test_n_with_seed(api):
    prompts = [STORY, PROMPT]
    replies = api.generate(prompts, temperature=1, max_new_tokens=8, ignore_eos=True, n=2, sampling_seed=40)
    assert len(replies) == 4
    singles = [api.generate(p, temperature=1, max_new_tokens=8, ignore_eos=True, sampling_seed=40 + i) for p in prompts for i in range(2)]
    assert [r["output_ids"] for r in replies] == [s["output_ids"] for s in singles]


def test_input_ids(api, greedy):
    ids = api.post_ok("/tokenize", {"prompt": STORY})["tokens"]
    assert api.generate(ids, temperature=0, max_new_tokens=32, ignore_eos=True)["output_ids"] == greedy["output_ids"]
    both = api.generate([ids, ids[:3]], temperature=0, max_new_tokens=32, ignore_eos=True)
    assert both[0]["output_ids"] == greedy["output_ids"] and len(both) == 2
    continued = api.generate(ids + greedy["output_ids"][:10], temperature=0, max_new_tokens=22, ignore_eos=True)
    assert continued["output_ids"] == greedy["output_ids"][10:]


def test_cached_tokens(api):
    prompt = "A prompt that nobody else in this file uses: " + ", ".join(str(i) for i in range(60))
    api.flush()
    first, second = (api.generate(prompt, temperature=0, max_new_tokens=4)["meta_info"] for _ in range(2))
    assert first["cached_tokens"] == 0 and first["prompt_tokens"] == second["prompt_tokens"] > 100
    assert second["prompt_tokens"] - 17 <= second["cached_tokens"] < second["prompt_tokens"], "all whole pages"
    scored = api.generate(prompt, temperature=0, max_new_tokens=4, many={"return_logprob": True, "logprob_start_len": 32})["meta_info"]
    assert scored["cached_tokens"] <= 32, "what has to be scored is computed"
    other = api.generate(prompt, temperature=0, max_new_tokens=4, many={"extra_key": "mine"})["meta_info"]
    assert other["cached_tokens"] == 0, "a cache of its own"


def test_echo(api):
    plain, echo = (api.post_ok("/v1/completions", {"prompt": PROMPT, "max_tokens": 4, "temperature": 0, "echo": echo})["choices"][0]["text"]
                   for echo in (False, True))
    assert echo == PROMPT + plain


def test_echo_scores_the_prompt(api):
    """How evaluation harnesses ask for likelihoods."""
    body = {"prompt": PROMPT + " Paris", "max_tokens": 0, "temperature": 0, "echo": True, "logprobs": 1}
    choice = api.post_ok("/v1/completions", body)["choices"][0]
    logprobs = choice["logprobs"]
    assert choice["text"] == "".join(logprobs["tokens"]) == PROMPT + " Paris"
    assert logprobs["token_logprobs"][0] is None and logprobs["top_logprobs"][0] is None
    assert all(x <= 0 for x in logprobs["token_logprobs"][1:])
    longer = api.post_ok("/v1/completions", {**body, "max_tokens": 1})["choices"][0]["logprobs"]
    assert longer["token_logprobs"][:-1] == logprobs["token_logprobs"] and len(longer["tokens"]) == len(logprobs["tokens"]) + 1


def test_input_logprobs_are_those_of_decoding(api, greedy):
    """Scoring a text gives what generating it gave; rows do not depend on how they come about."""
    ids = api.post_ok("/tokenize", {"prompt": STORY})["tokens"]
    made = api.generate(ids, temperature=0, max_new_tokens=32, ignore_eos=True, many={"return_logprob": True})["meta_info"]
    scored = api.generate(ids + greedy["output_ids"], max_new_tokens=0, many={"return_logprob": True, "logprob_start_len": len(ids) - 1})["meta_info"]
    assert scored["input_token_logprobs"][1:] == made["output_token_logprobs"]
    assert scored["input_token_logprobs"][0] == [None, ids[-1], None]


def chat(api, messages, **more):
    return api.post_ok("/v1/chat/completions", {"messages": messages, "temperature": 0, "max_tokens": 12, **more})


def test_continue_final_message(api):
    messages = [{"role": "user", "content": "What is the capital of France?"}, {"role": "assistant", "content": "The capital of France is the city of"}]
    continued = chat(api, messages, continue_final_message=True)
    assert continued["choices"][0]["message"]["content"].startswith(" Paris")
    prefix = api.post_ok("/tokenize", {"prompt": messages[1]["content"], "add_special_tokens": False})["count"]
    assert continued["usage"]["prompt_tokens"] == chat(api, messages[:1])["usage"]["prompt_tokens"] + prefix
    assert chat(api, messages)["usage"]["prompt_tokens"] > continued["usage"]["prompt_tokens"], "otherwise it is one more turn"


def test_chat_template_kwargs(api, server_with, client_of, tmp_path_factory):
    template = tmp_path_factory.mktemp("template") / "greeter.jinja"
    template.write_text("{{ greeting | default('none') }}|{% for m in messages %}{{ m.role }}={{ m.content }};{% endfor %}"
                        "{% if add_generation_prompt %}go{% endif %}")
    other = client_of(server_with("--chat-template", str(template)))
    messages = [{"role": "user", "content": "x"}]
    for kwargs, text in (({}, "none|user=x;go"), ({"greeting": "hello"}, "hello|user=x;go")):
        tokens = other.post_ok("/tokenize", {"messages": messages, "chat_template_kwargs": kwargs})["tokens"]
        assert other.post_ok("/detokenize", {"tokens": tokens})["text"] == text
        assert chat(other, messages, chat_template_kwargs=kwargs)["usage"]["prompt_tokens"] == len(tokens)


def test_system_message_and_parts(api):
    parts = [{"type": "text", "text": "What is the capital"}, {"type": "text", "text": "of France?"}]
    a = chat(api, [{"role": "user", "content": parts}])
    b = chat(api, [{"role": "user", "content": "What is the capital of France?"}])
    assert a["choices"][0]["message"] == b["choices"][0]["message"] and a["usage"] == b["usage"]
    c = chat(api, [{"role": "system", "content": "You are a pirate."}, {"role": "user", "content": "What is the capital of France?"}])
    assert c["choices"][0]["message"] != b["choices"][0]["message"] or c["usage"] != b["usage"]


def test_unknown_fields_and_nulls(api, greedy):
    reply = api.generate(STORY, temperature=0, max_new_tokens=32, ignore_eos=True, stop=None, stop_token_ids=[], stop_regex=[], top_p=None, n=1,
                         json_schema=None, regex=None, many={"lora_path": None, "rid": None, "stream_options": {}, "model": "x", "nonsense": 7})
    assert reply["output_ids"] == greedy["output_ids"]


def test_incremental_stream(api, server_with, client_of, greedy):
    other = client_of(server_with("--incremental-streaming-output", "--stream-interval", "4"))
    body = {"text": STORY, "return_logprob": True, "sampling_params": {"temperature": 0, "max_new_tokens": 32, "ignore_eos": True}}
    events = other.events("/generate", body)
    assert "".join(e["text"] for e in events) == greedy["text"]
    assert [t for e in events for t in e["output_ids"]] == greedy["output_ids"]
    assert [entry[1] for e in events for entry in e["meta_info"]["output_token_logprobs"]] == greedy["output_ids"]
    assert events[0]["meta_info"]["completion_tokens"] == 1 and len(events) == 9, "after 1, 5, 9, ... and the last token"
    assert [e["meta_info"]["output_token_logprobs_length"] for e in events] == [e["meta_info"]["completion_tokens"] for e in events]
