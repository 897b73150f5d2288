package engine

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"chaperone/engine/config"
)

// DisableScorer writes disabled = true into one [[scorers]] of a configuration file, and leaves the rest byte for byte. One that
// is disabled already stays as it is.
func DisableScorer(path, name string) error {
	return switchScorer(path, name, true, func(doc *config.Document, src []byte, table string) ([]byte, error) {
		return config.Disable(doc, src, table, name, "since "+time.Now().UTC().Format(time.RFC3339))
	})
}

// EnableScorer takes that out again, provided that the configuration loads with the scorer.
func EnableScorer(ctx context.Context, path, name string) error {
	return switchScorer(path, name, false, func(doc *config.Document, src []byte, table string) ([]byte, error) {
		out, err := config.Enable(doc, src, table, name)
		if err != nil {
			return nil, err
		}
		if _, err := Check(ctx, Options{ConfigPath: path, Config: out, Log: slog.New(slog.DiscardHandler)}); err != nil {
			return nil, fmt.Errorf("nothing was written, since with %s the configuration would be refused:\n%w", name, err)
		}
		return out, nil
	})
}

func switchScorer(path, name string, disabled bool, change func(doc *config.Document, src []byte, table string) ([]byte, error)) error {
	place := -1
	named := func(s map[string]any) bool { return s["name"] == name }
	return config.Edit(path, "scorers", func(doc *config.Document, src []byte) ([]byte, error) {
		var all []map[string]any
		if problems := doc.Decode("scorers", &all); len(problems) > 0 {
			return nil, problems
		}
		if place = slices.IndexFunc(all, named); place < 0 {
			var names []string
			for _, s := range all {
				if n, ok := s["name"].(string); ok {
					names = append(names, n)
				}
			}
			if len(names) == 0 {
				return nil, fmt.Errorf("%s has no [[scorers]]", path)
			}
			return nil, fmt.Errorf("%s: [[scorers]]: %s", path, config.NotOneOf(name, names))
		}
		if was, _ := all[place]["disabled"].(bool); was == disabled {
			return src, nil
		}
		return change(doc, src, fmt.Sprintf("scorers[%d]", place))
	}, func(before, after []map[string]any) bool {
		if disabled {
			before[place]["disabled"] = true
		} else {
			delete(before[place], "disabled")
			delete(after[place], "disabled")
		}
		return config.SameTables(before, after)
	})
}
