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
	Prompt     Picodollars
	Completion Picodollars
	CacheRead  Picodollars // equal to Prompt where the provider has no cache price
	CacheWrite Picodollars // equal to Prompt where the provider has no cache price
	Request    Picodollars // per request
	Image      Picodollars // per input image
	Audio      Picodollars // per token of audio input; equal to Prompt where the provider has no price for it
}

// Cost is what one request costs. cached and cacheWrite are parts of prompt: they are billed at their own prices and the
// rest of prompt at Prompt. Of counts that contradict each other the prompt stands, then cached; negative counts are 0.
// A sum beyond the range of Picodollars (9.2 million USD) is its maximum.
func (p Prices) Cost(prompt, cached, cacheWrite, completion, images int64) Picodollars {
	prompt = max(prompt, 0)
	cached = min(max(cached, 0), prompt)
	cacheWrite = min(max(cacheWrite, 0), prompt-cached)
	sum := p.Request
	sum = addProduct(sum, prompt-cached-cacheWrite, p.Prompt)
	sum = addProduct(sum, cached, p.CacheRead)
	sum = addProduct(sum, cacheWrite, p.CacheWrite)
	sum = addProduct(sum, max(completion, 0), p.Completion)
	return addProduct(sum, max(images, 0), p.Image)
}

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
	Prompt     any `toml:"prompt"`
	Completion any `toml:"completion"`
	CacheRead  any `toml:"cache_read"`
	CacheWrite any `toml:"cache_write"`
	Request    any `toml:"request"`
	Image      any `toml:"image"`
	Audio      any `toml:"audio"`
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

func (t *priceTable) read() (Prices, config.Problems) {
	var p Prices
	var problems config.Problems
	set := func(key string, value any, u unit, targets ...*Picodollars) {
		if value == nil {
			if key == "prompt" || key == "completion" {
				problems = append(problems, t.Problem(key, "missing; expected a price in %s, 0 if there is none", u.name))
			}
			return
		}
		amount, err := u.parse(value)
		if err != nil {
			problems = append(problems, t.Problem(key, "%v", err))
		}
		for _, target := range targets {
			*target = amount
		}
	}
	set("prompt", t.Prompt, perMillion, &p.Prompt, &p.CacheRead, &p.CacheWrite, &p.Audio)
	set("completion", t.Completion, perMillion, &p.Completion)
	set("cache_read", t.CacheRead, perMillion, &p.CacheRead)
	set("cache_write", t.CacheWrite, perMillion, &p.CacheWrite)
	set("audio", t.Audio, perMillion, &p.Audio)
	set("request", t.Request, perPiece, &p.Request)
	set("image", t.Image, perPiece, &p.Image)
	return p, problems
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
