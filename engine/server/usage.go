package server

import (
	"net/url"

	"chaperone/engine/wire"
)

// query is that of the request target.
func (r *request) query() (url.Values, *wire.Error) {
	q, err := url.ParseQuery(string(r.URI().QueryString()))
	if err != nil {
		return nil, badHeader("the query of the request target is malformed: expected name=value pairs, joined by & and percent-encoded")
	}
	return q, nil
}

func (s *Server) generation(r *request) error {
	q, e := r.query()
	if e != nil {
		return e
	}
	return answer(r)(s.router.ShowGeneration(s.base, r.head.key, q.Get("id")))
}

func (s *Server) key(r *request) error { return answer(r)(s.router.Key(s.base, r.head.key)) }

func (s *Server) credits(r *request) error { return answer(r)(s.router.Credits(s.base, r.head.key)) }

func (s *Server) activity(r *request) error {
	q, e := r.query()
	if e != nil {
		return e
	}
	return answer(r)(s.router.Activity(s.base, r.head.key, q))
}

func (s *Server) analyticsMeta(r *request) error {
	return answer(r)(s.router.AnalyticsMeta(s.base, r.head.key))
}

func (s *Server) analytics(r *request) error {
	call, err := s.call(r)
	if err != nil {
		return err
	}
	return answer(r)(s.router.Analytics(s.base, call.Key, call.Body))
}
