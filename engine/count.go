package engine

import (
	"errors"
	"fmt"
	"net/http"

	"chaperone/engine/dispatch"
	"chaperone/engine/route"
	"chaperone/engine/wire"
)

// estimated answers how many tokens a prompt has by this router's own estimate, where no endpoint that may see the prompt can
// count it: that shows the prompt to nobody. What is wrong with the request itself, or forbidden as a whole, stays an error.
func estimated(p *route.Plan, err error) (*dispatch.Response, error) {
	var e *wire.Error
	if p == nil || len(p.Rejections) > 0 || !errors.As(err, &e) || e.Status < 500 && e.Status != http.StatusNotFound && e.Status != http.StatusTooManyRequests {
		return nil, err
	}
	if len(p.Candidates) == 0 {
		return nil, err // there is no such model
	}
	body := fmt.Appendf(nil, `{"input_tokens":%d,"estimated":true}`, p.Request.PromptTokens)
	return &dispatch.Response{Plan: p, Status: http.StatusOK, Body: body, Timing: e.Timing}, nil
}
