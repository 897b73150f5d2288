package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Contents keeps what was asked and answered, for those organisations whose operator has switched that on. It is apart from the
// journal, of which nothing refers to it: DIR/ORGANISATION/DAY.jsonl, which is deleted once it is older than its retention. It is
// neither chained nor sealed.
type Contents struct {
	dir       string
	retention time.Duration // 0: for ever
	log       *slog.Logger

	mu    sync.Mutex
	swept string // the day on which what is old was last looked for
}

// Content is one line.
type Content struct {
	ID           string          `json:"id"`
	At           time.Time       `json:"at"`
	Organisation string          `json:"organisation"`
	Request      json.RawMessage `json:"request"`          // as it was received
	Answer       json.RawMessage `json:"answer,omitempty"` // as the client got it
	Stream       string          `json:"stream,omitempty"` // likewise, where it is no JSON: server-sent events
}

// KeepContents makes the folder where it is not there.
func KeepContents(dir string, retention time.Duration, log *slog.Logger) (*Contents, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("contents cannot be kept: %w", err)
	}
	return &Contents{dir: dir, retention: retention, log: log}, nil
}

// Add keeps one request with its answer. A failure is logged, without content, and holds up nothing.
func (c *Contents) Add(rec *Record, request, answer []byte) {
	line := Content{ID: rec.ID, At: rec.At, Organisation: rec.Organisation, Request: request}
	if !utf8.Valid(request) || !json.Valid(request) {
		line.Request = json.RawMessage(`null`)
	}
	if json.Valid(answer) {
		line.Answer = answer
	} else {
		line.Stream = string(answer)
	}
	err := c.add(&line)
	if err != nil {
		c.log.Error("the content of a request cannot be kept", "decision", rec.ID, "error", err)
	}
}

const contentSuffix = ".jsonl"

func (c *Contents) add(line *Content) error {
	text, err := json.Marshal(line)
	if err != nil {
		return errors.New("it cannot be written as JSON") // the error would quote it
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	today := time.Now().UTC().Format(time.DateOnly)
	if c.swept != today {
		c.swept = today
		if err := c.sweep(); err != nil {
			c.log.Error("contents past their retention cannot be deleted", "error", err)
		}
	}
	dir := filepath.Join(c.dir, url.PathEscape(line.Organisation))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, line.At.UTC().Format(time.DateOnly)+contentSuffix), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	return errors.Join(err, f.Close())
}

// sweep deletes the files of days that are longer ago than the retention.
func (c *Contents) sweep() error {
	if c.retention <= 0 {
		return nil
	}
	before := time.Now().Add(-c.retention).UTC().Format(time.DateOnly)
	return filepath.WalkDir(c.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		day, ok := strings.CutSuffix(e.Name(), contentSuffix)
		if _, err := time.Parse(time.DateOnly, day); !ok || err != nil || day >= before {
			return nil
		}
		return os.Remove(path)
	})
}
