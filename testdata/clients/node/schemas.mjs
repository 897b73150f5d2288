// The forms that OpenRouter's SDK expects of answers, as JSON Schemas: node schemas.mjs NAME… Prints one JSON object.
import * as models from "@openrouter/sdk/models";
import * as operations from "@openrouter/sdk/models/operations";
import * as z from "zod/v4";

const all = { ...operations, ...models };
const schemas = {};
for (const name of process.argv.slice(2)) {
  schemas[name] = z.toJSONSchema(all[`${name}$inboundSchema`], { io: "input", unrepresentable: "any" });
}
console.log(JSON.stringify(schemas));
