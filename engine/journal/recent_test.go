package journal_test

import (
	"fmt"
	"testing"

	"chaperone/engine/journal"
)

func TestRecentKeepsTheLastRecords(t *testing.T) {
	r := journal.NewRecent(3)
	for i := range 10 {
		r.Append(&journal.Record{ID: fmt.Sprint(i)})
	}
	for i := range 10 {
		if got := r.Get(fmt.Sprint(i)); (got != nil) != (i >= 7) {
			t.Errorf("record %d is kept: %t", i, got != nil)
		}
	}
	again := &journal.Record{ID: "9"}
	r.Append(again)
	if r.Get("9") != again {
		t.Error("a later record of the same id does not replace the earlier")
	}
	for i := range 3 {
		r.Append(&journal.Record{ID: fmt.Sprint("x", i)})
	}
	if r.Get("9") != nil {
		t.Error("a displaced record is still found")
	}
}
