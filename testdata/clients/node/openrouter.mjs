// OpenRouter's Node SDK, which checks every answer by its schemas, against a running router: node openrouter.mjs BASE_URL. Reads a line
// "KEY MODEL CASE" at a time and prints a JSON object for each.
import { OpenRouter } from "@openrouter/sdk";
import { OpenRouterError, SDKValidationError } from "@openrouter/sdk/models/errors";
import { answering, image, question, schema, tool } from "./asked.mjs";

const shown = (answer) => {
  const call = answer.choices[0].message.toolCalls?.[0];
  return {
    text: answer.choices[0].message.content,
    finish: answer.choices[0].finishReason,
    model: answer.model,
    name: call?.function.name,
    arguments: call?.function.arguments,
    prompt_tokens: answer.usage.promptTokens,
    completion_tokens: answer.usage.completionTokens,
  };
};

async function gather(stream) {
  const got = { text: "", arguments: "" };
  for await (const chunk of stream) {
    if (chunk.error) return { ...got, thrown: true, status: chunk.error.code, message: chunk.error.message };
    const choice = chunk.choices[0];
    got.text += choice?.delta?.content ?? "";
    for (const call of choice?.delta?.toolCalls ?? []) {
      got.name = call.function?.name ?? got.name;
      got.arguments += call.function?.arguments ?? "";
    }
    got.finish = choice?.finishReason ?? got.finish;
    got.model = chunk.model;
    got.prompt_tokens = chunk.usage?.promptTokens ?? got.prompt_tokens;
    got.completion_tokens = chunk.usage?.completionTokens ?? got.completion_tokens;
  }
  return got;
}

const cases = (client, model) => {
  const [author, slug] = model.split("/");
  const send = (more) => client.chat.send({ chatRequest: { model, messages: [{ role: "user", content: question }], ...more } });
  const tools = { tools: [{ type: "function", function: tool }], toolChoice: "required" };
  return {
    whole: async () => shown(await send({ maxTokens: 24 })),
    stream: async () => gather(await send({ maxTokens: 24, stream: true })),
    tool: async () => shown(await send(tools)),
    stream_tool: async () => gather(await send({ ...tools, stream: true })),
    structured: async () => shown(await send({ responseFormat: { type: "json_schema", jsonSchema: { name: "river", schema, strict: true } } })),
    image: async () =>
      shown(await send({
        maxTokens: 24,
        messages: [{ role: "user", content: [{ type: "text", text: question }, { type: "image_url", imageUrl: { url: `data:image/png;base64,${image}` } }] }],
      })),
    async models() {
      const ids = [];
      for await (const page of await client.models.list({ limit: 3 })) ids.push(...page.result.data.map((one) => one.id));
      return { ids };
    },
    retrieve: async () => ({ id: (await client.models.get({ author, slug })).data.id }),
    async listings() {
      const count = (await client.models.count()).data.count;
      const endpoints = (await client.endpoints.list({ author, slug })).data.endpoints.map((one) => one.providerName);
      const providers = (await client.providers.list()).data.map((one) => one.slug);
      await client.endpoints.listZdrEndpoints();
      return { chunks: count, ids: [...endpoints, ...providers] };
    },
    async cancel() {
      let chunks = 0;
      for await (const _ of await send({ stream: true })) if (++chunks === 3) break;
      return { chunks };
    },
  };
};

await answering(
  (url, apiKey, model) => cases(new OpenRouter({ apiKey, serverURL: url + "/api/v1", retryConfig: { strategy: "none" } }), model),
  (err) => {
    if (err instanceof SDKValidationError) console.error(JSON.stringify(err.cause?.issues ?? err.cause), JSON.stringify(err.rawValue).slice(0, 600));
    err.status = err.statusCode;
    return err instanceof OpenRouterError;
  },
);
