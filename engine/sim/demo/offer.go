package demo

import "strings"

// Offer is what one provider serves under the terms of one group of its credentials, whatever the model.
type Offer struct {
	ID    string // provider#group
	About string
}

// Offers are all that there are, in the order in which to show them.
var Offers = []Offer{
	{"trains-on-data#paid", "cheap, trains on prompts"},
	{"free-and-paid#free", "free keys, which train"},
	{"free-and-paid#paid", "paid keys, no training"},
	{"overseas#paid", "processes in the US"},
	{"flaky#paid", "fails 4 times in 10"},
	{"slow#paid", "cheapest, 1 s to begin"},
	{"rate-limited#paid", "2 requests a second"},
	{"breaks-off#paid", "dies in mid-stream"},
	{"stalls#paid", "stalls in mid-stream"},
	{"steady-frankfurt#paid", "good, coal power"},
	{"steady-paris#paid", "good, nuclear power"},
}

// OfferOf is the offer that a row belongs to.
func OfferOf(row string) string {
	_, offer, _ := strings.Cut(row, "@")
	return offer
}
