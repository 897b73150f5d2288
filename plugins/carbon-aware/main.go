// Carbon-aware is a scorer that counts the carbon dioxide of a request as a part of its price: see README.md.
package main

import (
	_ "embed"
	"errors"
	"math"

	"chaperone/sdk/go/scorer"
)

//go:embed manifest.toml
var manifest string

// What an operator may set, with the defaults; README.md says where they come from.
var (
	usdPerTonne = 100.0
	promptKWh   = 0.06  // a million tokens
	outputKWh   = 0.6   // a million tokens
	unknownGrid = 480.0 // g/kWh
)

func init() {
	plugin := scorer.New(manifest)
	price, grid := plugin.Column("price.expected"), plugin.Column("attr.grid_gco2_kwh")
	prompt, output := plugin.Field("prompt_tokens"), plugin.Field("output_tokens")
	plugin.Configure(configure)
	plugin.Score(func(b *scorer.Batch) error {
		kWh := (known(b.Field(prompt), 0)*promptKWh + known(b.Field(output), 0)*outputKWh) / 1e6
		prices, grids := b.Column(price), b.Column(grid)
		for row := range b.Scores {
			tonnes := kWh * known(grids[row], unknownGrid) / 1e6
			b.Scores[row] = -(prices[row] + tonnes*usdPerTonne)
		}
		return nil
	})
}

func configure(json []byte) error {
	settings := map[string]*float64{
		"usd_per_tonne_co2":             &usdPerTonne,
		"kwh_per_million_prompt_tokens": &promptKWh,
		"kwh_per_million_output_tokens": &outputKWh,
		"unknown_grid_gco2_kwh":         &unknownGrid,
	}
	if err := scorer.Numbers(json, settings); err != nil {
		return err
	}
	for name, value := range settings {
		if *value < 0 {
			return errors.New(name + " should not be negative")
		}
	}
	return nil
}

// known is v, or instead where v is not known.
func known(v, instead float64) float64 {
	if math.IsNaN(v) {
		return instead
	}
	return v
}

func main() {}
