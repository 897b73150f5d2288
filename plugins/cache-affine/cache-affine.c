/* Cache-affine is a scorer that keeps a conversation where its prompt is likely to be cached: see README.md. */
#include "../../sdk/c/chaperone.h"

/* What an operator may set, with the defaults; README.md says where they come from. */
static double cached_share = 0.8;
static double price_slack = 1.25;
static double prefill_ms_per_1000_tokens = 50;
static double least_prompt_tokens = 1024;

static chaperone_column endpoint, expected, prompt, cache_read;
static chaperone_field session, prompt_tokens, value_of_time;

static void setup(void) {
    endpoint = chaperone_find_column("endpoint");
    expected = chaperone_find_column("price.expected");
    prompt = chaperone_find_column("price.prompt");
    cache_read = chaperone_find_column("price.cache_read");
    session = chaperone_find_field("meta.session");
    prompt_tokens = chaperone_find_field("prompt_tokens");
    value_of_time = chaperone_find_field("value_of_time");
}

static int configure(const char *json, uint32_t length) {
    static const chaperone_setting settings[] = {
        {"cached_share", &cached_share},
        {"price_slack", &price_slack},
        {"prefill_ms_per_1000_tokens", &prefill_ms_per_1000_tokens},
        {"least_prompt_tokens", &least_prompt_tokens},
    };
    if (chaperone_numbers(json, length, settings, 4) != CHAPERONE_OK) return CHAPERONE_ERROR;
    if (!(cached_share >= 0 && cached_share <= 1)) {
        CHAPERONE_FAIL("cached_share should be 0 to 1");
        return CHAPERONE_ERROR;
    }
    if (!(price_slack >= 1)) {
        CHAPERONE_FAIL("price_slack should be 1 or greater");
        return CHAPERONE_ERROR;
    }
    if (prefill_ms_per_1000_tokens < 0 || least_prompt_tokens < 0) {
        CHAPERONE_FAIL("prefill_ms_per_1000_tokens and least_prompt_tokens should not be negative");
        return CHAPERONE_ERROR;
    }
    return CHAPERONE_OK;
}

static uint64_t bits(double v) {
    uint64_t b;
    __builtin_memcpy(&b, &v, sizeof b);
    return b;
}

/* The finalizer of SplitMix64: every bit of the input sways every bit of the output. */
static uint64_t mix(uint64_t x) {
    x ^= x >> 30, x *= 0xbf58476d1ce4e5b9ull;
    x ^= x >> 27, x *= 0x94d049bb133111ebull;
    return x ^ x >> 31;
}

static int score(const chaperone_batch *b) {
    double conversation = chaperone_value(b, session), tokens = chaperone_value(b, prompt_tokens);
    if (!chaperone_known(conversation) || !(tokens >= least_prompt_tokens)) return CHAPERONE_ABSTAIN;
    const double *prices = chaperone_values(b, expected), *endpoints = chaperone_values(b, endpoint);
    const double *full = chaperone_values(b, prompt), *cached = chaperone_values(b, cache_read);

    double least = CHAPERONE_INFINITY;
    for (uint32_t row = 0; row < b->rows; row++)
        if (prices[row] < least) least = prices[row];

    /* Rendezvous hashing: of the rows that are not too dear, the conversation's home is the one with the greatest hash. Where
     * that one drops out, only its conversations move, and every replica of the router agrees without a word. */
    uint32_t home = b->rows;
    uint64_t greatest = 0;
    for (uint32_t row = 0; row < b->rows; row++) {
        uint64_t hash = mix(bits(conversation) ^ mix(bits(endpoints[row])));
        if (prices[row] <= least * price_slack && (home == b->rows || hash > greatest)) home = row, greatest = hash;
    }

    for (uint32_t row = 0; row < b->rows; row++) {
        b->scores[row] = -prices[row];
        if (row != home) continue;
        double saved = tokens * cached_share;
        double money = saved / 1e6 * (full[row] - cached[row]);
        double time = saved / 1000 * prefill_ms_per_1000_tokens / 3.6e6 * chaperone_value(b, value_of_time);
        b->scores[row] += (money > 0 ? money : 0) + (time > 0 ? time : 0);
    }
    return CHAPERONE_OK;
}

CHAPERONE_PLUGIN(.setup = setup, .configure = configure, .score = score);
