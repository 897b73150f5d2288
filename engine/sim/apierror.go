package sim

import (
	"fmt"
	"net/http"
	"time"
)

// apiError is OpenAI's error object.
type apiError struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    any     `json:"code"` // a string; a number in stream events, as OpenRouter and vLLM send it
	Details []any   `json:"details,omitempty"`
}

func errorBody(e apiError) []byte {
	return mustJSON(struct {
		Error apiError `json:"error"`
	}{e})
}

// forms are the shapes in which servers send errors; see Fault.Form.
var forms = []string{"openai", "bare", "text", "detail", "array"}

// inForm is an error body in one of the forms; "" is OpenAI's.
func inForm(form string, e apiError) []byte {
	switch form {
	case "bare": // vLLM, Mistral
		return mustJSON(map[string]any{"object": "error", "message": e.Message, "type": e.Type, "code": e.Code})
	case "text": // Ollama and small servers
		return mustJSON(map[string]any{"error": e.Message})
	case "detail": // FastAPI
		return mustJSON(map[string]any{"detail": e.Message})
	case "array": // Google
		return mustJSON([]any{map[string]any{"error": map[string]any{"code": e.Code, "message": e.Message, "status": e.Type}}})
	}
	return errorBody(e)
}

func writeError(w http.ResponseWriter, status int, e apiError) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(errorBody(e))
}

// unauthorised quotes the key in full, which some servers do: whoever passes the message on has to scrub it.
func unauthorised(bearer string) apiError {
	return apiError{Type: "invalid_request_error", Code: "invalid_api_key",
		Message: fmt.Sprintf("Incorrect API key provided: %s.", bearer)}
}

func unknownModel(model string) apiError {
	return apiError{Type: "invalid_request_error", Code: "model_not_found",
		Message: fmt.Sprintf("The model `%s` does not exist or you do not have access to it.", model)}
}

// ofStatus is the error object that usually comes with a status code.
func ofStatus(status int, bearer, model string) apiError {
	switch status {
	case http.StatusUnauthorized:
		return unauthorised(bearer)
	case http.StatusPaymentRequired:
		return apiError{Type: "insufficient_quota", Code: "insufficient_quota", Message: "You exceeded your current quota."}
	case http.StatusForbidden:
		return apiError{Type: "invalid_request_error", Code: "permission_denied", Message: "You are not allowed to use this model."}
	case http.StatusNotFound:
		return unknownModel(model)
	case http.StatusTooManyRequests:
		return apiError{Type: "requests", Code: "rate_limit_exceeded", Message: "Rate limit reached. Please try again later."}
	case http.StatusServiceUnavailable, 529:
		return apiError{Type: "server_error", Code: "overloaded", Message: "The engine is currently overloaded, please try again later."}
	}
	if status >= 500 {
		return apiError{Type: "server_error", Code: "server_error", Message: "The server had an error while processing your request."}
	}
	return apiError{Type: "invalid_request_error", Code: "invalid_request", Message: "The request is not valid."}
}

// refusal is the 400 of the faults that are a matter of the request.
func refusal(k Kind) apiError {
	e := apiError{Type: "invalid_request_error"}
	param := "messages"
	switch k {
	case ContextLength:
		e.Code = "context_length_exceeded"
		e.Message = "This model's maximum context length is 8192 tokens. However, your messages resulted in more."
	case ContentPolicy:
		e.Code = "content_policy_violation"
		e.Message = "Your request was rejected as a result of our safety system."
	case UnsupportedParameter:
		e.Code = "unsupported_parameter"
		e.Message = "Unsupported parameter: 'temperature' is not supported with this model."
		param = "temperature"
	}
	e.Param = &param
	return e
}

// announcedWait is what a status fault says in Retry-After.
func (f *Fault) announcedWait() time.Duration {
	if f.RetryAfter == 0 && f.status() == http.StatusTooManyRequests {
		return time.Second
	}
	return f.RetryAfter
}
