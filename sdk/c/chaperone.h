/*
 * The C SDK for Chaperone's scorer plugins: one header, no libc. README.md beside it shows a whole scorer; sdk/README.md
 * describes the interface and the vocabulary.
 *
 * Include it in exactly one C file of a plugin, with manifest.toml in the folder that the compiler runs in or in its include
 * path. Build with clang and lld:
 *
 *     clang --target=wasm32 -std=c11 -O2 -ffreestanding -nostdlib -mbulk-memory -Wl,--no-entry -Wl,--strip-all \
 *         -o plugin.wasm plugin.c
 */
#ifndef CHAPERONE_H
#define CHAPERONE_H

#ifndef __wasm32__
#error "build for WebAssembly: clang --target=wasm32"
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHAPERONE_NAN __builtin_nan("")
#define CHAPERONE_INFINITY __builtin_inf()

/* What a function of a plugin returns. */
enum {
    CHAPERONE_OK = 0,
    CHAPERONE_ABSTAIN = 1, /* scoring only: no opinion on this request */
    CHAPERONE_ERROR = 2,   /* costs the instance */
};

enum { CHAPERONE_DEBUG, CHAPERONE_INFO, CHAPERONE_WARN, CHAPERONE_ERR };

/* Places in the manifest's lists: of a column, a request field, and what is observed of finished attempts. */
typedef struct { uint32_t at; } chaperone_column;
typedef struct { uint32_t at; } chaperone_field;
typedef struct { uint32_t at; } chaperone_observed;

/* The candidates of one request, or finished attempts, a row each. It is good until the function that it is given to returns.
 * Values that are not known are NaN. */
typedef struct {
    uint32_t rows;
    double *scores; /* one per row, NaN (no opinion) before; higher is better. Not for attempts */
    double now_ms;  /* Unix time in milliseconds */
    uint64_t seed;

    const double *columns_, *request_;
    uint32_t capacity_;
} chaperone_batch;

typedef struct {
    const void *data;
    uint32_t length;
} chaperone_bytes;

/* What a plugin is made of; everything but score may be left out. Setup is the place to find columns and fields. */
typedef struct {
    void (*setup)(void);
    int (*configure)(const char *json, uint32_t length);
    int (*score)(const chaperone_batch *batch);
    int (*observe)(const chaperone_batch *attempts);
    chaperone_bytes (*save)(void); /* good until the next call */
    int (*restore)(const void *data, uint32_t length);
} chaperone_plugin;

/* Declares the plugin: CHAPERONE_PLUGIN(.setup = setup, .score = score) */
#define CHAPERONE_PLUGIN(...) static const chaperone_plugin chaperone_the_plugin = {__VA_ARGS__}
static const chaperone_plugin chaperone_the_plugin;

/* A number that an operator may set, with its default in *value. */
typedef struct {
    const char *name;
    double *value;
} chaperone_setting;

/* ---- text ---- */

static inline uint32_t chaperone_length(const char *text) {
    uint32_t n = 0;
    while (text[n]) n++;
    return n;
}

static inline bool chaperone_same(const char *a, uint32_t length, const char *b) {
    for (uint32_t i = 0; i < length; i++)
        if (!b[i] || a[i] != b[i]) return false;
    return !b[length];
}

/* ---- log ---- */

__attribute__((import_module("chaperone"), import_name("log")))
void chaperone_host_log(int32_t level, const char *text, int32_t length);

/* Writes a line of at most 1,024 bytes to the router's log, which keeps a few lines a second. */
static inline void chaperone_log(int level, const char *text) {
    chaperone_host_log(level, text, (int32_t)chaperone_length(text));
}

/* Writes several texts as one line; the list ends with NULL. */
static void chaperone_log_all(int level, const char *const *texts) {
    char line[1024];
    uint32_t n = 0;
    for (; *texts; texts++)
        for (const char *c = *texts; *c && n < sizeof line; c++) line[n++] = *c;
    chaperone_host_log(level, line, (int32_t)n);
}

/* Logs an error that is made of several texts: CHAPERONE_FAIL("setting ", name, " should not be negative") */
#define CHAPERONE_FAIL(...) chaperone_log_all(CHAPERONE_ERR, (const char *const[]){__VA_ARGS__, NULL})

/* ---- manifest ---- */

