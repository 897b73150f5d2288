package catalog

import (
	"fmt"
	"math/big"
	"math/bits"
	"strings"
)

// Total is a sum of amounts: 128 bits of Picodollars, so that no number of requests overflows it. The zero value is nothing.
type Total struct {
	high int64
	low  uint64
}

// TotalOf is high·2³² + low: the form in which databases of 64-bit integers add amounts exactly, by halves.
func TotalOf(high, low int64) Total {
	// Both are widened to 128 bits before the shift, so that the sign survives.
	t := Total{high >> 32, uint64(high) << 32}
	return t.Plus(Total{low >> 63, uint64(low)})
}

// Halves is the other way round, with low from 0 to 2³²-1. It is exact for whatever TotalOf can make of sums of amounts.
func (t Total) Halves() (high, low int64) {
	return t.high<<32 | int64(t.low>>32), int64(t.low & (1<<32 - 1))
}

// Add is the sum of t and an amount.
func (t Total) Add(p Picodollars) Total { return t.Plus(Total{int64(p) >> 63, uint64(p)}) }

// Plus is the sum of both.
func (t Total) Plus(o Total) Total {
	low, carry := bits.Add64(t.low, o.low, 0)
	return Total{t.high + o.high + int64(carry), low}
}

// IsZero says whether it is nothing.
func (t Total) IsZero() bool { return t == Total{} }

// Cmp is -1 where t is less than o, 0 where they are equal, and 1 otherwise.
func (t Total) Cmp(o Total) int {
	switch {
	case t == o:
		return 0
	case t.high < o.high || t.high == o.high && t.low < o.low:
		return -1
	}
	return 1
}

// Big is the exact number of picodollars.
func (t Total) Big() *big.Int {
	n := new(big.Int).Lsh(big.NewInt(t.high), 64)
	return n.Add(n, new(big.Int).SetUint64(t.low))
}

// USD is the amount for display.
func (t Total) USD() float64 {
	usd, _ := new(big.Rat).SetFrac(t.Big(), big.NewInt(int64(Dollar))).Float64()
	return usd
}

// String is the exact amount in USD without trailing zeros: "0.0000025".
func (t Total) String() string {
	n := t.Big()
	sign := ""
	if n.Sign() < 0 {
		sign, n = "-", n.Neg(n)
	}
	whole, rest := n.QuoRem(n, big.NewInt(int64(Dollar)), new(big.Int))
	if rest.Sign() == 0 {
		return sign + whole.String()
	}
	return sign + whole.String() + "." + strings.TrimRight(fmt.Sprintf("%012d", rest), "0")
}

// MarshalJSON is the exact amount in USD, as a number.
func (t Total) MarshalJSON() ([]byte, error) { return []byte(t.String()), nil }
