/* Ttft-target is a scorer that picks the cheapest endpoint of those that answer soon enough: see README.md. */
#include "../../sdk/c/chaperone.h"

/* What an operator may set, with the defaults. */
static double target_ms = 1000;
static double percentile = 90;
static double whole_answers = 0;

static chaperone_column price, median, tail, expected, samples;
static chaperone_field wanted, streamed;

static void setup(void) {
    price = chaperone_find_column("price.expected");
    median = chaperone_find_column("stats.ttft_p50_ms");
    tail = chaperone_find_column("stats.ttft_p90_ms");
    expected = chaperone_find_column("stats.ttft_expected_ms");
    samples = chaperone_find_column("stats.samples");
    wanted = chaperone_find_field("meta.ttft_ms");
    streamed = chaperone_find_field("stream");
}

static int configure(const char *json, uint32_t length) {
    static const chaperone_setting settings[] = {
        {"target_ms", &target_ms}, {"percentile", &percentile}, {"whole_answers", &whole_answers}};
    int status = chaperone_numbers(json, length, settings, 3);
    if (status != CHAPERONE_OK) return status;
    if (!(target_ms > 0)) {
        CHAPERONE_FAIL("target_ms should be greater than 0");
        return CHAPERONE_ERROR;
    }
    if (percentile != 50 && percentile != 90) {
        CHAPERONE_FAIL("percentile should be 50 or 90");
        return CHAPERONE_ERROR;
    }
    if (whole_answers != 0 && whole_answers != 1) {
        CHAPERONE_FAIL("whole_answers should be 0 or 1");
        return CHAPERONE_ERROR;
    }
    return CHAPERONE_OK;
}

/* Of fewer attempts than this a percentile says little. */
static const double enough_samples = 10;

/* The time to the first token that a row is held to, NaN where it is not known. */
static double ttft(const chaperone_batch *b, uint32_t row) {
    double measured = chaperone_values(b, percentile == 50 ? median : tail)[row];
    double expectation = chaperone_values(b, expected)[row];
    return chaperone_values(b, samples)[row] >= enough_samples ? chaperone_or(measured, expectation) : expectation;
}

static int score(const chaperone_batch *b) {
    double target = chaperone_value(b, wanted);
    if (!(target > 0)) {
        if (!whole_answers && chaperone_value(b, streamed) == 0) return CHAPERONE_ABSTAIN;
        target = target_ms;
    }
    const double *prices = chaperone_values(b, price);

    double least = CHAPERONE_INFINITY; /* the lowest price of an endpoint that meets the target */
    for (uint32_t row = 0; row < b->rows; row++)
        if (ttft(b, row) <= target && prices[row] < least) least = prices[row];

    /* 0.5 to 1 for endpoints that meet the target, the cheaper the higher; below 0.5 for others, the sooner the higher. */
    const double epsilon = 1e-6;
    for (uint32_t row = 0; row < b->rows; row++) {
        double t = ttft(b, row);
        if (t <= target)
            b->scores[row] = 0.5 + 0.5 * (least + epsilon) / (prices[row] + epsilon);
        else
            b->scores[row] = 0.5 * target / t; /* NaN, no opinion, where nothing is known */
    }
    return CHAPERONE_OK;
}

CHAPERONE_PLUGIN(.setup = setup, .configure = configure, .score = score);
