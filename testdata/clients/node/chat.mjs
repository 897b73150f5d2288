// OpenAI's Node SDK against a running router: node chat.mjs BASE_URL KEY CASE. Prints one JSON object.
import OpenAI from "openai";

const [baseURL, apiKey, what] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const messages = [{ role: "user", content: "Tell me about rivers." }];

const cases = {
  async whole() {
    const answer = await client.chat.completions.create({ model: "m/one", messages, max_tokens: 24 });
    return {
      text: answer.choices[0].message.content,
      finish: answer.choices[0].finish_reason,
      model: answer.model,
      provider: answer.provider,
      completion_tokens: answer.usage.completion_tokens,
      id: answer.id,
    };
  },
  async stream() {
    const stream = await client.chat.completions.create({
      model: "m/one", messages, max_tokens: 24, stream: true, stream_options: { include_usage: true },
    });
    let text = "", usage, finish, model;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta?.content ?? "";
      finish = chunk.choices[0]?.finish_reason ?? finish;
      model = chunk.model;
      usage = chunk.usage ?? usage;
    }
    return { text, finish, model, completion_tokens: usage?.completion_tokens };
  },
  async tool() {
    const answer = await client.chat.completions.create({
      model: "m/one", messages, tool_choice: "required",
      tools: [{ type: "function", function: { name: "look_up", parameters: { type: "object", properties: { q: { type: "string" } } } } }],
    });
    const call = answer.choices[0].message.tool_calls[0];
    return { name: call.function.name, arguments: JSON.parse(call.function.arguments), finish: answer.choices[0].finish_reason };
  },
  async models() {
    const ids = [];
    for await (const model of client.models.list()) ids.push(model.id);
    return { ids };
  },
  async unknown_model() {
    await client.chat.completions.create({ model: "m/oen", messages });
  },
  async failing_stream() {
    const stream = await client.chat.completions.create({ model: "m/dying", messages, stream: true });
    let text = "";
    try {
      for await (const chunk of stream) text += chunk.choices[0]?.delta?.content ?? "";
    } catch (err) {
      return { text, thrown: err.constructor.name, message: err.message };
    }
    return { text };
  },
  async cancel() {
    const controller = new AbortController();
    const stream = await client.chat.completions.create({ model: "m/slow", messages, stream: true }, { signal: controller.signal });
    let chunks = 0;
    try {
      for await (const _ of stream) if (++chunks === 3) controller.abort();
    } catch (err) {
      return { chunks, thrown: err.constructor.name };
    }
    return { chunks };
  },
};

try {
  console.log(JSON.stringify(await cases[what]()));
} catch (err) {
  if (!(err instanceof OpenAI.APIError)) throw err;
  console.log(JSON.stringify({ thrown: err.constructor.name, status: err.status, code: err.code, type: err.type, param: err.param, message: err.message }));
}
