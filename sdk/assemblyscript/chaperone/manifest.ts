import { Level, log } from "./log";

// manifest.mjs puts the text of manifest.toml here when a plugin is compiled.
export const CHAPERONE_MANIFEST: string = "";

// Where failures end: a line in the log, and a trap.
export function chaperoneAbort(message: string | null, file: string | null, line: u32, column: u32): void {
  const text = message ? message : "abort";
  log(Level.Error, (file ? file + ":" + line.toString() + ": " : "") + text);
  unreachable();
}

function isSpace(c: i32): bool {
  return c == 0x20 || c == 0x09;
}

// Where the value of a top-level key begins; -1: nowhere.
function valueOf(text: string, key: string): i32 {
  let i = 0;
  while (i < text.length) {
    while (i < text.length && isSpace(text.charCodeAt(i))) i++;
    if (text.charAt(i) == "[") return -1; // a table: the top level has ended
    let end = text.indexOf("\n", i);
    if (end < 0) end = text.length;
    const equals = text.indexOf("=", i);
    if (equals >= 0 && equals < end) {
      let name = text.substring(i, equals).trim();
      if (name.length >= 2 && (name.startsWith('"') || name.startsWith("'"))) name = name.substring(1, name.length - 1);
      if (name == key) {
        i = equals + 1;
        while (i < text.length && isSpace(text.charCodeAt(i))) i++;
        return i;
      }
    }
    i = end + 1;
  }
  return -1;
}

// The strings of one of the manifest's lists. Names of the vocabulary need no escapes.
export function listOf(text: string, key: string): string[] {
  const names: string[] = [];
  let i = valueOf(text, key);
  if (i < 0 || text.charAt(i) != "[") return names;
  for (i++; i < text.length && text.charAt(i) != "]"; i++) {
    const c = text.charAt(i);
    if (c == "#") {
      while (i < text.length && text.charAt(i) != "\n") i++;
    } else if (c == '"' || c == "'") {
      let end = text.indexOf(c, i + 1);
      if (end < 0) end = text.length;
      names.push(text.substring(i + 1, end));
      i = end;
    }
  }
  return names;
}

// The place of a name in a list. One that is not there refuses the module at load.
export function placeOf(name: string, names: string[], list: string): i32 {
  const at = names.indexOf(name);
  if (at < 0) throw new Error(name + " is not in the manifest's " + list);
  return at;
}
