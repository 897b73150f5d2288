// How important a line of the log is.
export enum Level {
  Debug,
  Info,
  Warn,
  Error,
}

@external("chaperone", "log")
declare function hostLog(level: i32, text: usize, length: i32): void;

// Writes a line to the router's log, which keeps a few lines a second of at most 1,024 bytes.
export function log(level: Level, text: string): void {
  const bytes = String.UTF8.encode(text);
  hostLog(level, changetype<usize>(bytes), bytes.byteLength);
}
