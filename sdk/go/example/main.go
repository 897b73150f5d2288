// Command example is a scorer that counts waiting as money.
package main

import (
	_ "embed"
	"errors"

	"chaperone/sdk/go/scorer"
)

//go:embed manifest.toml
var manifest string

var patience = 1.0 // 1: waiting counts in full, 0: only the price does

func init() {
	plugin := scorer.New(manifest)
	price, ttft := plugin.Column("price.expected"), plugin.Column("stats.ttft_expected_ms")
	valueOfTime := plugin.Field("value_of_time")

	plugin.Configure(func(json []byte) error {
		if err := scorer.Numbers(json, map[string]*float64{"patience": &patience}); err != nil {
			return err
		}
		if patience < 0 {
			return errors.New("patience should not be negative")
		}
		return nil
	})
	plugin.Score(func(b *scorer.Batch) error {
		prices, ttfts := b.Column(price), b.Column(ttft)
		perMS := b.Field(valueOfTime) / 3.6e6 * patience
		for row := range b.Scores {
			b.Scores[row] = -(prices[row] + ttfts[row]*perMS)
		}
		return nil
	})
}

func main() {}
