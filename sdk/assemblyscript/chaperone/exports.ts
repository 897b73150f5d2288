// What the host calls; sdk/README.md describes it. A plugin's entry file exports all of it.
import { Attempts, Batch, configurer, fields, learner, Level, log, restorer, saver, scorer, Status } from "./index";

let arena: usize = 0;
const batch = new Batch();
const attempts = new Attempts();
let saved: StaticArray<u8> = new StaticArray<u8>(0); // kept, so that it is not collected before the host has read it

export function chaperone_init(bytes: i32): usize {
  if (scorer === null) {
    log(Level.Error, "there is no scoring function: call plugin.score");
    return 0;
  }
  arena = heap.alloc(bytes);
  return arena;
}

export function chaperone_configure(length: i32): i32 {
  const json = String.UTF8.decodeUnsafe(arena, length);
  const configure = configurer;
  if (configure === null) {
    if (json == "{}") return Status.OK;
    log(Level.Error, "there is a configuration, but this scorer takes none");
    return Status.Error;
  }
  const wrong = configure(json);
  if (wrong === null) return Status.OK;
  log(Level.Error, wrong);
  return Status.Error;
}

export function chaperone_score(rows: i32): i32 {
  batch.read(arena, rows, load<u32>(arena, 12), fields);
  return scorer!(batch);
}

export function chaperone_observe(rows: i32): i32 {
  const learn = learner;
  if (learn === null) return Status.OK;
  attempts.read(arena, rows, load<u32>(arena, 12), 0);
  return learn(attempts);
}

export function chaperone_save(): u64 {
  const save = saver;
  if (save === null) return 0;
  saved = save();
  return (<u64>changetype<usize>(saved) << 32) | <u64>saved.length;
}

export function chaperone_restore(length: i32): i32 {
  const restore = restorer;
  if (restore === null) return length == 0 ? Status.OK : Status.Error;
  const bytes = new StaticArray<u8>(length);
  memory.copy(changetype<usize>(bytes), arena, length);
  return restore(bytes);
}
