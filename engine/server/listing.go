package server

import (
	"chaperone/engine"
	"chaperone/engine/wire"
)

// listing is what a request for models asks for. Anthropic's clients say which version of its API they speak and have pages
// of their own.
func (r *request) listing() (engine.Listing, *wire.Error) {
	q, e := r.query()
	if e != nil {
		return engine.Listing{}, e
	}
	return engine.Listing{Key: r.head.key, Query: q, Anthropic: len(r.Request.Header.Peek("Anthropic-Version")) > 0}, nil
}

func (s *Server) models(r *request) error {
	l, e := r.listing()
	if e != nil {
		return e
	}
	return answer(r)(s.router.Models(s.base, l))
}

func (s *Server) modelCount(r *request) error {
	l, e := r.listing()
	if e != nil {
		return e
	}
	return answer(r)(s.router.CountModels(s.base, l))
}

// retrieveModel shows a model as OpenAI's and Anthropic's clients ask for it, by one segment or two.
func (s *Server) retrieveModel(r *request) error { return s.model(r, false) }

// showModel shows it as OpenRouter's do.
func (s *Server) showModel(r *request) error { return s.model(r, true) }

func (s *Server) model(r *request, withinData bool) error {
	l, e := r.listing()
	if e != nil {
		return e
	}
	name := r.params[0]
	if len(r.params) > 1 {
		name += "/" + r.params[1]
	}
	return answer(r)(s.router.Model(s.base, l, name, withinData))
}

func (s *Server) endpoints(r *request) error {
	return answer(r)(s.router.Endpoints(s.base, r.head.key, r.params[0]+"/"+r.params[1]))
}

func (s *Server) zdrEndpoints(r *request) error {
	return answer(r)(s.router.ZDREndpoints(s.base, r.head.key))
}

func (s *Server) providers(r *request) error {
	return answer(r)(s.router.Providers(s.base, r.head.key))
}
