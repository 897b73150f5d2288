// Carbon-aware is a scorer that counts the carbon dioxide of a request as a part of its price: see README.md.
import { Batch, Column, Numbers, plugin, Status } from "../chaperone";
export * from "../chaperone/exports";

const price = plugin.column("price.expected");
const grid = plugin.column("attr.grid_gco2_kwh");
const hourly: Column[] = []; // the grid by the hour of the day
for (let h = 0; h < 24; h++) hourly.push(plugin.column("attr.grid_gco2_kwh_" + h.toString().padStart(2, "0")));
const promptTokens = plugin.field("prompt_tokens");
const outputTokens = plugin.field("output_tokens");
const hour = plugin.field("hour");

// README.md says where the defaults come from.
const settings = new Numbers();
const usdPerTonne = settings.add("usd_per_tonne_co2", 100);
const promptKWh = settings.add("kwh_per_million_prompt_tokens", 0.06);
const outputKWh = settings.add("kwh_per_million_output_tokens", 0.6);
const unknownGrid = settings.add("unknown_grid_gco2_kwh", 480);

plugin.configure((json: string): string | null => {
  const wrong = settings.read(json);
  if (wrong !== null) return wrong;
  if (usdPerTonne.value < 0) return "usd_per_tonne_co2 should not be negative";
  if (promptKWh.value < 0) return "kwh_per_million_prompt_tokens should not be negative";
  if (outputKWh.value < 0) return "kwh_per_million_output_tokens should not be negative";
  if (unknownGrid.value < 0) return "unknown_grid_gco2_kwh should not be negative";
  return null;
});

// v, or instead where v is not known.
function known(v: f64, instead: f64): f64 {
  return isNaN(v) ? instead : v;
}

plugin.score((batch: Batch): Status => {
  const kWh = (known(batch.field(promptTokens), 0) * promptKWh.value + known(batch.field(outputTokens), 0) * outputKWh.value) / 1e6;
  const now = batch.field(hour);
  const prices = batch.column(price);
  const grids = batch.column(grid);
  const gridsNow = now >= 0 && now < 24 ? batch.column(hourly[<i32>now]) : grids;
  for (let row = 0; row < batch.rows; row++) {
    const tonnes = (kWh * known(gridsNow[row], known(grids[row], unknownGrid.value))) / 1e6;
    batch.scores[row] = -(prices[row] + tonnes * usdPerTonne.value);
  }
  return Status.OK;
});
