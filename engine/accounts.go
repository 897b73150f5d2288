package engine

import (
	"chaperone/engine/account"
	"chaperone/engine/config"
)

// Accounts reads the organisations and keys of a configuration and nothing else of it: keys can be made and revoked while
// a policy or the catalog has a mistake. The error is config.Problems.
func Accounts(path string) (*account.Accounts, error) {
	doc, problems := parse(disk{}, path)
	if doc == nil {
		return nil, problems.Err()
	}
	accounts, problems := account.Load([]*config.Document{doc}, nil)
	if err := problems.Err(); err != nil {
		return nil, err
	}
	return accounts, nil
}
