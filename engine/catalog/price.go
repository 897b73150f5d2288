package catalog

import (
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"

	"chaperone/engine/config"
)

// Picodollars is money: 10⁻¹² USD. It never passes through floating point once read.
type Picodollars int64

// Dollar is one USD.
const Dollar Picodollars = 1_000_000_000_000

// USD is the amount for display and for scores; sums stay in Picodollars.
func (p Picodollars) USD() float64 { return float64(p) / float64(Dollar) }

// Plus is the sum of two amounts that are not negative, at most the largest amount there is.
func (p Picodollars) Plus(q Picodollars) Picodollars { return addProduct(p, 1, q) }

// String is the exact amount in USD without trailing zeros: "0.0000025".
func (p Picodollars) String() string {
	sign, magnitude := "", uint64(p)
	if p < 0 {
		sign, magnitude = "-", -magnitude
	}
	whole, rest := magnitude/uint64(Dollar), magnitude%uint64(Dollar)
	if rest == 0 {
		return sign + strconv.FormatUint(whole, 10)
	}
	return sign + strconv.FormatUint(whole, 10) + "." + strings.TrimRight(fmt.Sprintf("%012d", rest), "0")
}

// Prices are per token unless said otherwise.
type Prices struct {
	Prompt       Picodollars
	Completion   Picodollars
	CacheRead    Picodollars // equal to Prompt where the provider has no cache price
	CacheWrite   Picodollars // equal to Prompt where the provider has no cache price
	CacheWrite1h Picodollars // for a cache that is kept for an hour; equal to CacheWrite where the provider has no price for it
	Reasoning    Picodollars // equal to Completion where the provider has no price for it
	Request      Picodollars // per request
	Image        Picodollars // per input image
	Audio        Picodollars // per token of audio input; equal to Prompt where the provider has no price for it
}

// Counts is what one attempt is billed by.
type Counts struct {
	Prompt       int64
	Cached       int64 // of Prompt
	CacheWrite   int64 // of Prompt
	CacheWrite1h int64 // of CacheWrite
	Audio        int64 // of Prompt, of what is neither read from a cache nor written into one
	Completion   int64
	Reasoning    int64 // of Completion
	Images       int64
}

// Cost is what an attempt costs: every part at its own price, and the rest of prompt and completion at theirs. Of counts that
// contradict each other the whole stands, then its parts in the order of their fields; negative counts are 0. A sum beyond the range
// of Picodollars (9.2 million USD) is its maximum.
func (p *Prices) Cost(c Counts) Picodollars {
	prompt, completion := max(c.Prompt, 0), max(c.Completion, 0)
	cached := part(c.Cached, prompt)
	written := part(c.CacheWrite, prompt-cached)
	hour := part(c.CacheWrite1h, written)
	audio := part(c.Audio, prompt-cached-written)
	reasoning := part(c.Reasoning, completion)
	sum := p.Request
	sum = addProduct(sum, prompt-cached-written-audio, p.Prompt)
	sum = addProduct(sum, cached, p.CacheRead)
	sum = addProduct(sum, written-hour, p.CacheWrite)
	sum = addProduct(sum, hour, p.CacheWrite1h)
	sum = addProduct(sum, audio, p.Audio)
	sum = addProduct(sum, completion-reasoning, p.Completion)
	sum = addProduct(sum, reasoning, p.Reasoning)
	return addProduct(sum, max(c.Images, 0), p.Image)
}

// Product is n·m for values that are not negative, at most the largest int64.
func Product(n, m int64) int64 {
	high, low := bits.Mul64(uint64(n), uint64(m))
	if high != 0 || low > math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(low)
}

// part is n, but from 0 to whole.
func part(n, whole int64) int64 { return min(max(n, 0), whole) }

// addProduct is sum + n·price for values that are not negative, at most the largest amount there is.
func addProduct(sum Picodollars, n int64, price Picodollars) Picodollars {
	high, low := bits.Mul64(uint64(n), uint64(price))
	total, carry := bits.Add64(low, uint64(sum), 0)
	if high != 0 || carry != 0 || total > math.MaxInt64 {
		return math.MaxInt64
	}
	return Picodollars(total)
}

// priceTable holds numbers or decimal strings.
type priceTable struct {
	config.Origin
	Prompt       any              `toml:"prompt"`
	Completion   any              `toml:"completion"`
	CacheRead    any              `toml:"cache_read"`
	CacheWrite   any              `toml:"cache_write"`
	CacheWrite1h any              `toml:"cache_write_1h"`
	Reasoning    any              `toml:"reasoning"`
	Request      any              `toml:"request"`
	Image        any              `toml:"image"`
	Audio        any              `toml:"audio"`
	Overrides    []*overrideTable `toml:"overrides"`
}

// priceKey is a price by its key.
type priceKey struct {
	name    string
	unit    *unit
	of      func(*Prices) *Picodollars
	written func(*priceTable) any
	like    int // index of the key whose price holds where this one is not stated; -1: none does
}

