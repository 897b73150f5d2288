package server

import (
	"cmp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"chaperone/engine"
	"chaperone/engine/wire"
)

// What a header may hold of a program's name, in bytes; the rest is left out. It is a label and no more.
const (
	maxAppField   = 256
	maxCategories = 2
)

// asides reads what header fields say beside the body, by OpenRouter's names
// (https://openrouter.ai/docs/app-attribution, https://openrouter.ai/docs/guides/features/response-caching,
// https://openrouter.ai/docs/guides/features/router-metadata).
func (r *request) asides(c *engine.Call) *wire.Error {
	c.Session = r.field("X-Session-Id")
	if problem := wire.CheckSession(c.Session); problem != "" {
		return badHeader("X-Session-Id: %s", problem)
	}
	c.App.URL = cmp.Or(label(r.field("HTTP-Referer")), label(r.field("Referer")))
	c.App.Title = cmp.Or(label(r.field("X-OpenRouter-Title")), label(r.field("X-Title")))
	c.App.UserAgent, c.App.Origin = label(r.field("User-Agent")), label(r.field("Origin"))
	if list := r.field("X-OpenRouter-Categories"); list != "" {
		for category := range strings.SplitSeq(list, ",") {
			if category = label(category); category != "" && len(c.App.Categories) < maxCategories {
				c.App.Categories = append(c.App.Categories, category)
			}
		}
	}
	c.Metadata = strings.EqualFold(r.field("X-OpenRouter-Metadata"), "enabled") ||
		strings.EqualFold(r.field("X-OpenRouter-Experimental-Metadata"), "enabled")
	return r.cacheWish(&c.Cache)
}

func (r *request) cacheWish(w *engine.CacheWish) *wire.Error {
	var e *wire.Error
	flag := func(name string) (value, sent bool) {
		text := r.field(name)
		switch {
		case text == "":
			return false, false
		case strings.EqualFold(text, "true"), strings.EqualFold(text, "false"):
			return strings.EqualFold(text, "true"), true
		}
		e = badHeader("%s is %q; it should be true or false", name, clip([]byte(text)))
		return false, true
	}
	w.Enabled, w.Asked = flag("X-OpenRouter-Cache")
	w.Clear, _ = flag("X-OpenRouter-Cache-Clear")
	if text := r.field("X-OpenRouter-Cache-TTL"); text != "" {
		seconds, err := strconv.ParseUint(text, 10, 32)
		if err != nil || seconds < 1 || seconds > 86400 {
			return badHeader("X-OpenRouter-Cache-TTL is %q; it should be whole seconds from 1 to 86400", clip([]byte(text)))
		}
		w.TTL = time.Duration(seconds) * time.Second
	}
	return e
}

func (r *request) field(name string) string { return string(r.Request.Header.Peek(name)) }

// label is text as records keep it: UTF-8 without control characters, of which a terminal that shows it makes what it likes.
func label(text string) string {
	text = strings.ToValidUTF8(text[:min(len(text), maxAppField)], "")
	return strings.TrimSpace(strings.Map(func(c rune) rune {
		if unicode.IsControl(c) || unicode.Is(unicode.Cf, c) {
			return -1
		}
		return c
	}, text))
}
