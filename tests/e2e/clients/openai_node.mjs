// The official Node client of OpenAI against a server: one line "ok NAME" or "not ok NAME: why" for each check, exit code 1 after a failure.
//   node openai_node.mjs URL        with the package `openai` in a node_modules on the way up from here or in NODE_PATH's place
// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { createRequire } from "node:module";

const require = createRequire(process.env.NODE_MODULES_OF + "/");
const { default: OpenAI } = await import(require.resolve("openai"));

const url = process.argv[2];
const client = new OpenAI({ baseURL: url + "/v1", apiKey: "any", maxRetries: 0 });
const model = "default";
const messages = [{ role: "system", content: "Be brief." }, { role: "user", content: "What is the capital of France?" }];
const greedy = { model, messages, temperature: 0, max_tokens: 16 };
const weather = {
  type: "function",
  function: {
    name: "weather", description: "The weather of a city", strict: true,
    parameters: {
      type: "object", properties: { city: { type: "string", enum: ["Paris", "Rome"] } }, required: ["city"], additionalProperties: false,
    },
  },
};

async function collect(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return parts;
}

const checks = {
  async models() {
    const list = await collect(await client.models.list());
    assert.equal(list.length, 1);
    assert.equal((await client.models.retrieve(list[0].id)).id, list[0].id);
  },

  async chat() {
    const reply = await client.chat.completions.create(greedy);
    assert.equal(reply.object, "chat.completion");
    assert.match(reply.choices[0].message.content, /Paris/);
    assert.equal(reply.usage.total_tokens, reply.usage.prompt_tokens + reply.usage.completion_tokens);
  },

  async chatStream() {
    const whole = await client.chat.completions.create(greedy);
    const chunks = await collect(await client.chat.completions.create({ ...greedy, stream: true, stream_options: { include_usage: true } }));
    assert.equal(chunks.map((chunk) => chunk.choices[0]?.delta?.content ?? "").join(""), whole.choices[0].message.content);
    assert.deepEqual(chunks.at(-1).usage.completion_tokens, whole.usage.completion_tokens);
    const helper = client.chat.completions.stream(greedy);
    let text = "";
    helper.on("content", (delta) => { text += delta; });
    const final = await helper.finalChatCompletion();
    assert.equal(final.choices[0].message.content, whole.choices[0].message.content);
    assert.equal(text, whole.choices[0].message.content);
  },

  async manyAtOnce() {
    const ask = (i) => client.chat.completions.create({ ...greedy, messages: [{ role: "user", content: `What is ${i} plus ${i}?` }] });
    const together = await Promise.all([...Array(16).keys()].map(ask));
    for (const i of [0, 7, 15]) assert.equal((await ask(i)).choices[0].message.content, together[i].choices[0].message.content);
  },

  async parameters() {
    const seeded = { ...greedy, temperature: 1, seed: 5, n: 2, logprobs: true, top_logprobs: 2 };
    const first = await client.chat.completions.create(seeded);
    const second = await client.chat.completions.create(seeded);
    assert.deepEqual(first.choices.map((c) => c.message.content), second.choices.map((c) => c.message.content));
    assert.equal(first.choices.length, 2);
    assert.ok(first.choices[0].logprobs.content.every((entry) => entry.top_logprobs.length === 2 && entry.logprob <= 0));
    const whole = (await client.chat.completions.create(greedy)).choices[0].message.content;
    const stop = whole[Math.floor(whole.length / 2)];
    const stopped = await client.chat.completions.create({ ...greedy, stop: [stop] });
    assert.equal(stopped.choices[0].message.content, whole.slice(0, whole.indexOf(stop)));
    assert.equal(stopped.choices[0].finish_reason, "stop");
  },

  async leaving() {
    const stream = await client.chat.completions.create({ ...greedy, max_tokens: 4000, ignore_eos: true, stream: true });
    let seen = 0;
    for await (const chunk of stream) if (chunk.choices.length && ++seen === 3) break; // the client closes the connection
    for (let i = 0; ; ++i) {
      const { aggregate } = await (await fetch(url + "/v1/loads")).json();
      if (aggregate.total_running_reqs + aggregate.total_waiting_reqs === 0) break;
      assert.ok(i < 600, "the server still works for a client that has left");
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  },

  async tools() {
    const ask = { ...greedy, max_tokens: 200, tools: [weather], tool_choice: { type: "function", function: { name: "weather" } },
                  parallel_tool_calls: false };
    const reply = await client.chat.completions.create(ask);
    const [call] = reply.choices[0].message.tool_calls;
    assert.equal(call.function.name, "weather");
    assert.ok(["Paris", "Rome"].includes(JSON.parse(call.function.arguments).city));
    const final = await client.chat.completions.stream(ask).finalChatCompletion();
    assert.equal(final.choices[0].message.tool_calls[0].function.arguments, call.function.arguments);
  },

  async structured() {
    const schema = { type: "object", properties: { city: { enum: ["Paris", "Rome"] } }, required: ["city"], additionalProperties: false };
    const reply = await client.chat.completions.create({
      ...greedy, max_tokens: 64, response_format: { type: "json_schema", json_schema: { name: "city", schema, strict: true } } });
    assert.ok(["Paris", "Rome"].includes(JSON.parse(reply.choices[0].message.content).city));
  },

  async completions() {
    const ask = { model, prompt: ["The capital of France is", "One, two,"], temperature: 0, max_tokens: 8 };
    const reply = await client.completions.create(ask);
    assert.deepEqual(reply.choices.map((choice) => choice.index), [0, 1]);
    assert.match(reply.choices[0].text, /Paris/);
    const chunks = await collect(await client.completions.create({ ...ask, prompt: ask.prompt[0], stream: true }));
    assert.equal(chunks.map((chunk) => chunk.choices[0]?.text ?? "").join(""), reply.choices[0].text);
  },

  async responses() {
    const ask = { model, input: "Say one word.", temperature: 0, max_output_tokens: 12 };
    const whole = await client.responses.create(ask);
    assert.ok(whole.output_text.length > 0);
    const events = await collect(await client.responses.create({ ...ask, stream: true }));
    const text = events.filter((event) => event.type === "response.output_text.delta").map((event) => event.delta).join("");
    assert.equal(text, whole.output_text);
    assert.equal((await client.responses.retrieve(whole.id)).output_text, whole.output_text);
  },

  async errors() {
    await assert.rejects(client.chat.completions.create({ ...greedy, temperature: -1 }),
                         (error) => error instanceof OpenAI.BadRequestError && /temperature/.test(error.message));
    await assert.rejects(client.models.retrieve("nobody"), OpenAI.NotFoundError);
    const stream = client.chat.completions.create({ ...greedy, stream: true, max_tokens: -5 });
    await assert.rejects(stream, OpenAI.BadRequestError);
  },
};

let failed = 0;
for (const [name, check] of Object.entries(checks)) {
  try {
    await check();
    console.log(`ok ${name}`);
  } catch (error) {
    ++failed;
    console.log(`not ok ${name}: ${String(error.stack ?? error).replaceAll("\n", " | ")}`);
  }
}
process.exit(failed ? 1 : 0);
