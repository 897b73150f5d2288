// Places in the manifest's lists.
export class Column {
  constructor(public readonly at: i32) {}
}

export class Field {
  constructor(public readonly at: i32) {}
}

export class Observed {
  constructor(public readonly at: i32) {}
}

// The values of a column, one per row; what is not known is NaN.
export class Values {
  length: i32 = 0;
  protected address: usize = 0;

  set(address: usize, length: i32): void {
    this.address = address;
    this.length = length;
  }

  @operator("[]")
  private get(row: i32): f64 {
    if (<u32>row >= <u32>this.length) throw new RangeError("row " + row.toString() + " of " + this.length.toString());
    return load<f64>(this.address + (<usize>row << 3));
  }
}

// The scores, one per row.
export class Scores extends Values {
  @operator("[]=")
  private put(row: i32, score: f64): void {
    if (<u32>row >= <u32>this.length) throw new RangeError("row " + row.toString() + " of " + this.length.toString());
    store<f64>(this.address + (<usize>row << 3), score);
  }
}

// The candidates of one request. It and its values are good until the scoring function returns.
export class Batch {
  rows: i32 = 0;
  scores: Scores = new Scores(); // NaN, no opinion, before; higher is better
  nowMs: f64 = 0; // Unix time in milliseconds
  seed: u64 = 0;

  protected columns: Values[] = [];
  protected request: Values = new Values();

  // The values of a column.
  column(column: Column): Values {
    return this.columns[column.at];
  }

  // The value of a request field; NaN where it is not known.
  field(field: Field): f64 {
    return this.request[field.at];
  }

  // Reads the arena's header, which the host writes before every call.
  read(arena: usize, rows: i32, columns: i32, fields: i32): void {
    const capacity = load<u32>(arena, 8);
    while (this.columns.length < columns) this.columns.push(new Values());
    let at = arena + load<u32>(arena, 16);
    for (let i = 0; i < columns; i++, at += <usize>capacity << 3) this.columns[i].set(at, rows);
    this.request.set(arena + load<u32>(arena, 20), fields);
    this.scores.set(arena + load<u32>(arena, 24), rows);
    this.rows = rows;
    this.nowMs = load<f64>(arena, 32);
    this.seed = load<u64>(arena, 40);
  }
}

// Finished attempts, a row each.
export class Attempts extends Batch {
  // What was observed of the attempts, one value each; what is not known is NaN.
  observed(observed: Observed): Values {
    return this.columns[observed.at];
  }
}
