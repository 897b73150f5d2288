// The AssemblyScript SDK for Chaperone's scorer plugins. AssemblyScript looks like TypeScript and is not: functions capture no
// variables but a module's own, and types are those of WebAssembly. README.md beside this folder shows a whole scorer;
// sdk/README.md describes the interface and the vocabulary.
import { Attempts, Batch, Column, Field, Observed } from "./batch";
import { CHAPERONE_MANIFEST, listOf, placeOf } from "./manifest";

export { Attempts, Batch, Column, Field, Observed, Scores, Values } from "./batch";
export { Level, log } from "./log";
export { Numbers, Setting } from "./numbers";

// What a function of a plugin returns.
export enum Status {
  OK = 0,
  Abstain = 1, // scoring only: no opinion on this request
  Error = 2, // costs the instance
}

const columns = listOf(CHAPERONE_MANIFEST, "columns");
const request = listOf(CHAPERONE_MANIFEST, "request");
const observe = listOf(CHAPERONE_MANIFEST, "observe");

export namespace plugin {
  // Finds a column of the manifest. Like field and observed it refuses the module at load where there is none of that name.
  export function column(name: string): Column {
    return new Column(placeOf(name, columns, "columns"));
  }

  // Finds a request field of the manifest.
  export function field(name: string): Field {
    return new Field(placeOf(name, request, "request"));
  }

  // Finds what the manifest wants to observe of finished attempts.
  export function observed(name: string): Observed {
    return new Observed(placeOf(name, observe, "observe"));
  }

  // Sets the scoring function. It sets batch.scores, which are NaN (no opinion) before; higher is better.
  export function score(f: (batch: Batch) => Status): void {
    scorer = f;
  }

  // Sets the function that is given the operator's configuration, a JSON object, once before the first batch. A text that it
  // returns refuses the plugin at load; null accepts.
  export function configure(f: (json: string) => string | null): void {
    configurer = f;
  }

  // Sets the function that learns from finished attempts.
  export function learn(f: (attempts: Attempts) => Status): void {
    learner = f;
  }

  // Sets the function that gives what was learned, as bytes that the other understands.
  export function keep(save: () => StaticArray<u8>, restore: (saved: StaticArray<u8>) => Status): void {
    saver = save;
    restorer = restore;
  }
}

// What a plugin has set; exports.ts calls it.
export let scorer: ((batch: Batch) => Status) | null = null;
export let configurer: ((json: string) => string | null) | null = null;
export let learner: ((attempts: Attempts) => Status) | null = null;
export let saver: (() => StaticArray<u8>) | null = null;
export let restorer: ((saved: StaticArray<u8>) => Status) | null = null;

// How many request fields there are.
export const fields: i32 = request.length;
