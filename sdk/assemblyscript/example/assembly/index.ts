import { Batch, Numbers, plugin, Status } from "../../chaperone";
export * from "../../chaperone/exports";

const price = plugin.column("price.expected");
const ttft = plugin.column("stats.ttft_expected_ms");
const valueOfTime = plugin.field("value_of_time");

const settings = new Numbers();
const patience = settings.add("patience", 1); // 1: waiting counts in full, 0: only the price does

plugin.configure((json: string): string | null => {
  const wrong = settings.read(json);
  if (wrong === null && patience.value < 0) return "patience should not be negative";
  return wrong;
});

plugin.score((batch: Batch): Status => {
  const prices = batch.column(price);
  const ttfts = batch.column(ttft);
  const perMs = batch.field(valueOfTime) / 3.6e6 * patience.value;
  for (let row = 0; row < batch.rows; row++) {
    batch.scores[row] = -(prices[row] + ttfts[row] * perMs);
  }
  return Status.OK;
});
