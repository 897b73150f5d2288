// What every client asks.
import { createInterface } from "node:readline";

export const question = "Tell me about rivers.";
export const schema = {
  type: "object", properties: { name: { type: "string" }, km: { type: "integer" } }, required: ["name", "km"], additionalProperties: false,
};
export const tool = { name: "look_up", description: "Looks a river up.", parameters: { type: "object", properties: { q: { type: "string" } }, required: ["q"] } };
// A PNG of one pixel.
export const image = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

// Answers the lines of standard input, each a key, a model and a case. known tells an SDK's own errors.
export async function answering(cases, known) {
  for await (const line of createInterface({ input: process.stdin })) {
    const [key, model, what] = line.split(" ");
    let got;
    try {
      got = await cases(process.argv[2], key, model)[what]();
    } catch (err) {
      if (!known(err)) throw err;
      got = { thrown: true, status: err.status, message: err.message };
    }
    console.log(JSON.stringify(got));
  }
}
