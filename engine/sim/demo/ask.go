package demo

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"chaperone/engine/journal"
	"chaperone/engine/sim"
)

// ask sends a request as any client would. It returns the decision's id, which may be known in spite of an error, and the
// text of the answer. It reads answers by itself: a reader shared with the router would share its mistakes.
func ask(ctx context.Context, client *http.Client, url string, q Request) (id, text string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v1/chat/completions", bytes.NewReader(q.Body))
	if err != nil {
		return "", "", err
	}
	request.Header.Set("Authorization", "Bearer "+q.Key)
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return "", "", err
	}
	defer response.Body.Close()
	id = response.Header.Get("X-Generation-Id")
	switch {
	case response.StatusCode != http.StatusOK:
		body, _ := io.ReadAll(response.Body)
		return id, "", fmt.Errorf("%s: %s", response.Status, body)
	case q.Stream:
		text, err = readStream(response.Body)
	default:
		text, err = readWhole(response.Body)
	}
	return id, text, err
}

// piece is what is read of an answer or of a chunk of one.
type piece struct {
	Choices []struct {
		Message, Delta struct {
			Content string
		}
		FinishReason string `json:"finish_reason"`
	}
	Error json.RawMessage
}

func readWhole(body io.Reader) (string, error) {
	all, err := io.ReadAll(body)
	if err != nil {
		return "", err
	}
	var p piece
	if err := json.Unmarshal(all, &p); err != nil {
		return "", fmt.Errorf("the answer is no JSON: %w", err)
	}
	if len(p.Choices) != 1 || p.Choices[0].FinishReason == "" {
		return "", fmt.Errorf("the answer is not whole: %s", all)
	}
	return p.Choices[0].Message.Content, nil
}

func readStream(body io.Reader) (string, error) {
	var text strings.Builder
	finished, done := false, false
	lines := bufio.NewScanner(body)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		switch {
		case !ok: // a comment, or the line between two events
			continue
		case done:
			return "", fmt.Errorf("%s comes after [DONE]", data)
		case data == "[DONE]":
			done = true
			continue
		}
		var p piece
		if err := json.Unmarshal([]byte(data), &p); err != nil {
			return "", fmt.Errorf("the event %s: %w", data, err)
		}
		if len(p.Error) > 0 {
			return "", fmt.Errorf("the stream ends in an error: %s", data)
		}
		for _, c := range p.Choices {
			text.WriteString(c.Delta.Content)
			finished = finished || c.FinishReason != ""
		}
	}
	switch {
	case lines.Err() != nil:
		return "", lines.Err()
	case !finished:
		return "", errors.New("the stream has no finish reason")
	case !done:
		return "", errors.New("the stream ends without [DONE]")
	}
	return text.String(), nil
}

// whole holds an answer against what the provider that served it had to say.
func (d *Demo) whole(q Request, r *journal.Record, text string) error {
	if r == nil || len(r.Attempts) == 0 {
		return errors.New("there is no record of it")
	}
	served := r.Attempts[len(r.Attempts)-1].ProviderID
	for _, p := range d.World.Providers {
		if p.Name() != served {
			continue
		}
		right, err := sim.Answer(p.Profile(), q.Body)
		if err != nil {
			return err
		}
		if right.Choices[0].Text != text {
			return fmt.Errorf("%s answered %q, but %q arrived", served, right.Choices[0].Text, text)
		}
		return nil
	}
	return fmt.Errorf("the record names %s, which is none of the providers", served)
}