// priceKeys have those that others are like before them.
var priceKeys = [...]priceKey{
	{"prompt", &perMillion, func(p *Prices) *Picodollars { return &p.Prompt }, func(t *priceTable) any { return t.Prompt }, -1},
	{"completion", &perMillion, func(p *Prices) *Picodollars { return &p.Completion }, func(t *priceTable) any { return t.Completion }, -1},
	{"cache_read", &perMillion, func(p *Prices) *Picodollars { return &p.CacheRead }, func(t *priceTable) any { return t.CacheRead }, 0},
	{"cache_write", &perMillion, func(p *Prices) *Picodollars { return &p.CacheWrite }, func(t *priceTable) any { return t.CacheWrite }, 0},
	{"cache_write_1h", &perMillion, func(p *Prices) *Picodollars { return &p.CacheWrite1h }, func(t *priceTable) any { return t.CacheWrite1h }, 3},
	{"reasoning", &perMillion, func(p *Prices) *Picodollars { return &p.Reasoning }, func(t *priceTable) any { return t.Reasoning }, 1},
	{"audio", &perMillion, func(p *Prices) *Picodollars { return &p.Audio }, func(t *priceTable) any { return t.Audio }, 0},
	{"request", &perPiece, func(p *Prices) *Picodollars { return &p.Request }, func(t *priceTable) any { return t.Request }, -1},
	{"image", &perPiece, func(p *Prices) *Picodollars { return &p.Image }, func(t *priceTable) any { return t.Image }, -1},
}

// A price that is meant per million tokens has 6 decimals at the most to be whole picodollars a token; one per request
// or image has 12.
var (
	perMillion = unit{decimals: 6, most: 100_000, name: "USD per million tokens"}
	perPiece   = unit{decimals: 12, most: 1_000, name: "USD each"}
)

type unit struct {
	decimals int
	most     uint64 // dearer is taken for a mistake of unit
	name     string
}

// read is what is stated, and which keys are.
func (t *priceTable) read() (p Prices, stated PriceSet, problems config.Problems) {
	for i, k := range priceKeys {
		value := k.written(t)
		if value == nil {
			continue
		}
		amount, err := k.unit.parse(value)
		if err != nil {
			problems = append(problems, t.Problem(k.name, "%v", err))
		}
		*k.of(&p) = amount
		stated |= 1 << i
	}
	return p, stated, problems
}

// fill sets what is not stated to what it is like.
func (p *Prices) fill(stated PriceSet) {
	for i, k := range priceKeys {
		if stated&(1<<i) == 0 && k.like >= 0 {
			*k.of(p) = *priceKeys[k.like].of(p)
		}
	}
}

// schedule reads the prices of an endpoint, and when there are others.
func (t *priceTable) schedule() (Prices, PriceOverrides, config.Problems) {
	p, stated, problems := t.read()
	for i, k := range priceKeys[:2] {
		if stated&(1<<i) == 0 {
			problems = append(problems, t.Problem(k.name, "missing; expected a price in %s, 0 if there is none", k.unit.name))
		}
	}
	p.fill(stated)
	if len(t.Overrides) == 0 {
		return p, PriceOverrides{}, problems
	}
	all := PriceOverrides{Stated: stated}
	for _, o := range t.Overrides {
		read, more := o.read()
		problems = append(problems, more...)
		all.List = append(all.List, read)
	}
	return p, all, problems
}

// parse converts decimal text exactly. A TOML float is taken by its shortest decimal form, which is what was written
// wherever that had at most 15 digits, and the limits allow no more.
func (u unit) parse(value any) (Picodollars, error) {
	var text string
	switch v := value.(type) {
	case string:
		text = v
	case int64:
		text = strconv.FormatInt(v, 10)
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return 0, fmt.Errorf("found %v; expected a price in %s", v, u.name)
		}
		text = strconv.FormatFloat(v, 'f', -1, 64)
	default:
		return 0, fmt.Errorf("found neither a number nor a decimal string; expected a price in %s", u.name)
	}
	if strings.HasPrefix(text, "-") {
		return 0, fmt.Errorf("found %s; a price is not negative", text)
	}
	whole, fraction, hasPoint := strings.Cut(text, ".")
	if !digits(whole) || hasPoint && !digits(fraction) {
		return 0, fmt.Errorf("found %q; expected a decimal number such as \"0.25\", in %s", text, u.name)
	}
	fraction = strings.TrimRight(fraction, "0")
	if len(fraction) > u.decimals {
		return 0, fmt.Errorf("found %s; expected at most %d decimals: the price is in %s", text, u.decimals, u.name)
	}
	dollars, err := strconv.ParseUint(whole, 10, 64)
	if err != nil || dollars >= u.most {
		return 0, fmt.Errorf("found %s; expected less than %d: the price is in %s", text, u.most, u.name)
	}
	scaled, err := strconv.ParseInt(whole+fraction+strings.Repeat("0", u.decimals-len(fraction)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("found %s; expected fewer digits", text)
	}
	return Picodollars(scaled), nil
}

func digits(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
