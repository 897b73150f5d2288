// Anthropic's Node SDK against a running router: node anthropic.mjs BASE_URL. Reads a line "KEY MODEL CASE" at a time and prints a JSON object for each.
import Anthropic from "@anthropic-ai/sdk";
import { answering, image, question, schema, tool } from "./asked.mjs";

const messages = [{ role: "user", content: question }];
const tools = [{ name: tool.name, description: tool.description, input_schema: tool.parameters }];
const tool_choice = { type: "any" };

function shown(answer) {
  const call = answer.content.find((block) => block.type === "tool_use");
  return {
    text: answer.content.filter((block) => block.type === "text").map((block) => block.text).join(""),
    name: call?.name,
    arguments: call && JSON.stringify(call.input),
    finish: answer.stop_reason,
    model: answer.model,
    provider: answer.provider,
    prompt_tokens: answer.usage.input_tokens,
    completion_tokens: answer.usage.output_tokens,
  };
}

const cases = (client, model) => ({
  whole: async () => shown(await client.messages.create({ model, messages, max_tokens: 24 })),
  stream: async () => shown(await client.messages.stream({ model, messages, max_tokens: 24 }).finalMessage()),
  tool: async () => shown(await client.messages.create({ model, messages, max_tokens: 200, tools, tool_choice })),
  stream_tool: async () => shown(await client.messages.stream({ model, messages, max_tokens: 200, tools, tool_choice }).finalMessage()),
  structured: async () =>
    shown(await client.messages.create({ model, messages, max_tokens: 200, output_config: { format: { type: "json_schema", schema } } })),
  image: async () =>
    shown(await client.messages.create({
      model, max_tokens: 24,
      messages: [{ role: "user", content: [{ type: "text", text: question }, { type: "image", source: { type: "base64", media_type: "image/png", data: image } }] }],
    })),
  async models() {
    const ids = [];
    for await (const one of client.models.list({ limit: 2 })) ids.push(one.id);
    return { ids };
  },
  retrieve: async () => ({ id: (await client.models.retrieve(model)).id }),
  count: async () => ({ prompt_tokens: (await client.messages.countTokens({ model, messages })).input_tokens }),
  async cancel() {
    const stream = await client.messages.create({ model, messages, max_tokens: 2000, stream: true });
    let chunks = 0;
    for await (const _ of stream) if (++chunks === 3) stream.controller.abort();
    return { chunks };
  },
});

await answering(
  (url, apiKey, model) => cases(new Anthropic({ baseURL: url, apiKey, maxRetries: 0 }), model),
  (err) => err instanceof Anthropic.AnthropicError,
);
