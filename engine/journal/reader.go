package journal

import (
	"fmt"
	"runtime"
)

// Decoding takes most of the time of reading. So frames are split in order, their records decoded by all processors, some batches
// ahead of whoever reads, and handed out in order again.
const readBatch = 64 // records

// reader reads the records of one segment.
type reader struct {
	segment *segment
	claims  *claimKeys
	whole   bool // what is no frame is damage, not the end of what is being written

	seen  table
	count uint64 // frames before at
	at    int
	done  bool // all is split
	ahead []chan []readBack
}

// readBack is a record, or why there is none.
type readBack struct {
	entry *Entry
	err   error
}

// next is the next batch of data's records; none where there is no more.
func (r *reader) next(data []byte) []readBack {
	for !r.done && len(r.ahead) < 2*runtime.GOMAXPROCS(0) {
		batch := r.split(data)
		if len(batch) == 0 {
			continue // all is split
		}
		decoded := make(chan []readBack, 1)
		r.ahead = append(r.ahead, decoded)
		go func() { decoded <- r.decode(batch) }()
	}
	if len(r.ahead) == 0 {
		return nil
	}
	first := <-r.ahead[0]
	r.ahead = r.ahead[1:]
	for i := range first {
		if e := first[i].entry; e != nil {
			e.Figures = r.seen.ticks[e.Record.Tick] // told before it, so it has been split off by now
		}
	}
	return first
}

func (r *reader) ended() bool { return r.done && len(r.ahead) == 0 }

// stop waits for what is being decoded.
func (r *reader) stop() {
	for _, decoded := range r.ahead {
		<-decoded
	}
}

// undecoded is a record's body, with all of the entry but the record; or why there is none.
type undecoded struct {
	readBack
	at   int
	body []byte
	rows map[string][]rowName // by catalog digest
}

// split takes the next frames apart as far as their order matters.
func (r *reader) split(data []byte) []undecoded {
	batch := make([]undecoded, 0, readBatch)
	fail := func(err error) {
		batch = append(batch, undecoded{readBack: readBack{err: fmt.Errorf("%s, byte %d: %w", r.segment.path, r.at, err)}})
	}
	for len(batch) < readBatch {
		if r.at >= len(data) {
			r.done = true
			break
		}
		frame, err := nextFrame(data[r.at:])
		if err != nil {
			if r.done = true; r.whole {
				fail(err)
			}
			break
		}
		body := frame[frameHead+1:]
		switch frame[frameHead] {
		case kindStatistics:
			if err := r.seen.add(body); err != nil {
				fail(err)
			}
		case kindRows:
			if err := r.seen.name(body); err != nil {
				fail(err)
			}
		case kindDecision:
			batch = append(batch, undecoded{readBack{entry: &Entry{Segment: r.segment.number, Count: r.count}}, r.at, body, r.seen.rows})
		}
		r.at += len(frame)
		r.count++
	}
	return batch
}

func (r *reader) decode(batch []undecoded) []readBack {
	out := make([]readBack, len(batch))
	for i, u := range batch {
		out[i] = u.readBack
		if u.entry == nil {
			continue
		}
		rec, err := readRecord(r.claims, u.body, func(catalog string) []rowName { return u.rows[catalog] })
		if err != nil {
			out[i] = readBack{err: fmt.Errorf("%s, byte %d: %w", r.segment.path, u.at, err)}
			continue
		}
		u.entry.Record = rec
	}
	return out
}
