package telemetry

import (
	"time"

	"chaperone/engine/catalog"
)

// Published keeps the statistics that listings show, over the windows that OpenRouter's API names, whatever window decisions
// go by.
type Published struct{ minutes5, minutes30, day *Store }

// NewPublished makes one. Its figures are made anew at most every few seconds.
func NewPublished() *Published {
	return &Published{
		minutes5:  NewStore(5*time.Minute, time.Second),
		minutes30: NewStore(30*time.Minute, 5*time.Second),
		day:       NewStore(24*time.Hour, 30*time.Second),
	}
}

// PublishedBoard is the published statistics as one catalog sees them. It is safe for concurrent use.
type PublishedBoard struct{ minutes5, minutes30, day *Board }

// Bind makes the board of a catalog.
func (p *Published) Bind(cat *catalog.Catalog) *PublishedBoard {
	return &PublishedBoard{p.minutes5.Bind(cat), p.minutes30.Bind(cat), p.day.Bind(cat)}
}

// Observe records how an attempt at a row ended.
func (b *PublishedBoard) Observe(row *catalog.Row, o Outcome) {
	b.minutes5.Observe(row, o)
	b.minutes30.Observe(row, o)
	b.day.Observe(row, o)
}

// PublishedView is the statistics of all rows at one moment.
type PublishedView struct{ Minutes5, Minutes30, Day *View }

// View is the statistics at now.
func (b *PublishedBoard) View(now time.Time) PublishedView {
	return PublishedView{b.minutes5.View(now), b.minutes30.View(now), b.day.View(now)}
}
