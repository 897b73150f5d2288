package telemetry

import (
	"time"

	"chaperone/engine/catalog"
)

// Store keeps the statistics of rows by row id, so that they outlive a reload.
type Store struct{}

// NewStore keeps samples for window, in which a View is made at most every tick.
func NewStore(window, tick time.Duration) *Store { panic("stub") }

// Board is the store as one catalog sees it.
type Board struct{}

// Bind makes the board of a catalog.
func (s *Store) Bind(cat *catalog.Catalog) *Board { panic("stub") }

// Observe records how an attempt at a row ended.
func (b *Board) Observe(row *catalog.Row, o Outcome) { panic("stub") }

// View is the statistics at now's tick; callers share it.
func (b *Board) View(now time.Time) *View { panic("stub") }
