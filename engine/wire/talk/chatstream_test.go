package talk_test

import (
	"testing"

	"chaperone/engine/wire/talk"
)

// A piece of a call's arguments may be the four letters of null; only a null that is none of them is nothing.
func TestPiecesOfArgumentsAreTakenAsTheyStand(t *testing.T) {
	r := talk.NewChatReader()
	got := ""
	for _, piece := range []string{`"{\"n\":"`, `"null"`, `null`, `""`, `"}"`} {
		deltas, unknown, err := r.Read(nil, nil, []byte(`{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":`+piece+`}}]}}]}`))
		if unknown != "" || err != nil {
			t.Fatal(unknown, err)
		}
		for _, d := range deltas {
			if d.Kind == talk.AddArguments {
				got += d.Text
			}
		}
	}
	if want := `{"n":null}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
