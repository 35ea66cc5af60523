#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What Hugging Face transformers says with SmolLM2-135M-Instruct's GGUF weights, dequantised to float32.

    pip install torch transformers gguf numpy
    python tools/make_smollm2_reference.py PATH/SmolLM2-135M-Instruct.Q4_1.gguf    # rewrites tests/goldens/smollm2

reference.json: per prompt `text`, its `ids`, 64 `greedy` ids, the `gap` between the two best logits at each of them.
top.bin: for the first POSITIONS greedy positions of each prompt the TOP likeliest tokens: int32 ids, then float32 log-probabilities
(shape [prompts][POSITIONS][2][TOP]), for the divergence of the fast path.
"""
import json
import pathlib
import sys

import gguf
import numpy as np
import torch
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

ROOT = pathlib.Path(__file__).resolve().parent.parent / "tests/goldens/smollm2"
NEW_TOKENS, POSITIONS, TOP = 64, 8, 512

QUESTIONS = [
    "What is the capital of France?", "Write a short poem about the sea.", "Explain photosynthesis to a child.",
    "What is 17 times 23?", "List three fruits that are yellow.", "Translate 'good morning' into Spanish.",
    "Who wrote Romeo and Juliet?", "Give me a recipe for pancakes.", "Why is the sky blue?", "Summarise the plot of Cinderella.",
]
TEXTS = [
    "The quick brown fox", "In the year 1969,", "def fibonacci(n):\n", "Once upon a time there was a",
    "The three laws of thermodynamics are", "Water boils at", "import numpy as np\n\n# Compute the mean\n",
    "The most important thing about learning is", "El perro y el gato", "Dear Sir or Madam,\n\nI am writing to",
]

NAMES = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}
PARTS = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
         "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm",
         "ffn_norm": "post_attention_layernorm"}


def field(reader, key):
    return reader.fields[key].contents()


def hf_name(name):
    if name in NAMES:
        return NAMES[name]
    _, layer, part, suffix = name.split(".")
    return f"model.layers.{layer}.{PARTS[part]}.{suffix}"


def load_model(reader):
    heads, groups = field(reader, "llama.attention.head_count"), field(reader, "llama.attention.head_count_kv")
    config = transformers.LlamaConfig(
        vocab_size=len(field(reader, "tokenizer.ggml.tokens")), hidden_size=field(reader, "llama.embedding_length"),
        intermediate_size=field(reader, "llama.feed_forward_length"), num_hidden_layers=field(reader, "llama.block_count"),
        num_attention_heads=heads, num_key_value_heads=groups, max_position_embeddings=field(reader, "llama.context_length"),
        rms_norm_eps=field(reader, "llama.attention.layer_norm_rms_epsilon"), tie_word_embeddings=True,
        rope_parameters=dict(rope_type="default", rope_theta=field(reader, "llama.rope.freq_base")), attn_implementation="eager")
    model = transformers.LlamaForCausalLM(config).eval()
    state = {}
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32).reshape([int(d) for d in reversed(tensor.shape)])
        name = hf_name(tensor.name)
        count = heads if ".q_proj." in name else groups if ".k_proj." in name else 0
        if count:  # rotary rows are stored interleaved
            values = values.reshape(count, values.shape[0] // count // 2, 2, -1).swapaxes(1, 2).reshape(values.shape)
        state[name] = torch.tensor(values)
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and missing in ([], ["lm_head.weight"]), (missing, unexpected)
    model.tie_weights()
    return model


def load_tokenizer(reader):
    tokens, types = field(reader, "tokenizer.ggml.tokens"), field(reader, "tokenizer.ggml.token_type")
    merges = [tuple(m.split(" ", 1)) for m in field(reader, "tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t, kind in zip(tokens, types) if kind == 3])
    return tokenizer


def main():
    reader = gguf.GGUFReader(sys.argv[1])
    model, tokenizer = load_model(reader), load_tokenizer(reader)
    template = transformers.utils.chat_template_utils._compile_jinja_template(field(reader, "tokenizer.chat_template"))
    prompts = [template.render(messages=[{"role": "user", "content": q}], add_generation_prompt=True, bos_token="<|im_start|>", eos_token="<|im_end|>")
               for q in QUESTIONS] + TEXTS
    ROOT.mkdir(parents=True, exist_ok=True)
    cases, tops = [], []
    for text in prompts:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        with torch.no_grad():
            sequence = torch.tensor([ids])
            out = model(sequence, use_cache=True)
            greedy, gaps, top_rows = [], [], []
            for step in range(NEW_TOKENS):
                logits = out.logits[0, -1]
                best = torch.topk(logits, 2)
                if step < POSITIONS:
                    top = torch.topk(torch.log_softmax(logits.double(), -1), TOP)
                    top_rows.append((top.indices.numpy().astype("<i4"), top.values.numpy().astype("<f4")))
                greedy.append(int(best.indices[0]))
                gaps.append(round(float(best.values[0] - best.values[1]), 5))
                out = model(torch.tensor([[greedy[-1]]]), past_key_values=out.past_key_values, use_cache=True)
        cases.append(dict(text=text, ids=ids, greedy=greedy, gap=gaps))
        tops.append(b"".join(i.tobytes() + v.tobytes() for i, v in top_rows))
        print(repr(tokenizer.decode(greedy))[:100], "smallest gap", min(gaps))
    (ROOT / "top.bin").write_bytes(b"".join(tops))
    (ROOT / "reference.json").write_text(json.dumps(dict(positions=POSITIONS, top=TOP, cases=cases)) + "\n")


if __name__ == "__main__":
    main()
