package wire

import "time"

// The limits of OpenRouter's fields for observability (https://openrouter.ai/docs/api_reference/overview), in bytes.
const (
	maxMetadata      = 16
	maxMetadataKey   = 64
	maxMetadataValue = 512
	maxSession       = 256
	maxTrace         = 32
)

// CheckSession says what is wrong with the name of a session; "" where nothing is.
func CheckSession(id string) string {
	if len(id) > maxSession {
		return "found a session of more than 256 bytes; send a shorter one"
	}
	return ""
}

func (s *skim) session() bool {
	s.peek()
	at := s.pos
	if !s.name(&s.r.SessionID) {
		return false
	}
	if problem := CheckSession(s.r.SessionID); problem != "" {
		return s.fail(at, "%s", problem)
	}
	return true
}

// trace reads the names by which a caller's tracing knows the request. Of values other than strings no note is taken.
func (s *skim) trace() bool {
	if s.peek() != '{' {
		return s.wrong("an object")
	}
	o := s.object()
	for s.member(&o) {
		name := string(o.key)
		if s.peek() != '"' || len(s.r.Claims.Trace) == maxTrace || len(name) > maxMetadataKey {
			if !s.skip() {
				return false
			}
			continue
		}
		var value string
		if !s.string(&value) {
			return false
		}
		if s.r.Claims.Trace == nil {
			s.r.Claims.Trace = map[string]string{}
		}
		s.r.Claims.Trace[name] = value[:min(len(value), maxMetadataValue)]
	}
	return s.ok()
}

// serviceTier takes any word: providers have some of their own.
func (s *skim) serviceTier() bool {
	ok := s.name(&s.r.ServiceTier)
	if s.r.ServiceTier == "fast" {
		s.r.ServiceTier = "priority"
	}
	return ok
}

var cacheFields = map[string]func(*skim) bool{
	"ttl": func(s *skim) bool {
		if s.peek() != '"' {
			return s.skip()
		}
		t, ok := s.text()
		if d, err := time.ParseDuration(string(t.decoded())); ok && err == nil && d > s.r.CacheTTL {
			s.r.CacheTTL = d
		}
		return ok
	},
}

// cacheControl reads how long a provider is asked to keep what comes before
// (https://platform.claude.com/docs/en/build-with-claude/prompt-caching).
func (s *skim) cacheControl() bool { return s.each("an object", cacheFields) }
