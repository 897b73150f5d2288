package demo

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"chaperone/engine/journal"
	"chaperone/engine/sim"
)

func TestAnswersThatAreNotWhole(t *testing.T) {
	event := func(content, finish string) string {
		return `data: {"choices":[{"delta":{"content":"` + content + `"},"finish_reason":` + finish + "}]}\n\n"
	}
	whole := event("one", "null") + ": a comment\n\n" + event(" two", `"stop"`) + "data: [DONE]\n\n"
	for _, test := range []struct {
		stream bool
		status int
		body   string
		text   string
		wrong  string
	}{
		{true, 200, whole, "one two", ""},
		{true, 200, strings.TrimSuffix(whole, "data: [DONE]\n\n"), "", "without [DONE]"},
		{true, 200, event("one", "null") + "data: [DONE]\n\n", "", "no finish reason"},
		{true, 200, event("one", "null") + "data: {\"error\":{\"code\":502}}\n\n", "", "ends in an error"},
		{true, 200, whole + event("three", "null"), "", "after [DONE]"},
		{true, 200, "data: {\"choices\":[\n\n", "", "unexpected end of JSON"},
		{true, 502, whole, "", "502 Bad Gateway"},
		{false, 200, `{"choices":[{"message":{"content":"one two"},"finish_reason":"stop"}]}`, "one two", ""},
		{false, 200, `{"choices":[{"message":{"content":"one two"}}]}`, "", "not whole"},
		{false, 200, `{"choices":[]}`, "", "not whole"},
		{false, 200, `{"choices":[{"message":{"content":"one`, "", "no JSON"},
		{false, 429, `{"error":{"code":429}}`, "", `429 Too Many Requests: {"error":{"code":429}}`},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Generation-Id", "gen-1")
			w.WriteHeader(test.status)
			io.WriteString(w, test.body)
		}))
		id, text, err := ask(t.Context(), s.Client(), s.URL, Request{Stream: test.stream})
		s.Close()
		if id != "gen-1" || text != test.text || (err == nil) != (test.wrong == "") || err != nil && !strings.Contains(err.Error(), test.wrong) {
			t.Errorf("%q is %q, %q (%v); should be %q (%s)", test.body, id, text, err, test.text, test.wrong)
		}
	}
}

func TestATextThatIsNotTheProvidersIsNotWhole(t *testing.T) {
	world, err := Start(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer world.Close()
	d := &Demo{World: world}
	q := NewTraffic(1).Next()
	right, err := sim.Answer(world.Providers[0].Profile(), q.Body)
	if err != nil {
		t.Fatal(err)
	}
	text := right.Choices[0].Text
	served := &journal.Record{Attempts: []journal.Attempt{{ProviderID: world.Providers[0].Name()}}}
	if err := d.whole(q, served, text); err != nil {
		t.Error(err)
	}
	for _, damaged := range []string{"", text[:len(text)-1], text + " ", strings.ToUpper(text)} {
		if d.whole(q, served, damaged) == nil {
			t.Errorf("%q passes for %q", damaged, text)
		}
	}
	if d.whole(q, nil, text) == nil || d.whole(q, &journal.Record{Attempts: []journal.Attempt{{ProviderID: "nobody"}}}, text) == nil {
		t.Error("an answer without a provider passes")
	}
}
