// Cost-latency is a scorer that turns waiting into money at a rate that the operator, or the caller, sets: see README.md.
import { Batch, Numbers, plugin, Status } from "../chaperone";
export * from "../chaperone/exports";

const price = plugin.column("price.expected");
const ttft = plugin.column("stats.ttft_expected_ms");
const tps = plugin.column("stats.tps_expected");
const success = plugin.column("stats.success");
const lost = plugin.column("stats.lost_expected_ms");
const outputTokens = plugin.field("output_tokens");
const stream = plugin.field("stream");
const wantedRate = plugin.field("meta.usd_per_hour");

const settings = new Numbers();
const rate = settings.add("usd_per_hour", 10);
const greatestRate = settings.add("greatest_usd_per_hour", 100); // that a caller may set
const readingSpeed = settings.add("reading_tokens_per_second", 10);

plugin.configure((json: string): string | null => {
  const wrong = settings.read(json);
  if (wrong !== null) return wrong;
  if (rate.value < 0) return "usd_per_hour should not be negative";
  if (greatestRate.value < 0) return "greatest_usd_per_hour should not be negative";
  if (!(readingSpeed.value > 0)) return "reading_tokens_per_second should be greater than 0";
  return null;
});

// How many seconds a caller waits for an answer. Who reads a stream waits for its beginning, and then for as much as it comes
// slower than can be read.
function wait(ttftMs: f64, tps: f64, tokens: f64, streams: bool): f64 {
  const writing = tokens / tps;
  return ttftMs / 1000 + (streams ? Math.max(0, writing - tokens / readingSpeed.value) : writing);
}

plugin.score((batch: Batch): Status => {
  const asked = batch.field(wantedRate);
  const perSecond = (asked >= 0 ? Math.min(asked, greatestRate.value) : rate.value) / 3600;
  const tokens = batch.field(outputTokens);
  const streams = batch.field(stream) == 1;
  const prices = batch.column(price);
  const ttfts = batch.column(ttft);
  const speeds = batch.column(tps);
  const successes = batch.column(success);
  const losses = batch.column(lost);
  for (let row = 0; row < batch.rows; row++) {
    const p = successes[row];
    const failures = (1 - p) / p; // that are to be expected before an attempt succeeds
    const seconds = wait(ttfts[row], speeds[row], tokens, streams) + (failures * losses[row]) / 1000;
    batch.scores[row] = -(prices[row] + perSecond * seconds);
  }
  return Status.OK;
});
