// OpenAI's Node SDK against a running router: node openai.mjs BASE_URL. Reads a line "KEY MODEL CASE" at a time and prints a JSON object for each.
import OpenAI from "openai";
import { answering, image, question, schema, tool } from "./asked.mjs";

const messages = [{ role: "user", content: question }];
const tools = [{ type: "function", function: tool }];

const custom = { tools: [{ type: "custom", custom: { name: tool.name } }], tool_choice: { type: "custom", custom: { name: tool.name } } };
const flatCustom = {
  tools: [{ type: "custom", name: tool.name }], tool_choice: { type: "allowed_tools", mode: "required", tools: [{ type: "custom", name: tool.name }] },
};

const shown = (answer) => ({
  text: answer.choices[0].message.content,
  finish: answer.choices[0].finish_reason,
  model: answer.model,
  provider: answer.provider,
  prompt_tokens: answer.usage.prompt_tokens,
  completion_tokens: answer.usage.completion_tokens,
});

function said(response) {
  const call = response.output.find((item) => item.type === "function_call" || item.type === "custom_tool_call");
  return {
    text: response.output_text,
    name: call?.name,
    arguments: call?.arguments ?? call?.input,
    finish: response.incomplete_details?.reason ?? response.status,
    model: response.model,
    prompt_tokens: response.usage.input_tokens,
    completion_tokens: response.usage.output_tokens,
  };
}

async function gather(stream) {
  const got = { text: "", arguments: "" };
  for await (const chunk of stream) {
    const choice = chunk.choices[0];
    got.text += choice?.delta?.content ?? "";
    for (const call of choice?.delta?.tool_calls ?? []) {
      got.name = call.function?.name ?? call.custom?.name ?? got.name;
      got.arguments += call.function?.arguments ?? call.custom?.input ?? "";
    }
    got.finish = choice?.finish_reason ?? got.finish;
    got.model = chunk.model;
    got.prompt_tokens = chunk.usage?.prompt_tokens ?? got.prompt_tokens;
    got.completion_tokens = chunk.usage?.completion_tokens ?? got.completion_tokens;
  }
  return got;
}

const cases = (client, model) => ({
  whole: async () => shown(await client.chat.completions.create({ model, messages, max_tokens: 24 })),
  stream: async () => gather(await client.chat.completions.create({ model, messages, max_tokens: 24, stream: true, stream_options: { include_usage: true } })),
  async tool() {
    const answer = await client.chat.completions.create({ model, messages, tools, tool_choice: "required" });
    const { name, arguments: text } = answer.choices[0].message.tool_calls[0].function;
    return { ...shown(answer), name, arguments: text };
  },
  stream_tool: async () => gather(await client.chat.completions.create({ model, messages, tools, tool_choice: "required", stream: true })),
  async custom() {
    const answer = await client.chat.completions.create({ model, messages, ...custom });
    const { name, input } = answer.choices[0].message.tool_calls[0].custom;
    return { ...shown(answer), name, arguments: input };
  },
  stream_custom: async () => gather(await client.chat.completions.create({ model, messages, ...custom, stream: true })),
  response_custom: async () => said(await client.responses.create({ model, input: question, ...flatCustom })),
  response_stream_custom: async () => said(await client.responses.stream({ model, input: question, ...flatCustom }).finalResponse()),
  structured: async () =>
    shown(await client.chat.completions.create({ model, messages, response_format: { type: "json_schema", json_schema: { name: "river", schema, strict: true } } })),
  image: async () =>
    shown(await client.chat.completions.create({
      model, max_tokens: 24, messages: [{ role: "user", content: [{ type: "text", text: question }, { type: "image_url", image_url: { url: `data:image/png;base64,${image}` } }] }],
    })),
  completion: async () => {
    const answer = await client.completions.create({ model, prompt: question, max_tokens: 24 });
    return { text: answer.choices[0].text, finish: answer.choices[0].finish_reason, model: answer.model, completion_tokens: answer.usage.completion_tokens };
  },
  response: async () => said(await client.responses.create({ model, input: question, max_output_tokens: 24 })),
  response_stream: async () => said(await client.responses.stream({ model, input: question, max_output_tokens: 24 }).finalResponse()),
  response_tool: async () => said(await client.responses.create({ model, input: question, tools: [{ type: "function", ...tool }], tool_choice: "required" })),
  response_stream_tool: async () =>
    said(await client.responses.stream({ model, input: question, tools: [{ type: "function", ...tool }], tool_choice: "required" }).finalResponse()),
  embedding: async () => {
    const answer = await client.embeddings.create({ model: "m/embed", input: [question], encoding_format: "float" });
    return { model: answer.model, vector: answer.data[0].embedding, prompt_tokens: answer.usage.prompt_tokens };
  },
  async models() {
    const ids = [];
    for await (const one of client.models.list()) ids.push(one.id);
    return { ids };
  },
  retrieve: async () => ({ id: (await client.models.retrieve(model)).id }),
  async cancel() {
    const controller = new AbortController();
    const stream = await client.chat.completions.create({ model, messages, stream: true }, { signal: controller.signal });
    let chunks = 0;
    try {
      for await (const _ of stream) if (++chunks === 3) controller.abort();
    } catch {
      // leaving is what was wanted
    }
    return { chunks };
  },
});

await answering(
  (url, apiKey, model) => cases(new OpenAI({ baseURL: url + "/v1", apiKey, maxRetries: 0 }), model),
  (err) => err instanceof OpenAI.APIError,
);
