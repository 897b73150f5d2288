// Settings that are numbers: add each with its default, then read a configuration.
//
//   const settings = new Numbers();
//   const patience = settings.add("patience", 1);
//   plugin.configure((json: string): string | null => settings.read(json));
//   … patience.value
export class Setting {
  constructor(public readonly name: string, public value: f64) {}
}

export class Numbers {
  private settings: Setting[] = [];

  add(name: string, value: f64): Setting {
    const setting = new Setting(name, value);
    this.settings.push(setting);
    return setting;
  }

  // Reads one flat JSON object of numbers. It is strict: a key that is not a setting, a key twice and anything but a number is
  // an error, which is returned as a text that says what would be right; null: none. Names of settings have no escapes.
  read(json: string): string | null {
    const r = new Reader(json);
    const seen = new Set<string>();
    if (!r.next("{")) return "the configuration should be a JSON object";
    for (let more = !r.next("}"); more; ) {
      if (!r.next('"')) return 'the configuration should have a key in quotes at "' + r.excerpt() + '"';
      const end = json.indexOf('"', r.at);
      if (end < 0) return "the configuration has a key that does not end";
      const name = json.substring(r.at, end);
      r.at = end + 1;
      let setting: Setting | null = null;
      for (let i = 0; i < this.settings.length; i++) if (this.settings[i].name == name) setting = this.settings[i];
      if (setting === null) {
        const names = this.settings.map<string>((s) => s.name).join(", ");
        return 'there is no setting "' + name + '"; there are ' + names;
      }
      if (seen.has(name)) return '"' + name + '" is there twice';
      seen.add(name);
      if (!r.next(":")) return 'a colon should follow "' + name + '"';
      const value = r.number();
      if (isNaN(value)) return name + " should be a number, is " + r.excerpt();
      setting.value = value;
      more = r.next(",");
      if (!more && !r.next("}")) return 'a comma or brace should follow the value of "' + name + '"';
    }
    r.space();
    return r.at < json.length ? "something follows the configuration's object" : null;
  }
}

function isDigit(c: i32): bool {
  return c >= 0x30 && c <= 0x39;
}

class Reader {
  at: i32 = 0;

  constructor(private text: string) {}

  // The character at a place; -1 behind the end.
  private code(i: i32): i32 {
    return i < this.text.length ? this.text.charCodeAt(i) : -1;
  }

  space(): void {
    while (" \t\r\n".includes(this.text.charAt(this.at)) && this.at < this.text.length) this.at++;
  }

  next(token: string): bool {
    this.space();
    if (this.text.charAt(this.at) != token) return false;
    this.at++;
    return true;
  }

  // The value or whatever else stands here, at most 20 characters of it.
  excerpt(): string {
    let text = this.text.substring(this.at, this.at + 20);
    const comma = text.indexOf(",");
    if (comma >= 0) text = text.substring(0, comma);
    text = text.trim();
    while (text.endsWith("}")) text = text.substring(0, text.length - 1).trim();
    return text;
  }

  // A number of JSON; NaN where there is none, or one that is too large for an f64.
  number(): f64 {
    this.space();
    let i = this.at;
    const negative = this.code(i) == 0x2d;
    if (negative) i++;
    let digits: u64 = 0;
    let exponent: i32 = 0;
    let any = false;
    let behind = false;
    let sticky = false;
    for (; isDigit(this.code(i)) || (this.code(i) == 0x2e && !behind); i++) {
      const c = this.code(i);
      if (c == 0x2e) {
        behind = true;
        continue;
      }
      any = true;
      if (digits < 1000000000000000000) {
        digits = digits * 10 + <u64>(c - 0x30);
        if (behind) exponent--;
      } else {
        if (c != 0x30) sticky = true;
        if (!behind) exponent++;
      }
    }
    if (!any) return NaN;
    if (this.code(i) == 0x65 || this.code(i) == 0x45) {
      i++;
      const less = this.code(i) == 0x2d;
      if (less || this.code(i) == 0x2b) i++;
      if (!isDigit(this.code(i))) return NaN;
      let e: i32 = 0;
      for (; isDigit(this.code(i)); i++) if (e < 100000) e = e * 10 + this.code(i) - 0x30;
      exponent += less ? -e : e;
    }
    const value = decimal(digits, exponent, sticky);
    if (value == Infinity) return NaN;
    this.at = i;
    return negative ? -value : value;
  }
}

const WORDS = 72;
const POINT = 36;

// digits × 10^exponent, rounded to the nearest f64, ties to even; sticky says that digits follow that were cut off. It is
// computed exactly: a number of 36 words before and 36 behind the point is multiplied or divided by ten. (The standard
// library's parseFloat is off by a unit in the last place now and then.)
function decimal(digits: u64, exponent: i32, sticky: bool): f64 {
  if (digits == 0 || exponent < -345) return 0;
  if (exponent > 310) return Infinity;
  const words = new StaticArray<u32>(WORDS); // the least significant first
  words[POINT] = <u32>digits;
  words[POINT + 1] = <u32>(digits >> 32);
  for (; exponent > 0; exponent--) {
    let carry: u64 = 0;
    for (let i = 0; i < WORDS; i++) {
      carry += <u64>words[i] * 10;
      words[i] = <u32>carry;
      carry >>= 32;
    }
  }
  for (; exponent < 0; exponent++) {
    let rest: u64 = 0;
    for (let i = WORDS - 1; i >= 0; i--) {
      rest = (rest << 32) | words[i];
      words[i] = <u32>(rest / 10);
      rest %= 10;
    }
    if (rest != 0) sticky = true;
  }
  let top = WORDS * 32 - 1;
  while (top >= 0 && !bit(words, top)) top--;
  if (top < 0) return 0;
  const power = top - POINT * 32; // of two, of the first bit
  let last = power < -1022 ? -1074 : power - 52; // of the last bit that an f64 keeps
  const cut = last + POINT * 32; // where that bit is in words
  let kept: u64 = 0;
  for (let i = top; i >= cut; i--) kept = (kept << 1) | bit(words, i);
  for (let i = 0; i < cut - 1 && !sticky; i++) if (bit(words, i)) sticky = true;
  if (bit(words, cut - 1) && (sticky || kept & 1)) kept++;
  if (kept >> 53) {
    kept >>= 1;
    last++;
  }
  if (last > 971) return Infinity;
  return reinterpret<f64>(kept >> 52 ? (<u64>(last + 1075) << 52) | (kept & 0xfffffffffffff) : kept);
}

function bit(words: StaticArray<u32>, i: i32): u64 {
  return (words[i >> 5] >> (i & 31)) & 1;
}
