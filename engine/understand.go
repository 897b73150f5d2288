package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"

	"chaperone/engine/account"
	"chaperone/engine/config"
	"chaperone/engine/wire"
)

// understand reads a request with all that its preset, its organisation and its header add to it, before anybody judges it:
// what was judged is what is sent.
func (e *Engine) understand(s *snapshot, who *account.Principal, c Call) (*wire.Request, *account.Preset, *wire.Error) {
	req, refused := wire.Skim(c.Shape, c.Head, c.Body)
	if refused != nil {
		return nil, nil, refused
	}
	model, slug, refused := presetOf(req)
	if refused != nil {
		return nil, nil, refused
	}
	var preset *account.Preset
	if slug != "" {
		if preset = s.accounts.Preset(who.Organisation, slug); preset == nil {
			return nil, nil, &wire.Error{Status: http.StatusBadRequest, Type: "not_found", Param: "preset",
				Message: config.UnknownName("preset", slug, s.accounts.PresetSlugs(who.Organisation))}
		}
		if req, refused = completed(c, req, model, &preset.Preset); refused != nil {
			return nil, nil, refused
		}
	}
	if d := who.Organisation.Defaults; d != nil && req.Model == "" && len(req.Models) == 0 {
		if req, refused = completed(c, req, "", d); refused != nil {
			return nil, nil, refused
		}
	}
	req.Preset = slug
	if req.SessionID == "" {
		req.SessionID = c.Session
	}
	req.Claims.App = c.App
	req.UpstreamUser = upstreamUser(s.settings.Routing.UpstreamUser, who.Organisation, req.Claims.User)
	return req, preset, nil
}

// completed is a request read anew with what p says and it does not.
func completed(c Call, req *wire.Request, model string, p *wire.Preset) (*wire.Request, *wire.Error) {
	body, refused := req.WithPreset(model, p)
	if refused != nil {
		return nil, refused
	}
	return wire.Skim(c.Shape, c.Head, body)
}

// upstreamUser is what providers are told for a user. A hash is the same in every request, so that a provider can tell users
// apart and shut out one who abuses it, and another for each organisation. It hides no name from who tries names out.
func upstreamUser(how string, org *account.Organisation, user string) string {
	switch {
	case user == "" || how == "none":
		return ""
	case how == "plain":
		return user
	}
	sum := sha256.Sum256([]byte(org.ID + "\x00" + user))
	return hex.EncodeToString(sum[:16])
}

// presetOf splits the model's name from the preset's: "author/slug@preset/name", "@preset/name", or a field of its own.
func presetOf(req *wire.Request) (model, slug string, refused *wire.Error) {
	model, inModel, found := strings.Cut(req.Model, wire.PresetMark)
	if !found || inModel == req.Preset || req.Preset == "" {
		if !found {
			inModel = req.Preset
		}
		return model, inModel, nil
	}
	return "", "", &wire.Error{Status: http.StatusBadRequest, Type: "invalid_request", Param: "preset",
		Message: fmt.Sprintf("preset: found %q beside %q in model; send one of them", req.Preset, inModel)}
}
