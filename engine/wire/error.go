package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// Error is every refusal or failure that a client sees; Shape.AppendError writes it in the form of the client's API.
type Error struct {
	Status   int
	Type     string // OpenRouter's error_type vocabulary: "invalid_request", "rate_limit_exceeded" …
	Message  string // what happened, what to do
	Param    string // the field of the request that is at fault; "" where none
	Metadata map[string]any
	// Router is what became of the request, as JSON, for clients that ask for it; nil: nothing is said.
	Router []byte
	// Availability says whether the request could be served otherwise; nil where it does not come into it.
	Availability *Availability
	RetryAfter   time.Duration // 0: not said
	Timing       string        // the value of Server-Timing; "" where there is none
	DecisionID   string        // under which GET /v1/decisions/{id} shows the decision; "" before there is one
}

func (e *Error) Error() string { return e.Message }

// appendEnvelope appends OpenRouter's envelope
// (https://openrouter.ai/docs/api_reference/errors-and-debugging), always as valid JSON in UTF-8:
//
//	{"error":{"code":400,"message":"…","type":"invalid_request","param":"model","metadata":{"error_type":"invalid_request"}},"id":"gen-…"}
//
// Param is null and id left out where there is none.
func appendEnvelope(dst []byte, e *Error) []byte {
	dst = append(dst, `{"error":`...)
	dst = e.appendObject(dst)
	if e.DecisionID != "" {
		dst = append(dst, `,"id":`...)
		dst = appendString(dst, e.DecisionID)
	}
	return append(dst, '}')
}

func (e *Error) appendObject(dst []byte) []byte {
	dst = append(dst, `{"code":`...)
	dst = strconv.AppendInt(dst, int64(e.Status), 10)
	dst = append(dst, `,"message":`...)
	dst = appendString(dst, e.Message)
	dst = append(dst, `,"type":`...)
	dst = appendString(dst, e.Type)
	dst = append(dst, `,"param":`...)
	if e.Param == "" {
		dst = append(dst, "null"...)
	} else {
		dst = appendString(dst, e.Param)
	}
	dst = append(dst, `,"metadata":`...)
	return append(e.appendAvailability(e.appendMetadata(dst)), '}')
}

func (e *Error) appendMetadata(dst []byte) []byte {
	dst = append(dst, `{"error_type":`...)
	dst = appendString(dst, e.Type)
	for _, name := range slices.Sorted(maps.Keys(e.Metadata)) {
		if name == "error_type" {
			continue // it is Type: two words for one error would contradict each other
		}
		dst = append(dst, ',')
		dst = appendString(dst, name)
		dst = append(dst, ':')
		dst = appendValue(dst, e.Metadata[name])
	}
	return append(dst, '}')
}

// appendAvailability appends the member that says why nothing serves, where that is known.
func (e *Error) appendAvailability(dst []byte) []byte {
	if e.Availability != nil {
		a := *e.Availability
		a.DocsURL = "/v1/models"
		if e.DecisionID != "" && a.Code != ModelNotFound {
			a.DocsURL = "/v1/decisions/" + e.DecisionID
		}
		a.RetryAfter = int64(math.Ceil(e.RetryAfter.Seconds()))
		dst = append(dst, `,"availability":`...)
		dst = appendValue(dst, a)
	}
	return dst
}

// appendValue appends any value as JSON; one that has no JSON form, as text.
func appendValue(dst []byte, v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		return appendString(dst, fmt.Sprint(v))
	}
	return append(dst, bytes.ToValidUTF8(b, []byte("\ufffd"))...)
}

// appendString appends s as a JSON string; invalid UTF-8 becomes U+FFFD.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r == '\n':
			dst = append(dst, `\n`...)
		case r < 0x20 || r == 0x7f:
			dst = fmt.Appendf(dst, `\u%04x`, r)
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '"')
}
