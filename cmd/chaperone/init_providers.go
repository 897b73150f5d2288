package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"chaperone/engine/catalog"
)

// startProviders are the providers of the shipped catalog that are reached with a key.
func startProviders() []foundProvider {
	c, problems := catalog.Load(catalog.Shipped(), func(string) (string, bool) { return "", false })
	if err := problems.Err(); err != nil {
		panic(fmt.Sprint("the catalog that ships has a mistake: ", err)) // it is part of the program
	}
	here, _ := catalog.Load(catalog.Shipped(), os.LookupEnv)
	var list []foundProvider
	for id, variables := range c.Variables() {
		p := foundProvider{ID: id, Variables: variables}
		p.Found = here != nil && slices.ContainsFunc(here.Providers[id].Groups, (*catalog.CredentialGroup).Usable)
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b foundProvider) int { return strings.Compare(a.ID, b.ID) })
	return list
}

// keyVariables are the environment variables that the shipped catalog looks into, sorted.
func keyVariables() []string {
	names := map[string]bool{}
	for _, p := range startProviders() {
		for _, v := range p.Variables {
			names[v] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}