/* The manifest's text lies in the module's data, so that names are looked up in what the host was told. */
__asm__(".section .rodata.chaperone_manifest,\"\",@\n"
        ".globl chaperone_manifest\n"
        ".type chaperone_manifest,@object\n"
        "chaperone_manifest:\n"
        ".incbin \"manifest.toml\"\n"
        ".int8 0\n"
        ".Lchaperone_manifest_end:\n"
        ".size chaperone_manifest, .Lchaperone_manifest_end-chaperone_manifest\n");
extern const char chaperone_manifest[];

/* The text behind "key =" of the manifest's top level, or NULL. */
static const char *chaperone_manifest_value(const char *key) {
    const char *line = chaperone_manifest;
    while (*line) {
        while (*line == ' ' || *line == '\t') line++;
        if (*line == '[') return NULL; /* a table: the top level has ended */
        char quote = *line == '"' || *line == '\'' ? *line++ : 0;
        const char *name = line;
        while (*line && *line != '\n' && *line != '=' && *line != ' ' && *line != '\t' && !(quote && *line == quote)) line++;
        bool found = chaperone_same(name, (uint32_t)(line - name), key);
        while (*line && *line != '\n' && *line != '=') line++;
        if (found && *line == '=') {
            line++;
            while (*line == ' ' || *line == '\t') line++;
            return line;
        }
        while (*line && *line++ != '\n') {}
    }
    return NULL;
}

/* The place of a name in one of the manifest's lists. A name that is not there refuses the module at load. The lists hold
 * plain strings: names of the vocabulary need no escapes. */
static uint32_t chaperone_find(const char *list, const char *name) {
    const char *at = chaperone_manifest_value(list);
    if (at && *at == '[') {
        at++;
        for (uint32_t i = 0; *at && *at != ']';) {
            if (*at == '#') {
                while (*at && *at != '\n') at++;
            } else if (*at == '"' || *at == '\'') {
                char quote = *at++;
                const char *item = at;
                while (*at && *at != quote) at++;
                if (chaperone_same(item, (uint32_t)(at - item), name)) return i;
                i++;
                if (*at) at++;
            } else {
                at++;
            }
        }
    }
    CHAPERONE_FAIL(name, " is not in the manifest's ", list);
    __builtin_trap();
}

static inline chaperone_column chaperone_find_column(const char *name) {
    return (chaperone_column){chaperone_find("columns", name)};
}

static inline chaperone_field chaperone_find_field(const char *name) {
    return (chaperone_field){chaperone_find("request", name)};
}

static inline chaperone_observed chaperone_find_observed(const char *name) {
    return (chaperone_observed){chaperone_find("observe", name)};
}

/* ---- values ---- */

/* The values of a column, one per row. */
static inline const double *chaperone_values(const chaperone_batch *b, chaperone_column column) {
    return b->columns_ + (size_t)b->capacity_ * column.at;
}

/* The value of a request field. */
static inline double chaperone_value(const chaperone_batch *b, chaperone_field field) { return b->request_[field.at]; }

/* What was observed of the attempts, one value each. */
static inline const double *chaperone_attempts(const chaperone_batch *b, chaperone_observed observed) {
    return b->columns_ + (size_t)b->capacity_ * observed.at;
}

static inline bool chaperone_known(double v) { return v == v; }

/* v, or instead where v is not known. */
static inline double chaperone_or(double v, double instead) { return v == v ? v : instead; }

/* ---- configuration ---- */

enum { CHAPERONE_NUMBER_WORDS = 72, CHAPERONE_NUMBER_POINT = 36 };

/* digits × 10^exponent, rounded to the nearest double, ties to even; sticky says that digits follow that were cut off. It is
 * computed exactly: a number of 36 words before and 36 behind the point is multiplied or divided by ten. */
