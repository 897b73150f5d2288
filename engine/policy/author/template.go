package author

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"chaperone/engine/config"
)

// File is one that is written for somebody to go on with.
type File struct {
	Path string
	Text string
}

var packagePart = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// New makes a commented policy of that name, such as "acme.vision", its test, and the tables that bind it.
func New(name, dir string) (files []File, binding string, err error) {
	parts := strings.Split(name, ".")
	for _, part := range parts {
		switch {
		case !packagePart.MatchString(part):
			return nil, "", fmt.Errorf("found %q; a policy's name is a package's: lower-case letters, digits and _ with dots between, such as acme.vision", name)
		case slices.Contains(ast.KeywordsForRegoVersion(ast.RegoV1), part) || part == "input" || part == "data":
			return nil, "", fmt.Errorf("found %q; %s is a word of Rego's own, choose another", name, part)
		}
	}
	switch {
	case parts[0] == "library":
		return nil, "", fmt.Errorf("found %q; names below library are kept for the library that ships with Chaperone, choose another", name)
	case strings.HasSuffix(name, "_test"):
		return nil, "", fmt.Errorf("found %q; files that end in _test are tests, choose another name", name)
	}
	last := parts[len(parts)-1]
	base := filepath.Join(append([]string{dir}, parts...)...)
	fill := strings.NewReplacer("PACKAGE", name, "NAME", last, "DIR", config.Quote(filepath.ToSlash(dir)))
	files = []File{{base + ".rego", fill.Replace(policyTemplate)}, {base + regoTests, fill.Replace(testTemplate)}}
	return files, fill.Replace(bindingTemplate), nil
}

const policyTemplate = `# METADATA
# title: What this policy is for, in one line
# description: >-
#   What it denies and why. The title, the control and the severity are shown with every denial.
# schemas:
#   - data.params:
#       type: object
#       additionalProperties: false
#       required: [providers]
#       properties:
#         providers: {type: array, items: {type: string}, description: ids of the providers that may serve}
# custom:
#   control: INTERNAL-1
#   severity: medium
package PACKAGE

# Evaluated once for every row: an endpoint under the terms of one group of credentials. Each element of deny is a
# reason for which the row may not serve; where there is none, this policy lets it through.
#
# input.endpoint, input.request, input.principal, input.claims and input.time hold every field of the schemas, always.
# What nobody has stated has the worst value that it can have ("unknown", 36500 days, every region), so that != and > mean
# what they say. data.params is what the binding gives.
deny contains {"code": "NAME", "message": message} if {
	not input.endpoint.provider in data.params.providers
	message := sprintf("%s is not one of the providers that may serve: %s", [input.endpoint.provider, concat(", ", data.params.providers)])
}

# The other rules that a policy can have:
#
#   reject contains "why" if { … }                        the whole request is refused; there is no input.endpoint
#   require contains {"max_output_tokens": 4096} if { … }  a condition on sending the request to the row
#   allow if { … }                                        where a policy has it, it must be true of the row
#   prefer["price"] := 2 if { … }                         the weight of a scorer
`

const testTemplate = `package PACKAGE_test

import data.PACKAGE

# chaperone policy test runs every rule whose name starts with test_; it holds where the rule is true.

test_a_named_provider_may_serve if {
	count(NAME.deny) == 0 with input as {"endpoint": {"provider": "alpha"}} with data.params as {"providers": ["alpha"]}
}

test_any_other_is_denied if {
	some reason in NAME.deny with input as {"endpoint": {"provider": "beta"}} with data.params as {"providers": ["alpha"]}
	reason.code == "NAME"
}
`

const bindingTemplate = `[[policy.sources]]
name = "own"
path = DIR

[[policy.bindings]]
package = "PACKAGE"
for     = "everyone"               # or org:ID, team:ORG/TEAM, key:KEYID
params  = { providers = ["alpha"] }
`
