#include "../chaperone.h"

static chaperone_column price, ttft;
static chaperone_field value_of_time;
static double patience = 1; /* 1: waiting counts in full, 0: only the price does */

static void setup(void) {
    price = chaperone_find_column("price.expected");
    ttft = chaperone_find_column("stats.ttft_expected_ms");
    value_of_time = chaperone_find_field("value_of_time");
}

static int configure(const char *json, uint32_t length) {
    static const chaperone_setting settings[] = {{"patience", &patience}};
    if (chaperone_numbers(json, length, settings, 1) != CHAPERONE_OK) return CHAPERONE_ERROR;
    if (patience >= 0) return CHAPERONE_OK;
    CHAPERONE_FAIL("patience should not be negative");
    return CHAPERONE_ERROR;
}

static int score(const chaperone_batch *batch) {
    const double *prices = chaperone_values(batch, price), *ttfts = chaperone_values(batch, ttft);
    double per_ms = chaperone_value(batch, value_of_time) / 3.6e6 * patience;
    for (uint32_t row = 0; row < batch->rows; row++)
        batch->scores[row] = -(prices[row] + ttfts[row] * per_ms);
    return CHAPERONE_OK;
}

CHAPERONE_PLUGIN(.setup = setup, .configure = configure, .score = score);