static double chaperone_decimal(uint64_t digits, int exponent, bool sticky) {
    if (digits == 0 || exponent < -345) return 0;
    if (exponent > 310) return CHAPERONE_INFINITY;
    uint32_t words[CHAPERONE_NUMBER_WORDS] = {0}; /* the least significant first */
    words[CHAPERONE_NUMBER_POINT] = (uint32_t)digits;
    words[CHAPERONE_NUMBER_POINT + 1] = (uint32_t)(digits >> 32);
    for (; exponent > 0; exponent--) {
        uint64_t carry = 0;
        for (int i = 0; i < CHAPERONE_NUMBER_WORDS; i++) {
            carry += (uint64_t)words[i] * 10;
            words[i] = (uint32_t)carry;
            carry >>= 32;
        }
    }
    for (; exponent < 0; exponent++) {
        uint64_t rest = 0;
        for (int i = CHAPERONE_NUMBER_WORDS - 1; i >= 0; i--) {
            rest = rest << 32 | words[i];
            words[i] = (uint32_t)(rest / 10);
            rest %= 10;
        }
        sticky |= rest != 0;
    }
    int top = CHAPERONE_NUMBER_WORDS * 32 - 1;
    while (top >= 0 && !(words[top / 32] >> (top % 32) & 1)) top--;
    if (top < 0) return 0;
    int power = top - CHAPERONE_NUMBER_POINT * 32;       /* of two, of the first bit */
    int last = power < -1022 ? -1074 : power - 52;       /* of the last bit that a double keeps */
    int cut = last + CHAPERONE_NUMBER_POINT * 32;        /* where that bit is in words */
    uint64_t kept = 0;
    for (int i = top; i >= cut; i--) kept = kept << 1 | (words[i / 32] >> (i % 32) & 1);
    bool half = words[(cut - 1) / 32] >> ((cut - 1) % 32) & 1;
    for (int i = 0; i < cut - 1 && !sticky; i++) sticky = words[i / 32] >> (i % 32) & 1;
    kept += half && (sticky || (kept & 1));
    if (kept >> 53) kept >>= 1, last++;
    if (last > 971) return CHAPERONE_INFINITY;
    uint64_t bits = kept >> 52 ? (uint64_t)(last + 1075) << 52 | (kept & ((1ull << 52) - 1)) : kept;
    double v;
    __builtin_memcpy(&v, &bits, sizeof v);
    return v;
}

typedef struct { const char *at, *end; } chaperone_json;

static void chaperone_json_space(chaperone_json *j) {
    while (j->at < j->end && (*j->at == ' ' || *j->at == '\t' || *j->at == '\r' || *j->at == '\n')) j->at++;
}

static bool chaperone_json_next(chaperone_json *j, char token) {
    chaperone_json_space(j);
    if (j->at >= j->end || *j->at != token) return false;
    j->at++;
    return true;
}

/* Reads a JSON number; false where there is none, or one that is too large for a double. */
static bool chaperone_json_number(chaperone_json *j, double *value) {
    chaperone_json_space(j);
    const char *c = j->at, *end = j->end;
    bool negative = c < end && *c == '-', any = false, sticky = false;
    uint64_t digits = 0;
    int exponent = 0;
    c += negative;
    for (bool behind = false; c < end && ((*c >= '0' && *c <= '9') || (*c == '.' && !behind)); c++) {
        if (*c == '.') {
            behind = true;
            continue;
        }
        any = true;
        if (digits < 1000000000000000000ull) {
            digits = digits * 10 + (uint64_t)(*c - '0');
            exponent -= behind;
        } else {
            sticky |= *c != '0';
            exponent += !behind;
        }
    }
    if (!any) return false;
    if (c < end && (*c == 'e' || *c == 'E')) {
        c++;
        bool less = c < end && *c == '-';
        if (c < end && (*c == '-' || *c == '+')) c++;
        int e = 0;
        for (any = false; c < end && *c >= '0' && *c <= '9'; c++, any = true)
            if (e < 100000) e = e * 10 + (*c - '0');
        if (!any) return false;
        exponent += less ? -e : e;
    }
    j->at = c;
    *value = chaperone_decimal(digits, exponent, sticky);
    if (*value == CHAPERONE_INFINITY) return false;
    if (negative) *value = -*value;
    return true;
}

/* Reads a configuration that is one flat JSON object of numbers into settings. It is strict: a key that is not a setting, a
 * key twice and anything but a number is an error, which is logged. Names of settings have no escapes. At most 64 settings. */
