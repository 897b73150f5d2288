// A transform of the AssemblyScript compiler: it puts manifest.toml into the SDK, and has failures end in the router's log
// instead of calling env.abort, which the router does not have.
import { readFileSync } from "node:fs";
import { join } from "node:path";

export default class {
  afterParse(parser) {
    for (const source of parser.sources) {
      for (const statement of source.statements) {
        for (const declaration of statement.declarations ?? []) {
          if (declaration.name.text === "CHAPERONE_MANIFEST" && declaration.initializer) {
            declaration.initializer.value = readFileSync(join(this.baseDir, "manifest.toml"), "utf8");
            const options = this.program.options;
            options.globalAliases ??= new Map();
            options.globalAliases.set("abort", source.internalPath + "/chaperoneAbort");
          }
        }
      }
    }
  }
}
