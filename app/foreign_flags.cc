// Flags of SGLang (as of mid-2026) that this build does not implement, so that launch scripts either keep working or fail clearly.
// The rule: a flag that only chooses how fast or on what device something is computed is ignored with a warning; a flag that changes
// replies, models or who may connect is an error unless it is given the value that we behave like anyway.
// SPDX-License-Identifier: Apache-2.0
#include "app/serve_options.h"

namespace sgl {
namespace {

using Kind = ForeignFlag::Kind;
using Arity = ForeignFlag::Arity;
constexpr Kind kIgnored = Kind::kNoEffect, kNotBuilt = Kind::kNotBuilt;
constexpr Arity kNone = Arity::kNone, kOne = Arity::kOne, kMany = Arity::kMany;

constexpr std::string_view kGpu = "it is for GPUs";
constexpr std::string_view kOneRank = "it runs as one rank in one process";
constexpr std::string_view kNoSpeculation = "it has no speculative decoding";
constexpr std::string_view kNoAdapters = "it has no LoRA adapters";
constexpr std::string_view kNoTiers = "it keeps its cache in memory only";
constexpr std::string_view kNoSplit = "it does prefill and decoding in one server";
constexpr std::string_view kNoTls = "restart the server to change certificates";
constexpr std::string_view kNoMetrics = "this build does not publish these figures";
constexpr std::string_view kNoParsers = "it generates and caches reasoning like other text";
constexpr std::string_view kTextOnly = "it serves text models only";
constexpr std::string_view kOwnKernels = "there is one implementation, chosen by the CPU's instruction set";
constexpr std::string_view kAlways = "it is always so here";
constexpr std::string_view kMapped = "weights are memory-mapped";
constexpr std::string_view kOwnLoop = "the step loop needs no such choice here";
constexpr std::string_view kLoneNode = "there is only one rank";

constexpr ForeignFlag kFlags[] = {
    // Backends and GPUs.
    {"attention-backend", kIgnored, kOne, "", kOwnKernels},
    {"prefill-attention-backend", kIgnored, kOne, "", kOwnKernels},
    {"decode-attention-backend", kIgnored, kOne, "", kOwnKernels},
    {"mm-attention-backend", kIgnored, kOne, "", kOwnKernels},
    {"sampling-backend", kIgnored, kOne, "", kOwnKernels},
    {"moe-runner-backend", kIgnored, kOne, "", kOwnKernels},
    {"fp8-gemm-backend", kIgnored, kOne, "", kOwnKernels},
    {"fp4-gemm-backend", kIgnored, kOne, "", kOwnKernels},
    {"enable-torch-compile", kIgnored, kNone, "", kOwnKernels},
    {"torch-compile-max-bs", kIgnored, kOne, "", kOwnKernels},
    {"disable-cuda-graph", kIgnored, kNone, "", kGpu},
    {"disable-cuda-graph-padding", kIgnored, kNone, "", kGpu},
    {"cuda-graph-max-bs", kIgnored, kOne, "", kGpu},
    {"cuda-graph-bs", kIgnored, kMany, "", kGpu},
    {"disable-piecewise-cuda-graph", kIgnored, kNone, "", kGpu},
    {"piecewise-cuda-graph-max-tokens", kIgnored, kOne, "", kGpu},
    {"enable-profile-cuda-graph", kIgnored, kNone, "", kGpu},
    {"enable-cudagraph-gc", kIgnored, kNone, "", kGpu},
    {"triton-attention-num-kv-splits", kIgnored, kOne, "", kGpu},
    {"triton-attention-split-tile-size", kIgnored, kOne, "", kGpu},
    {"triton-attention-reduce-in-fp32", kIgnored, kNone, "", kGpu},
    {"enable-flashinfer-allreduce-fusion", kIgnored, kNone, "", kGpu},
    {"flashinfer-mla-disable-ragged", kIgnored, kNone, "", kGpu},
    {"base-gpu-id", kIgnored, kOne, "", kGpu},
    {"gpu-id-step", kIgnored, kOne, "", kGpu},
    {"enable-nccl-nvls", kIgnored, kNone, "", kGpu},
    {"enable-symm-mem", kIgnored, kNone, "", kGpu},
    {"enable-mscclpp", kIgnored, kNone, "", kGpu},
    {"disable-custom-all-reduce", kIgnored, kNone, "", kGpu},
    {"enable-p2p-check", kIgnored, kNone, "", kGpu},
    {"enable-two-batch-overlap", kIgnored, kNone, "", kGpu},
    {"enable-single-batch-overlap", kIgnored, kNone, "", kGpu},
    {"cpu-offload-gb", kIgnored, kOne, "", kGpu},
    {"enable-memory-saver", kIgnored, kNone, "", kGpu},
    {"numa-node", kIgnored, kMany, "", "use SGLANG_CPU_OMP_THREADS_BIND or numactl"},
    // Loading.
    {"trust-remote-code", kIgnored, kNone, "", "code from a model repository is never run"},
    {"tokenizer-mode", kIgnored, kOne, "", "there is one tokenizer implementation"},
    {"tokenizer-backend", kIgnored, kOne, "", "there is one tokenizer implementation"},
    {"detokenizer-worker-num", kIgnored, kOne, "", "the engine turns tokens into text itself"},
    {"model-impl", kIgnored, kOne, "", "there is one implementation of each model"},
    {"download-dir", kIgnored, kOne, "", "nothing is downloaded"},
    {"model-loader-extra-config", kIgnored, kOne, "", kMapped},
    {"weight-loader-disable-mmap", kIgnored, kNone, "", kMapped},
    {"weight-loader-prefetch-checkpoints", kIgnored, kNone, "", kMapped},
    {"weight-loader-prefetch-num-threads", kIgnored, kOne, "", kMapped},
    {"weight-loader-drop-cache-after-load", kIgnored, kNone, "", kMapped},
    {"delete-ckpt-after-loading", kNotBuilt, kNone, "", "it never deletes a model"},
    {"model-checksum", kNotBuilt, kOne, "", "it does not verify checksums of models"},
    {"quantization-param-path", kNotBuilt, kOne, "", "it has no KV-cache scales"},
    {"torchao-config", kNotBuilt, kOne, "", "quantised weights are used as the file has them"},
    {"enable-fp32-lm-head", kIgnored, kNone, "", "logits are computed in 32 bits anyway"},
    {"skip-tokenizer-init", kNotBuilt, kNone, "", "it always loads the tokenizer"},
    {"custom-weight-loader", kNotBuilt, kMany, "", "it runs no Python"},
    {"forward-hooks", kNotBuilt, kOne, "", "it runs no Python"},
    // HTTP and replies.
    {"warmups", kIgnored, kOne, "", "there is one warm-up"},
    {"file-storage-path", kIgnored, kOne, "", "there is no file API"},
    {"enable-ssl-refresh", kNotBuilt, kNone, "", kNoTls},
    {"enable-http2", kNotBuilt, kNone, "", "it speaks HTTP/1.1"},
    {"grpc-mode", kNotBuilt, kNone, "", "it speaks HTTP/1.1"},
    {"hf-chat-template-name", kNotBuilt, kOne, "default", "it uses the model's default template"},
    {"completion-template", kNotBuilt, kOne, "", "it has no fill-in-the-middle templates"},
    {"tool-server", kNotBuilt, kOne, "", "it calls no tools"},
    {"strip-thinking-cache", kNotBuilt, kNone, "", kNoParsers},
    {"enable-return-routed-experts", kNotBuilt, kNone, "", "it returns tokens and log-probabilities"},
    {"enable-streaming-session", kNotBuilt, kNone, "", "its sessions keep no KV cache of their own"},
    {"enable-mis", kNotBuilt, kNone, "", "it has no multi-item scoring"},
    {"batch-notify-size", kIgnored, kOne, "", kOwnLoop},
    {"enable-tokenizer-batch-encode", kIgnored, kNone, "", kOwnLoop},
    {"disable-tokenizer-batch-decode", kIgnored, kNone, "", kOwnLoop},
    {"enable-dynamic-batch-tokenizer", kIgnored, kNone, "", kOwnLoop},
    {"dynamic-batch-tokenizer-batch-size", kIgnored, kOne, "", kOwnLoop},
    {"dynamic-batch-tokenizer-batch-timeout", kIgnored, kOne, "", kOwnLoop},
    {"enable-multimodal", kNotBuilt, kNone, "", kTextOnly},
    {"limit-mm-data-per-request", kNotBuilt, kOne, "", kTextOnly},
    // Scheduling and memory.
    {"disable-overlap-schedule", kIgnored, kNone, "", kOwnLoop},
    {"scheduler-recv-interval", kIgnored, kOne, "", kOwnLoop},
    {"num-continuous-decode-steps", kIgnored, kOne, "", kOwnLoop},
    {"enable-prefill-delayer", kIgnored, kNone, "", kOwnLoop},
    {"prefill-delayer-max-delay-passes", kIgnored, kOne, "", kOwnLoop},
    {"prefill-delayer-token-usage-low-watermark", kIgnored, kOne, "", kOwnLoop},
    {"prefill-delayer-queue-min-ratio", kIgnored, kOne, "", kOwnLoop},
    {"prefill-delayer-max-delay-ms", kIgnored, kOne, "", kOwnLoop},
    {"sleep-on-idle", kIgnored, kNone, "", kAlways},
    {"enable-deterministic-inference", kIgnored, kNone, "", kAlways},
    {"radix-eviction-policy", kNotBuilt, kOne, "lru", "it evicts the least recently used first"},
    {"swa-full-tokens-ratio", kIgnored, kOne, "", "there is one KV pool"},
    {"disable-hybrid-swa-memory", kIgnored, kNone, "", "there is one KV pool"},
    {"max-mamba-cache-size", kIgnored, kOne, "", "there is one KV pool"},
    {"mamba-ssm-dtype", kIgnored, kOne, "", "there is one KV pool"},
    {"mamba-full-memory-ratio", kIgnored, kOne, "", "there is one KV pool"},
    {"mamba-scheduler-strategy", kIgnored, kOne, "", "there is one KV pool"},
    {"mamba-track-interval", kIgnored, kOne, "", "there is one KV pool"},
    // Parallelism.
    {"tensor-parallel-size|tp-size|tp", kNotBuilt, kOne, "1", kOneRank, "tp_size", "1"},
    {"pipeline-parallel-size|pp-size", kNotBuilt, kOne, "1", kOneRank, "pp_size", "1"},
    {"expert-parallel-size|ep-size|ep", kNotBuilt, kOne, "1", kOneRank, "ep_size", "1"},
    {"nnodes", kNotBuilt, kOne, "1", kOneRank, "nnodes", "1"},
    {"node-rank", kNotBuilt, kOne, "0", kOneRank, "node_rank", "0"},
    {"enable-dp-attention", kNotBuilt, kNone, "", kOneRank},
    {"dist-init-addr|nccl-init-addr", kIgnored, kOne, "", kLoneNode},
    {"nccl-port", kIgnored, kOne, "", kLoneNode},
    {"dist-timeout", kIgnored, kOne, "", kLoneNode},
    // Logs, metrics, traces.
    {"show-time-cost", kIgnored, kNone, "", "the log has timings"},
    {"enable-metrics-for-all-schedulers", kIgnored, kNone, "", kLoneNode},
    {"enable-mfu-metrics", kIgnored, kNone, "", kNoMetrics},
    {"enable-forward-pass-metrics", kIgnored, kNone, "", kNoMetrics},
    {"collect-tokens-histogram", kIgnored, kNone, "", kAlways},
    {"kv-events-config", kNotBuilt, kOne, "", "it publishes no cache events"},
    {"debug-tensor-dump-output-folder", kNotBuilt, kOne, "", "it dumps no tensors"},
    {"debug-tensor-dump-layers", kNotBuilt, kMany, "", "it dumps no tensors"},
    {"debug-tensor-dump-input-file", kNotBuilt, kOne, "", "it dumps no tensors"},
    // Adapters.
    {"enable-lora", kNotBuilt, kNone, "", kNoAdapters},
    {"lora-paths", kNotBuilt, kMany, "", kNoAdapters},
    {"max-loras-per-batch", kNotBuilt, kOne, "8", kNoAdapters},
    {"max-loaded-loras", kNotBuilt, kOne, "", kNoAdapters},
    {"max-lora-rank", kNotBuilt, kOne, "", kNoAdapters},
    {"lora-target-modules", kNotBuilt, kMany, "", kNoAdapters},
    {"lora-eviction-policy", kNotBuilt, kOne, "lru", kNoAdapters},
    {"lora-strict-loading", kNotBuilt, kNone, "", kNoAdapters},
    {"lora-drain-wait-threshold", kNotBuilt, kOne, "0|0.0", kNoAdapters},
    {"enable-lora-overlap-loading", kNotBuilt, kNone, "", kNoAdapters},
    {"lora-backend", kNotBuilt, kOne, "csgmv|triton", kNoAdapters},
    // Speculative decoding.
    {"speculative-algorithm|speculative-algo", kNotBuilt, kOne, "", kNoSpeculation, "speculative_algorithm", "null"},
    {"speculative-draft-model-path|speculative-draft-model", kNotBuilt, kOne, "", kNoSpeculation},
    {"speculative-num-steps", kNotBuilt, kOne, "", kNoSpeculation},
    {"speculative-eagle-topk", kNotBuilt, kOne, "", kNoSpeculation},
    {"speculative-num-draft-tokens", kNotBuilt, kOne, "", kNoSpeculation},
    {"speculative-accept-threshold-single", kNotBuilt, kOne, "1.0|1", kNoSpeculation},
    {"speculative-accept-threshold-acc", kNotBuilt, kOne, "1.0|1", kNoSpeculation},
    {"speculative-token-map", kNotBuilt, kOne, "", kNoSpeculation},
    {"speculative-attention-mode", kIgnored, kOne, "", kNoSpeculation},
    {"speculative-ngram-max-trie-depth", kNotBuilt, kOne, "18", kNoSpeculation},
    {"enable-multi-layer-eagle", kNotBuilt, kNone, "", kNoSpeculation},
    // Cache tiers, split servers.
    {"enable-hierarchical-cache", kNotBuilt, kNone, "", kNoTiers},
    {"hicache-ratio", kNotBuilt, kOne, "2.0|2", kNoTiers},
    {"hicache-size", kNotBuilt, kOne, "0", kNoTiers},
    {"hicache-write-policy", kNotBuilt, kOne, "write_through", kNoTiers},
    {"hicache-io-backend", kNotBuilt, kOne, "kernel", kNoTiers},
    {"hicache-mem-layout", kNotBuilt, kOne, "layer_first", kNoTiers},
    {"hicache-storage-backend", kNotBuilt, kOne, "", kNoTiers},
    {"hicache-storage-backend-extra-config", kNotBuilt, kOne, "", kNoTiers},
    {"hicache-storage-prefetch-policy", kNotBuilt, kOne, "best_effort", kNoTiers},
    {"enable-lmcache", kNotBuilt, kNone, "", kNoTiers},
    {"disaggregation-mode", kNotBuilt, kOne, "null", kNoSplit, "disaggregation_mode", "\"null\""},
    {"disaggregation-transfer-backend", kNotBuilt, kOne, "mooncake", kNoSplit},
    {"disaggregation-bootstrap-port", kNotBuilt, kOne, "8998", kNoSplit},
    {"disaggregation-ib-device", kNotBuilt, kOne, "", kNoSplit},
};

}  // namespace

std::span<const ForeignFlag> ForeignFlags() { return kFlags; }

}  // namespace sgl
