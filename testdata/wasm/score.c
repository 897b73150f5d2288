// The C scorer of the benchmarks: a cost in dollars and time of six columns and two request fields, in one loop over the
// rows, with nothing but the ABI.
//
//   clang --target=wasm32 -O2 -nostdlib -Wl,--no-entry -Wl,--strip-all -o score.wasm score.c
#define EXPORT(name) __attribute__((export_name(name)))

typedef struct {
  unsigned magic, rows, capacity, columns, columns_at, request_at, scores_at, bytes;
} header;

static _Alignas(8) unsigned char arena[64 << 10];

EXPORT("chaperone_init") int init(int bytes) { return bytes <= (int)sizeof arena ? (int)arena : 0; }

EXPORT("chaperone_score") int score(int rows) {
  const header *h = (const header *)arena;
  const double *columns = (const double *)(arena + h->columns_at);
  const double *request = (const double *)(arena + h->request_at);
  double *scores = (double *)(arena + h->scores_at);
  const double *prompt = columns, *completion = prompt + h->capacity, *ttft = completion + h->capacity;
  const double *tps = ttft + h->capacity, *success = tps + h->capacity, *carbon = success + h->capacity;
  for (int i = 0; i < rows; i++) {
    double usd = (prompt[i] * request[0] + completion[i] * request[1]) * 1e-6;
    double seconds = ttft[i] * 1e-3 + request[1] / tps[i];
    scores[i] = -(usd + seconds * 2e-5 + carbon[i] * 1e-7) / (success[i] > 0.01 ? success[i] : 0.01);
  }
  return 0;
}