static int chaperone_numbers(const char *json, uint32_t length, const chaperone_setting *settings, uint32_t count) {
    chaperone_json j = {json, json + length};
    uint64_t seen = 0;
    if (!chaperone_json_next(&j, '{')) {
        CHAPERONE_FAIL("the configuration should be a JSON object");
        return CHAPERONE_ERROR;
    }
    for (bool more = !chaperone_json_next(&j, '}'); more;) {
        char name[64];
        uint32_t n = 0;
        if (!chaperone_json_next(&j, '"')) {
            CHAPERONE_FAIL("the configuration should have a key in quotes");
            return CHAPERONE_ERROR;
        }
        while (j.at < j.end && *j.at != '"') {
            if (n < sizeof name - 1) name[n++] = *j.at;
            j.at += *j.at == '\\' && j.at + 1 < j.end ? 2 : 1;
        }
        name[n] = 0;
        uint32_t i = 0;
        while (i < count && !chaperone_same(name, n, settings[i].name)) i++;
        if (i == count) {
            char there[512];
            uint32_t used = 0;
            for (uint32_t s = 0; s < count; s++) {
                for (const char *c = settings[s].name; *c && used < sizeof there - 3; c++) there[used++] = *c;
                if (s + 1 < count) there[used++] = ',', there[used++] = ' ';
            }
            there[used] = 0;
            CHAPERONE_FAIL("there is no setting \"", name, "\"; there are ", there);
            return CHAPERONE_ERROR;
        }
        if (seen >> i & 1) {
            CHAPERONE_FAIL("\"", name, "\" is there twice");
            return CHAPERONE_ERROR;
        }
        seen |= 1ull << i;
        if (!chaperone_json_next(&j, '"') || !chaperone_json_next(&j, ':')) {
            CHAPERONE_FAIL("a colon should follow \"", name, "\"");
            return CHAPERONE_ERROR;
        }
        if (!chaperone_json_number(&j, settings[i].value)) {
            CHAPERONE_FAIL(name, " should be a number");
            return CHAPERONE_ERROR;
        }
        more = chaperone_json_next(&j, ',');
        if (!more && !chaperone_json_next(&j, '}')) {
            CHAPERONE_FAIL("a comma or brace should follow the value of \"", name, "\"");
            return CHAPERONE_ERROR;
        }
    }
    chaperone_json_space(&j);
    if (j.at != j.end) {
        CHAPERONE_FAIL("something follows the configuration's object");
        return CHAPERONE_ERROR;
    }
    return CHAPERONE_OK;
}

/* ---- what the host calls ---- */

static char *chaperone_arena;

/* The arena is memory of its own, which starts on a page and so is aligned. */
__attribute__((export_name("chaperone_init"))) int32_t chaperone_export_init(int32_t bytes) {
    size_t grown = __builtin_wasm_memory_grow(0, ((size_t)bytes + 65535) / 65536);
    if (grown == (size_t)-1 || !chaperone_the_plugin.score) return 0;
    chaperone_arena = (char *)(grown * 65536);
    if (chaperone_the_plugin.setup) chaperone_the_plugin.setup();
    return (int32_t)chaperone_arena;
}

__attribute__((export_name("chaperone_configure"))) int32_t chaperone_export_configure(int32_t length) {
    if (chaperone_the_plugin.configure) return chaperone_the_plugin.configure(chaperone_arena, (uint32_t)length);
    if (chaperone_same(chaperone_arena, (uint32_t)length, "{}")) return CHAPERONE_OK;
    chaperone_log(CHAPERONE_ERR, "there is a configuration, but this scorer takes none");
    return CHAPERONE_ERROR;
}

/* Reads the arena's header, which the host writes before every call. */
static inline chaperone_batch chaperone_read(int32_t rows) {
    const uint32_t *words = (const uint32_t *)chaperone_arena;
    return (chaperone_batch){
        .rows = (uint32_t)rows,
        .scores = (double *)(chaperone_arena + words[6]),
        .now_ms = *(const double *)(chaperone_arena + 32),
        .seed = *(const uint64_t *)(chaperone_arena + 40),
        .columns_ = (const double *)(chaperone_arena + words[4]),
        .request_ = (const double *)(chaperone_arena + words[5]),
        .capacity_ = words[2],
    };
}

__attribute__((export_name("chaperone_score"))) int32_t chaperone_export_score(int32_t rows) {
    chaperone_batch b = chaperone_read(rows);
    return chaperone_the_plugin.score(&b);
}

__attribute__((export_name("chaperone_observe"))) int32_t chaperone_export_observe(int32_t rows) {
    if (!chaperone_the_plugin.observe) return CHAPERONE_OK;
    chaperone_batch b = chaperone_read(rows);
    return chaperone_the_plugin.observe(&b);
}

__attribute__((export_name("chaperone_save"))) int64_t chaperone_export_save(void) {
    if (!chaperone_the_plugin.save) return 0;
    chaperone_bytes state = chaperone_the_plugin.save();
    return (int64_t)(uintptr_t)state.data << 32 | state.length;
}

__attribute__((export_name("chaperone_restore"))) int32_t chaperone_export_restore(int32_t length) {
    if (!chaperone_the_plugin.restore) return length == 0 ? CHAPERONE_OK : CHAPERONE_ERROR;
    return chaperone_the_plugin.restore(chaperone_arena, (uint32_t)length);
}

#endif
