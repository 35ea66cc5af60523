// SPDX-License-Identifier: Apache-2.0
// One prompt through llama.cpp (npm package node-llama-cpp, prebuilt for the processor): prompt and answer tokens per second as JSON.
// usage: node llama_cpp.mjs MODEL.gguf PROMPT_TOKENS ANSWER_TOKENS THREADS       (needs: npm install --ignore-scripts node-llama-cpp@3.22.1)
import {getLlama, LlamaLogLevel} from "node-llama-cpp";

const [modelPath, prompt, answer, threads] = [process.argv[2], ...process.argv.slice(3).map(Number)];
const llama = await getLlama({gpu: false, logLevel: LlamaLogLevel.error, build: "never", maxThreads: threads});
const model = await llama.loadModel({modelPath});
const context = await model.createContext({contextSize: prompt + answer + 64, threads, batchSize: 512, flashAttention: true});
const sequence = context.getSequence();
const ids = Array.from({length: prompt}, (_, i) => 1000 + (i * 7919) % 20000);

async function run() {
  await sequence.clearHistory();
  const start = process.hrtime.bigint();
  let first = null, count = 0;
  for await (const _ of sequence.evaluate(ids, {temperature: 0, yieldEogToken: true})) {
    const now = process.hrtime.bigint();
    first ??= now;
    if (++count > answer)
      return {prefill: prompt / (Number(first - start) / 1e9), decode: answer / (Number(now - first) / 1e9)};
  }
}

await run();
console.log(JSON.stringify(await run()));
process.exit(0);
