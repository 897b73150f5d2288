package engine

import (
	"maps"
	"slices"

	"chaperone/engine/account"
	"chaperone/engine/config"
	"chaperone/engine/journal"
	"chaperone/engine/route"
)

// content is one request whose content is kept.
type content struct {
	contents *journal.Contents
	request  []byte
	record   *journal.Record
}

// content is nil where the request's is not kept: its organisation has not switched that on, or a policy forbids it.
func (e *Engine) content(p *route.Plan) *content {
	if e.contents == nil || !p.Principal.Organisation.LogContent {
		return nil
	}
	return &content{contents: e.contents, request: p.Request.Body}
}

// of takes the record, which comes before the answer.
func (c *content) of(rec *journal.Record) {
	if c != nil && rec.Log == "" { // any level that a policy demands leaves content out
		c.record = rec
	}
}

// answered is what the whole answer goes to; nil where that is not kept.
func (c *content) answered() func([]byte) {
	if c == nil {
		return nil
	}
	return func(answer []byte) {
		if c.record != nil {
			c.contents.Add(c.record, c.request, answer)
		}
	}
}

// checkContent reports organisations that want content kept where there is no folder for it.
func (j *Journal) checkContent(accounts *account.Accounts, doc *config.Document) (problems config.Problems) {
	if j.ContentDir != "" {
		return nil
	}
	for _, id := range slices.Sorted(maps.Keys(accounts.Organisations)) {
		if accounts.Organisations[id].LogContent {
			problems = append(problems, doc.Problem("organisations."+config.Dotted(id)+".log_content", "prompts and answers are to be kept, and there is no folder for them; set journal.content_dir"))
		}
	}
	return problems
}
