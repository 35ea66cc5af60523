"""Embeddings, scores, hidden states, given embeddings: what a causal model knows besides text.

SPDX-License-Identifier: Apache-2.0
"""
import math

import ollama
import openai
import pytest

TEXTS = ["The cat sits on the mat.", "A cat is sitting on a mat.", "Quarterly revenue rose by nine percent."]


@pytest.fixture(scope="module")
def embedder(server_with):
    return server_with("--is-embedding", "--enable-return-hidden-states", "--disable-radix-cache")


def dot(a, b):
    return sum(x * y for x, y in zip(a, b))


def test_openai_embeddings(embedder):
    with openai.OpenAI(base_url=embedder.url + "/v1", api_key="any", max_retries=0) as client:
        reply = client.embeddings.create(model="m", input=TEXTS)
    vectors = [item.embedding for item in reply.data]
    assert [item.index for item in reply.data] == [0, 1, 2] and reply.usage.prompt_tokens > 10
    assert all(math.isclose(dot(v, v), 1, rel_tol=1e-5) for v in vectors), "of length one"
    assert dot(vectors[0], vectors[1]) > dot(vectors[0], vectors[2]), "what means the same lies together"


def test_all_endpoints_give_the_same(embedder, client_of):
    api = client_of(embedder)
    native = api.post_ok("/encode", {"text": TEXTS[0]})
    assert native["meta_info"]["prompt_tokens"] > 3 and native["meta_info"]["e2e_latency"] > 0
    vector = native["embedding"]
    assert api.post_ok("/v1/embeddings", {"input": TEXTS[0]})["data"][0]["embedding"] == vector
    assert ollama.Client(host=embedder.url).embed(model="m", input=TEXTS[0]).embeddings[0] == vector
    batch = api.post_ok("/encode", {"text": TEXTS})
    assert batch[0]["embedding"] == vector, "alone and in a batch"
    hidden = api.generate(TEXTS[0], many={"return_hidden_states": True}, max_new_tokens=1)["meta_info"]["hidden_states"][0][-1]
    length = math.sqrt(dot(hidden, hidden))
    assert all(abs(x / length - y) < 1e-6 for x, y in zip(hidden, vector)), "the last hidden state, normalised"
    assert api.get("/model_info").json()["is_generation"] is False


def test_a_server_without_the_flag_says_which(api):
    assert "--is-embedding" in api.refused("/v1/embeddings", {"input": "x"})
    assert "--enable-return-hidden-states" in api.refused("/generate", {"text": "x", "return_hidden_states": True})
    assert "--disable-radix-cache" in api.refused("/generate", {"input_embeds": [[1.0]]})


def test_hidden_states_have_a_row_per_token(embedder, client_of):
    answer = client_of(embedder).generate(TEXTS[0], many={"return_hidden_states": True}, max_new_tokens=4, ignore_eos=True)
    prompt, *rest = answer["meta_info"]["hidden_states"]
    assert len(prompt) == answer["meta_info"]["prompt_tokens"] and len(rest) == 3
    assert {len(row) for row in prompt + rest} == {len(prompt[0])}


def test_input_embeds_are_taken(embedder, client_of):
    api = client_of(embedder)
    width = len(api.post_ok("/encode", {"text": "x"})["embedding"])
    rows = [[math.sin(i + 7 * k) / 10 for i in range(width)] for k in range(5)]
    answers = [api.post_ok("/generate", {"input_embeds": rows, "sampling_params": {"temperature": 0, "max_new_tokens": 4}}) for _ in range(2)]
    assert answers[0]["output_ids"] == answers[1]["output_ids"] and answers[0]["meta_info"]["prompt_tokens"] == 5
    assert f"expected {width} numbers" in api.refused("/generate", {"input_embeds": [[1.0]]})


def test_scores_are_what_generate_says(api):
    query, items, labels = "Is the sky blue? ", ["Answer:", "Reply:"], [5, 17, 300]
    scored = api.post_ok("/v1/score", {"query": query, "items": items, "label_token_ids": labels})
    for item, scores in zip(items, scored["scores"]):
        body = {"text": query + item, "return_logprob": True, "token_ids_logprob": labels, "sampling_params": {"max_new_tokens": 0}}
        logprobs = api.post_ok("/generate", body)["meta_info"]["output_token_ids_logprobs"][0]
        assert all(math.isclose(score, math.exp(entry[0]), rel_tol=1e-6) for score, entry in zip(scores, logprobs))
    shared = api.post_ok("/v1/score", {"query": query, "items": items, "label_token_ids": labels, "apply_softmax": True})
    assert all(math.isclose(sum(scores), 1, rel_tol=1e-6) for scores in shared["scores"])


def test_rerank_orders_and_cuts(api):
    body = {"query": "capital of France", "documents": ["Paris is the capital of France.", "Bread is baked.", "Rivers flow."]}
    ranked = api.post_ok("/v1/rerank", body)
    assert sorted(entry["index"] for entry in ranked) == [0, 1, 2]
    assert [entry["score"] for entry in ranked] == sorted((entry["score"] for entry in ranked), reverse=True)
    assert all(0 <= entry["score"] <= 1 and entry["document"] == body["documents"][entry["index"]] for entry in ranked)
    assert api.post_ok("/v1/rerank", {**body, "top_n": 1, "return_documents": False})[0].keys() == {"score", "index", "meta_info"}


def test_disallowed_tokens(server_with, client_of):
    api = client_of(server_with("--enable-custom-logit-processor"))
    free = api.generate("The capital of France is", temperature=0, max_new_tokens=4)["output_ids"]
    many = {"custom_logit_processor": "DisallowedTokensLogitsProcessor"}
    other = api.generate("The capital of France is", many=many, temperature=0, max_new_tokens=4, custom_params={"token_ids": free})
    assert not set(free) & set(other["output_ids"])
    only = api.generate("x", many={"custom_logit_processor": "AllowedTokensLogitsProcessor"}, max_new_tokens=4, ignore_eos=True,
                        custom_params={"token_ids": [free[0]]})
    assert only["output_ids"] == [free[0]] * 4
    rule = {"custom_logit_processor": "DeepseekOCRNoRepeatNGramLogitProcessor"}
    words = api.generate("la la la la la la", many=rule, temperature=0, max_new_tokens=30, ignore_eos=True,
                         custom_params={"ngram_size": 2, "window_size": 100})["output_ids"]
    assert len(set(zip(words, words[1:]))) == 29, "no two tokens in a row come twice"


def test_progress_of_a_long_prompt(server_with):
    server = server_with("--chunked-prefill-size", "64", "--disable-radix-cache")
    with openai.OpenAI(base_url=server.url + "/v1", api_key="any", max_retries=0) as client:
        ask = {"model": "m", "max_tokens": 2, "stream": True, "messages": [{"role": "user", "content": "word " * 400}]}
        with client.with_streaming_response.chat.completions.create(**ask, stream_options={"include_progress": True}) as reply:
            text = "\n".join(reply.iter_lines())
        chunks = list(client.chat.completions.create(**ask, extra_body={"stream_options": {"include_progress": True}}))
    assert text.index('"role":"assistant"') < text.index(": progress"), "the role leaves before the prompt is read"
    assert text.count(": progress") >= 6 and text.index('"content":""') < text.index(": progress")
    assert chunks[0].choices[0].delta.role == "assistant" and chunks[-1].choices[0].finish_reason, "strict clients see nothing"
