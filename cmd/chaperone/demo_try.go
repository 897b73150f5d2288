package main

import (
	"fmt"
	"io"

	"chaperone/engine/sim/demo"
)

// printTries prints commands that work as they stand. decision is the id of one for the strict organisation.
func printTries(w io.Writer, url, decision string) {
	post := func(flags, path, key, body string) string {
		return fmt.Sprintf("curl %s %s%s -H 'Authorization: Bearer %s' \\\n  -H 'Content-Type: application/json' \\\n  -d '%s'", flags, url, path, key, body)
	}
	get := func(path, key string) string {
		return fmt.Sprintf("curl -sS %s%s -H 'Authorization: Bearer %s'", url, path, key)
	}
	chat := func(organisation, stream string) string {
		return `{"model": "demo/chat-small", "user": "` + organisation + `"` + stream + `,
       "messages": [{"role": "user", "content": "Hello"}]}`
	}
	tries := []struct{ about, command string }{
		{"An organisation without restrictions (user is for the providers, which count who should not have come)",
			post("-sS", "/v1/chat/completions", demo.OpenKey, chat("open", ""))},
		{"One that wants no training and only the EU, streaming",
			post("-sSN", "/v1/chat/completions", demo.StrictKey, chat("strict", `, "stream": true`))},
		{"What would happen, and why", post("-sS", "/v1/route", demo.StrictKey, chat("strict", ""))},
		{"Why a request of this run went where it went", get("/v1/decisions/"+decision, demo.StrictKey)},
		{"The models", get("/v1/models", demo.OpenKey)},
		{"Every endpoint of a model, with terms and live numbers", get("/v1/models/"+demo.LargeModel+"/endpoints", demo.StrictKey)},
	}
	fmt.Fprintln(w, "\nTry it:")
	for _, t := range tries {
		fmt.Fprintf(w, "\n# %s\n%s\n", t.about, t.command)
	}
	fmt.Fprintf(w, `
# With OpenAI's Python client
from openai import OpenAI
client = OpenAI(base_url="%s/v1", api_key="%s")
answer = client.chat.completions.create(
    model="%s", user="strict", messages=[{"role": "user", "content": "Hello"}])
print(answer.choices[0].message.content)

Ctrl-C ends it. Until then there is a request now and then; yours show here too:

`, url, demo.StrictKey, demo.LargeModel)
}
