package wire

import (
	"maps"

	"chaperone/engine/wire/talk"
)

// The older API of completions is only a front: what it says is said to providers as a chat.
func init() {
	apis[Completions] = &api{
		fields: completionsFields(), needs: (*skim).needPrompt, put: putCompletions, differs: []string{"logprobs"},
		failed: appendEnvelope, broken: appendCompletionsError, alive: ": keep-alive\n\n",
		readRequest: talk.ReadCompletions, writeAnswer: talk.WriteCompletionsAnswer, writer: talk.NewCompletionsWriter,
	}
}

func completionsFields() map[string]field {
	fields := common()
	maps.Copy(fields, map[string]field{
		"prompt":           {read: (*skim).prompt},
		"stream":           {read: func(s *skim) bool { return s.bool(&s.r.Stream) }},
		"stream_options":   {read: (*skim).streamOptions},
		"n":                {read: func(s *skim) bool { return s.whole(&s.r.N, 1) }},
		"max_tokens":       {"max_tokens", func(s *skim) bool { return s.maxOutput("max_tokens", 1) }},
		"reasoning":        {"reasoning", (*skim).reasoning},
		"reasoning_effort": {"reasoning_effort", (*skim).effort},
	})
	add(fields,
		[]string{"temperature", "top_p", "top_k", "min_p", "top_a", "frequency_penalty", "presence_penalty", "repetition_penalty",
			"logit_bias", "logprobs", "top_logprobs", "prediction", "seed", "stop", "include_reasoning", "verbosity"},
		[]string{"best_of", "echo", "suffix"})
	return fields
}

// prompt reads a text, or an array of texts or tokens.
func (s *skim) prompt() bool {
	s.messages++
	s.modality("text")
	return s.texts("a string or an array of strings or tokens")
}

// texts reads what is to be worked on as one text: a string, or an array of strings, tokens, or arrays of tokens.
func (s *skim) texts(want string) bool {
	switch s.peek() {
	case '"':
		return s.watchText(holdsText)
	case '[':
		a := s.array()
		for s.element(&a) {
			switch c := s.peek(); {
			case c == '"':
				if !s.watchText(holdsText) {
					return false
				}
			case c == '[':
				inner := s.array()
				for s.element(&inner) {
					if !s.token(want) {
						return false
					}
				}
			default:
				if !s.token(want) {
					return false
				}
			}
		}
		if s.ok() && a.elements == 0 {
			return s.fail(a.at, "found an empty array; it should be %s", want)
		}
		return s.ok()
	}
	return s.wrong(want)
}

// token reads the number of a token.
func (s *skim) token(want string) bool {
	if c := s.peek(); c < '0' || c > '9' {
		return s.wrong(want)
	}
	if _, ok := s.number(); !ok {
		return false
	}
	s.textBytes += 4 // as EstimateTokens counts them
	return true
}

func (s *skim) needPrompt(at int) bool {
	if s.messages == 0 {
		return s.conflict(at, "prompt", "found no prompt; it should be the text to go on from")
	}
	return true
}

func appendCompletionsError(dst []byte, e *Error, l *talk.Label) []byte {
	return appendBroken(dst, e, l, "text_completion", `"text":"","logprobs":null`)
}
