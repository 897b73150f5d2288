package talk

import "slices"

// Hide takes out the reasoning that a client does not want to see.
func (a *Answer) Hide() {
	for i := range a.Choices {
		c := &a.Choices[i]
		c.Parts = slices.DeleteFunc(c.Parts, func(p Part) bool { return p.Kind == Thought })
	}
}

// Hidden is deltas without reasoning. It takes deltas over.
func Hidden(deltas []Delta) []Delta {
	return slices.DeleteFunc(deltas, func(d Delta) bool {
		return d.Kind == AddThought || d.Kind == AddSummary || d.Kind == AddSignature || d.Kind == AddSealed
	})
}
