package policy

import (
	"context"
	"strings"
	"testing"
)

// module wraps a rule into a package that is otherwise good, so that nothing but the rule is at fault.
func module(rule string) files { return one("package org.p\n\n" + rule) }

// paramsModule declares the parameters max (a number) and, optionally, names.
const declaresParams = `# METADATA
# schemas:
#   - data.params: {type: object, additionalProperties: false, properties: {max: {type: number, minimum: 0}, names: {type: array, items: {type: string}}}, required: [max]}
package org.p

`

func withParams(rule, params string) files {
	f := one(declaresParams + rule)
	f["chaperone.toml"] += params
	return f
}

const goodDeny = "deny contains \"no\" if input.request.stream\n"

var mistakes = []struct {
	name  string
	files files
	want  []string // each a part of one problem's text, with its file and line
}{
	{"a misspelt field", module(`deny contains "x" if input.endpoint.data_polcy.training != "no"`),
		[]string{`rego/p.rego:3: input.endpoint.data_polcy does not exist; did you mean data_policy?; input.endpoint has id, provider, model,`}},
	{"a misspelt field below", module(`deny contains "x" if input.endpoint.data_policy.trainign != "no"`),
		[]string{`rego/p.rego:3: input.endpoint.data_policy.trainign does not exist; did you mean training?`}},
	{"a misspelt top-level field", module(`deny contains "x" if input.endpont.provider == "a"`),
		[]string{`input.endpont does not exist; did you mean endpoint?; input has principal, claims, request, endpoint, time`}},
	{"a field below a string", module(`deny contains "x" if input.endpoint.provider.name == "a"`),
		[]string{`input.endpoint.provider.name: input.endpoint.provider is a string and has no fields`}},
	{"a dynamic field", module(`deny contains "x" if { some k in ["provider"]; input.endpoint[k] == "a" }`),
		[]string{`input.endpoint[k]: the field must be written out`}},
	{"a group under another name", module("deny contains \"x\" if {\n\te := input.endpoint\n\te.provider == \"a\"\n}"),
		[]string{`rego/p.rego:4: input.endpoint as a whole may not be read`, `name the field, such as input.endpoint.id`}},
	{"the whole input handed to a helper", module("trains(x) if x.endpoint.data_policy.training == \"yes\"\n\ndeny contains \"x\" if trains(input)"),
		[]string{`rego/p.rego:5: input as a whole may not be read`}},
	{"an open map by key", module(`deny contains "x" if input.principal.labels.stage == "test"`),
		[]string{`rego/p.rego:3: input.principal.labels.stage is an open map, in which a key may be absent`, `write object.get(input.principal.labels, "stage", "")`}},
	{"an open map of numbers by key", module(`deny contains "x" if input.endpoint.attributes["quality"] < 0.5`),
		[]string{`write object.get(input.endpoint.attributes, "quality", 0)`}},
	{"an open map under another name", module("deny contains \"x\" if {\n\tl := input.claims.metadata\n\tl.a == \"b\"\n}"),
		[]string{`rego/p.rego:4: input.claims.metadata is an open map`}},
	{"one element of a list", module(`deny contains "x" if input.request.models[0] == "a"`),
		[]string{`rego/p.rego:3: input.request.models[0] may be absent, where the list is shorter, and then a rule silently does not fire; write `}},
	{"data that does not exist", module(`deny contains "x" if data.org.lists.blocked[input.endpoint.provider]`),
		[]string{`data.org.lists.blocked[input.endpoint.provider] does not exist; a policy reads the rules of its own source and data.params`}},
	{"a rule of its own misspelt", module("blocked := {\"a\"}\n\ndeny contains \"x\" if input.endpoint.provider in data.org.p.blokced\n\ndeny contains \"y\" if input.endpoint.provider in blocked"),
		[]string{`rego/p.rego:5: data.org.p.blokced does not exist; did you mean data.org.p.blocked?`}},
	{"a whole package as data", module("deny contains \"x\" if count(data.org.p) > 1"),
		[]string{`data.org.p is a whole package; name the rule`}},
	{"a variable that nobody binds", module(`deny contains "x" if endpoint.provider == "a"`),
		[]string{`rego/p.rego:3: rego_unsafe_var_error: var endpoint is unsafe (nothing gives it a value`}},
	{"a clock", module(`deny contains "x" if time.now_ns() > 0`),
		[]string{`rego/p.rego:3: time.now_ns may not be used in a policy: it reads the clock; use input.time`}},
	{"the network", module(`deny contains "x" if http.send({"url": "http://a", "method": "get"}).status_code == 200`),
		[]string{`http.send may not be used in a policy: it uses the network`}},
	{"name lookup", module(`deny contains "x" if count(net.lookup_ip_addr("a")) > 0`),
		[]string{`net.lookup_ip_addr may not be used in a policy`, `input.request.egress_hosts`}},
	{"randomness", module(`deny contains "x" if rand.intn("a", 2) == 1`),
		[]string{`rand.intn may not be used in a policy: it is random`}},
	{"the environment", module(`deny contains "x" if opa.runtime().env.HOME == "a"`),
		[]string{`opa.runtime may not be used in a policy`}},
	{"an unbounded shift", module(`deny contains "x" if bits.lsh(1, input.request.n) > 4`),
		[]string{`bits.lsh may not be used in a policy: its result has no bound; multiply`}},
	{"a verification against the clock", module(`deny contains "x" if io.jwt.decode_verify(input.claims.user, {})[0]`),
		[]string{`io.jwt.decode_verify may not be used in a policy`, `input.principal`}},
	{"print", module("deny contains \"x\" if {\n\tprint(input.request.model)\n\tinput.request.stream\n}"),
		[]string{`rego/p.rego:4: print may not be used in a policy`}},
	{"an unknown function", module(`deny contains "x" if strings.beginswith(input.request.model, "a")`),
		[]string{`strings.beginswith`}},
	{"with", module(`deny contains "x" if helper with input as {}` + "\n\nhelper if input.request.stream"),
		[]string{`rego/p.rego:3: with replaces what a rule is given, here input`}},
	{"no rule of the contract", module(`reasons contains "x" if input.request.stream`),
		[]string{`package org.p is bound and has none of the rules deny, allow, reject, require, prefer`}},
	{"denny", module(goodDeny + `denny contains "x" if input.request.n > 1`),
		[]string{`rego/p.rego:4: no rule reads denny, and it is none of the contract's`, `did you mean deny?`}},
	{"violation", module(`violation contains "x" if input.request.n > 1`), []string{`did you mean deny?`}},
	{"allowed", module(goodDeny + `allowed if input.request.n == 1`), []string{`did you mean allow?`}},
	{"deny as a value", module(`deny if input.request.n > 1`),
		[]string{`rego/p.rego:3: deny is a single value here and must be a set: write deny contains reason if { … }`}},
	{"deny as a function", module(`deny(x) if x > 1`), []string{`deny is a function here and must be a set`}},
	{"allow as a set", module(`allow contains "x" if input.request.n > 1`), []string{`allow is a set here and must be a single value: write allow if { … }`}},
	{"allow as text", module(`allow := "yes" if input.request.n == 1`), []string{`allow is a string here and must be true or false`}},
	{"allow by default", module("default allow := true\n\nallow := false if input.request.n > 1"),
		[]string{`default allow := true would permit whatever no rule speaks of; write default allow := false`}},
	{"a reason that is a number", module(`deny contains 403 if input.request.n > 1`), []string{`deny holds a number and must hold strings or objects`}},
	{"a reason with half a code", module(`deny contains {"code": "x"} if input.request.n > 1`), []string{`a reason is a string or {"code": "…", "message": "…"}; found {"code": "x"}`}},
	{"reject that reads the endpoint", module(`reject contains "x" if input.endpoint.provider == "a"`),
		[]string{`rego/p.rego:3: reject judges the whole request, so there is no input.endpoint.provider for it; use deny`}},
	{"reject that reads the endpoint through a helper", module("reject contains \"x\" if trains\n\ntrains if input.endpoint.data_policy.training == \"yes\""),
		[]string{`rego/p.rego:5: reject judges the whole request, so there is no input.endpoint.data_policy.training`}},
	{"prefer that reads the endpoint", module(`prefer["price"] := 2 if input.endpoint.free`), []string{`prefer judges the whole request`}},
	{"an allow that a claim opens", module(`allow if input.claims.data_class == "public"`),
		[]string{`allow reads input.claims.data_class, which the caller sets as it likes`}},
	{"a number against text", module(`deny contains "x" if input.endpoint.data_policy.retention_days > "30"`),
		[]string{`input.endpoint.data_policy.retention_days > "30" compares a number with a string`, `write input.endpoint.data_policy.retention_days > 30`}},
	{"a number against text through a variable", module("deny contains \"x\" if {\n\td := input.endpoint.data_policy.retention_days\n\td > \"30\"\n}"),
		[]string{`rego/p.rego:5: d > "30" compares a number with a string`}},
	{"a claim against a boolean", module(`deny contains "x" if input.endpoint.data_policy.training == true`),
		[]string{`compares a string with a boolean`, `input.endpoint.data_policy.training is not true but one of yes, no, unknown`}},
	{"a value that a field never has", module(`deny contains "x" if input.endpoint.data_policy.training == "Yes"`),
		[]string{`input.endpoint.data_policy.training is never "Yes"; found "Yes"; did you mean "yes"?`}},
	{"a value in a set that a field never has", module(`deny contains "x" if input.endpoint.data_policy.zdr in {"no", "unkown"}`),
		[]string{`input.endpoint.data_policy.zdr is never "unkown"; found "unkown"; did you mean "unknown"?`}},
	{"in, of a string", module(`deny contains "x" if "a" in input.endpoint.provider`),
		[]string{`"a" in input.endpoint.provider: a string holds nothing that could be in it; compare with == instead`}},
	{"a default of the wrong type", module(`deny contains "x" if object.get(input.endpoint.attributes, "quality", 0) < "1"`),
		[]string{`compares a number with a string`}},
	{"v0 syntax", module(`deny["x"] { input.request.stream }`), []string{`rego/p.rego:3: rego_parse_error`, "write `deny contains reason if { … }`"}},
	{"a part of a text", module(`deny contains "x" if split(input.request.model, "/")[1] == "large"`),
		[]string{`rego/p.rego:3: split(input.request.model, "/")[1] may be absent, where the list is shorter`, `write array.slice(split(input.request.model, "/"), 1, 2) == ["value"], or`}},
	{"a glob that ends at dots", module(`deny contains "x" if glob.match("acme/*", [], input.endpoint.model)`),
		[]string{`rego/p.rego:3: glob.match takes [] for ["."]`, `write glob.match("acme/*", ["/"], input.endpoint.model), or null`}},
	{"a number against text in a helper", module("over(n) if n > \"3\"\n\ndeny contains \"x\" if over(input.request.n)"), []string{`rego/p.rego:3: n > "3" compares a number with a string`, `write n > 3`}},
	{"a rule in a file for tests", files{"chaperone.toml": one("").toml(), "rego/p.rego": "package org.p\n\n" + goodDeny, "rego/more_test.rego": "package org.p\n\ndeny contains \"x\" if input.request.n > 1\n"},
		[]string{`rego/more_test.rego:3: deny is a rule of a policy, and in a file whose name ends in _test.rego, which is a test, it decides nothing`}},
	{"a part of a text that is split by nothing", module(`deny contains "x" if split(input.request.model)[0] == "large"`), []string{`rego/p.rego:3: split(input.request.model)[0] may be absent`}},
	{"a key of a table", module("limits := {\"gold\": 1}\n\ndeny contains \"x\" if input.request.n > limits.tin"),
		[]string{`rego/p.rego:5: data.org.p.limits.tin may be absent, and then a rule silently does not fire; write object.get(data.org.p.limits, "tin", default)`}},
	{"a table that lacks a value of its key", module("limits := {\"internal\": 1}\n\ndeny contains \"x\" if input.request.n > limits[input.request.data_class]"),
		[]string{`write object.get(data.org.p.limits, input.request.data_class, default)`}},
	{"a parameter's own parameter that may be left out", one("# METADATA\n# schemas:\n#   - data.params: {type: object, required: [a], properties: {a: {type: object, properties: {b: {type: number}}}}}\npackage org.p\n\ndeny contains \"x\" if input.request.n > data.params.a.b"),
		[]string{`data.params.a.b may be absent`}},
	{"a value that may be undefined", module("limit := 1 if input.request.stream\n\ndeny contains \"x\" if input.request.n > limit"),
		[]string{`rego/p.rego:5: limit is undefined where no condition of it holds`, `add default limit := … with`}},
	{"a function that may be undefined", module("limit(n, m) := 1 if n > m\n\ndeny contains \"x\" if input.request.n > limit(input.request.n, 1)"), []string{`add default limit(_, _) := … with`}},
	{"another than some element", module(`deny contains "x" if input.endpoint.certifications[_] != "soc2"`),
		[]string{`rego/p.rego:3: input.endpoint.certifications[_] != "soc2" holds where some element is another, and in no empty list; write ` + "`not \"soc2\" in input.endpoint.certifications`"}},
	{"a country in lower case", module(`deny contains "x" if input.endpoint.jurisdiction == "us"`), []string{`input.endpoint.jurisdiction is never "us"; unknown value "us"; did you mean "US"?`}},
	{"a region in upper case", module(`deny contains "x" if "EU" in input.endpoint.processing_regions`), []string{`input.endpoint.processing_regions never holds "EU"; unknown value "EU"; did you mean "eu"?`}},
	{"a country in a case that it never has", module(`deny contains "x" if lower(input.endpoint.jurisdiction) == "US"`),
		[]string{`rego/p.rego:3: lower(input.endpoint.jurisdiction) is never "US": it has no letter of that case; write lower(input.endpoint.jurisdiction) == "us"`}},
	{"a prefix in a case that it never has", module(`deny contains "x" if startswith(upper(input.endpoint.model), "acme/")`),
		[]string{`write startswith(upper(input.endpoint.model), "ACME/")`}},
	{"a glob that is none", module(`deny contains "x" if glob.match("acme/{large", ["/"], input.endpoint.model)`), []string{`rego/p.rego:3: glob.match cannot read the pattern "acme/{large"`}},
	{"a pattern in a variable that is none", module("deny contains \"x\" if {\n\tp := \"[\"\n\tregex.match(p, input.endpoint.model)\n}"), []string{`rego/p.rego:5: regex.match cannot read the pattern "["`}},
	{"a pattern to replace that is none", module(`deny contains "x" if regex.replace(input.endpoint.model, "*", "") == "a"`), []string{`regex.replace cannot read the pattern "*"`}},
	{"a hundred percent", module(`deny contains "x" if 100 > input.endpoint.stats.uptime`), []string{`input.endpoint.stats.uptime < 100 always holds`}},
	{"a boolean with %d", module(`deny contains sprintf("%d", [input.endpoint.free])`), []string{`sprintf shows input.endpoint.free with %d, which is for numbers; write %v`}},
	{"no value for a place", module(`deny contains sprintf("%s", [])`), []string{`the format "%s" has places for 1 values, and sprintf is given 0`}},
	{"a reference in a plain text within an object", module(`deny contains {"code": "x", "message": "no {input.request.model}"}`), []string{`write $"no {input.request.model}"`}},
	{"a country that none is in lower case", module(`deny contains "x" if lower(input.endpoint.jurisdiction) == "usa"`), []string{`input.endpoint.jurisdiction is never "usa"; did you mean "us"?`}},
	{"an empty list that never is", module(`deny contains "x" if count(input.endpoint.processing_regions) == 0`),
		[]string{`rego/p.rego:3: count(input.endpoint.processing_regions) == 0 never holds: input.endpoint.processing_regions is never empty; where nothing is stated it is ["unknown"]; write "unknown" in input.endpoint.processing_regions`}},
	{"a list as a condition", module(`deny contains "x" if not input.endpoint.certifications`),
		[]string{`rego/p.rego:3: not input.endpoint.certifications never holds, because input.endpoint.certifications is an array, and in Rego an empty list counts as true; write a comparison, such as count(input.endpoint.certifications) == 0`}},
	{"text as a condition", module(`deny contains "x" if not input.endpoint.jurisdiction`), []string{`such as input.endpoint.jurisdiction == "unknown"`}},
	{"a region in a binding that none is", files{"chaperone.toml": "[[policy.bindings]]\npackage = \"library.residency\"\nfor = \"everyone\"\nparams = { regions = [\"ch\", \"EU\"] }\n"},
		[]string{`chaperone.toml:4: policy.bindings[0].params.regions[1]: unknown value "EU"; did you mean "eu"?; input.endpoint.processing_regions has no other value`}},
	{"a rule that holds too much", module(doublings(20, `[input.request.n]`, `[V, V]`) + `deny contains "x" if count(v20) < 0`), []string{`holds more than 10000 values once the rules and variables that it is made of are written out in it`}},
	{"a condition that is compared", module("approved if input.request.stream\n\ndeny contains \"x\" if approved == false"),
		[]string{`rego/p.rego:5: approved is undefined, not false, where it does not hold`, `add default approved := false`}},
	{"classes in the order of the alphabet", module(`deny contains "x" if input.request.data_class > "internal"`),
		[]string{`input.request.data_class > "internal" compares by the alphabet; compare input.request.data_class_rank`}},
	{"words in the order of the alphabet", module(`deny contains "x" if input.endpoint.data_policy.training > "no"`), []string{`name the values that are meant, as in input.endpoint.data_policy.training in {"yes"}`}},
	{"null for what is unknown", module(`deny contains "x" if is_null(input.endpoint.data_policy.training)`), []string{`input.endpoint.data_policy.training is never null`}},
	{"a date of another form", module(`deny contains "x" if input.time.date == "2027-1-31"`), []string{`input.time.date is a date as in "2027-01-31"; found "2027-1-31"`}},
	{"an unused variable", module("deny contains \"x\" if {\n\ty := input.request.n\n\tinput.request.stream\n}"), []string{`assigned var y unused (remove it or write _ in its place)`}},
	{"recursion", module("a if b\n\nb if a\n\ndeny contains \"x\" if a"), []string{`rego_recursion_error`}},
	{"an unknown obligation", module(`require contains {"max_output_token": 10} if input.request.stream`),
		[]string{`rego/p.rego:3: require: unknown obligation "max_output_token"; did you mean "max_output_tokens"?`}},
	{"an obligation that would loosen", module(`require contains {"store": true} if input.request.stream`), []string{`require: found {"store": true}; expected {"store": false}`}},
	{"a weight that is no number", module(`prefer["price"] := "2" if input.request.stream`), []string{`prefer gives "2" and must give a number`}},
	{"an empty file", files{"chaperone.toml": one("").toml(), "rego/p.rego": "# nothing\n"}, []string{`rego/p.rego`}},
	{"a second source for a package", files{
		"chaperone.toml": "[[policy.sources]]\nname = \"a\"\npath = \"a\"\n[[policy.sources]]\nname = \"b\"\npath = \"b\"\n[[policy.bindings]]\npackage = \"org.p\"\nfor = \"everyone\"\n",
		"a/p.rego":       "package org.p\n\n" + goodDeny, "b/x.rego": "package org.p\n\nallow if true\n",
	}, []string{`b/x.rego:1: package org.p belongs to source "a" (a/p.rego); a second source may not add to it`}},
	{"the library's names", one("package library.training\n\nallow if true\n"), []string{`rego/p.rego:1: package library.training belongs to source "library" (library/training.rego)`}},
	{"a name below library", one("package library.mine\n\n" + goodDeny), []string{`names below library are kept for the library`}},
	{"a package that is not there", files{"chaperone.toml": "[[policy.bindings]]\npackage = \"library.trainign\"\nfor = \"everyone\"\n"},
		[]string{`chaperone.toml:2: policy.bindings[0].package: unknown package "library.trainign"; did you mean "library.training"?`}},
	{"an organisation that is not there", files{"chaperone.toml": "[[policy.bindings]]\npackage = \"library.training\"\nfor = \"org:acmee\"\n"},
		[]string{`chaperone.toml:3: policy.bindings[0].for: unknown organisation "acmee"; did you mean "acme"?`}},
	{"a team that is not there", files{"chaperone.toml": "[[policy.bindings]]\npackage = \"library.training\"\nfor = \"team:acme/fruad\"\n"},
		[]string{`unknown team of acme "fruad"; did you mean "fraud"?`}},
	{"a scope of no form", files{"chaperone.toml": "[[policy.bindings]]\npackage = \"library.training\"\nfor = \"acme\"\n"},
		[]string{`found "acme"; expected "everyone", "org:ID", "team:ORG/TEAM" or "key:KEYID"`}},
	{"no scope", files{"chaperone.toml": "[[policy.bindings]]\npackage = \"library.training\"\n"}, []string{`policy.bindings[0].for: missing; expected "everyone"`}},
	{"an unknown key of a binding", files{"chaperone.toml": "[[policy.bindings]]\npackage = \"library.training\"\nfor = \"everyone\"\nparam = 1\n"},
		[]string{`chaperone.toml:4: policy.bindings[0].param`}},
	{"a trial without an end", files{"chaperone.toml": "[[policy.bindings]]\npackage = \"library.training\"\nfor = \"everyone\"\nenforcement = \"warn\"\n"},
		[]string{`policy.bindings[0].until: missing; warn excludes nothing and must end`}},
	{"a directory that is not there", files{"chaperone.toml": "[[policy.sources]]\nname = \"a\"\npath = \"regoo\"\n"},
		[]string{`chaperone.toml:3: policy.sources[0].path: found "regoo": no such file or directory; expected a directory of .rego files`}},
	{"a source that the binding misnames", files{"chaperone.toml": one("").toml() + "source = \"library\"\n", "rego/p.rego": "package org.p\n\n" + goodDeny},
		[]string{`package org.p is not in source "library" but in "own"`}},
	{"a timeout of nothing", files{"chaperone.toml": "[policy]\nevaluation_timeout = \"0s\"\n"}, []string{`policy.evaluation_timeout: found 0s; expected more than 0`}},
	{"parameters that nobody declared", files{"chaperone.toml": one("").toml() + "params = { max = 1 }\n", "rego/p.rego": "package org.p\n\n" + goodDeny},
		[]string{`policy.bindings[0].params: org.p declares no parameters`, `# METADATA`, `properties: {max: {type: number}}, required: [max]`}},
	{"a parameter that the module does not declare", module(`deny contains "x" if input.request.n > data.params.max`),
		[]string{`rego/p.rego:3: data.params.max is read, and the package declares no parameters`, `# METADATA`}},
	{"a parameter of the wrong type", withParams(`deny contains "x" if input.request.n > data.params.max`, "params = { max = \"3\" }\n"),
		[]string{`policy.bindings[0].params.max: found "3"; expected number`}},
	{"a parameter that is missing", withParams(`deny contains "x" if input.request.n > data.params.max`, ""), []string{`policy.bindings[0].params.max: missing; org.p needs it`}},
	{"a parameter misspelt in the binding", withParams(`deny contains "x" if input.request.n > data.params.max`, "params = { max = 3, name = [\"a\"] }\n"),
		[]string{`unknown parameter of org.p "name"; did you mean "names"?`}},
	{"a parameter misspelt in the module", withParams(`deny contains "x" if input.request.n > data.params.maxx`, "params = { max = 3 }\n"),
		[]string{`data.params.maxx`}},
	{"a parameter compared with another type", withParams(`deny contains "x" if input.request.model > data.params.max`, "params = { max = 3 }\n"),
		[]string{`compares a string with a number`}},
	{"an optional parameter read bare", withParams(`deny contains "x" if input.endpoint.provider in data.params.names`, "params = { max = 3 }\n"),
		[]string{`data.params.names may be left out, and then this rule silently does not fire; write object.get(data.params, "names", …)`}},
	{"an element of the wrong type", withParams(`deny contains "x" if input.endpoint.provider in object.get(data.params, "names", [])`, "params = { max = 3, names = [\"a\", 2] }\n"),
		[]string{`params.names[1]: found 2; expected string`}},
	{"a parameter below its bound", withParams(`deny contains "x" if input.request.n > data.params.max`, "params = { max = -1 }\n"),
		[]string{`found -1; expected 0 or more`}},
	{"a team's file that sets what is not its own", files{"chaperone.toml": "\n", "team.toml": "organisation = \"acme\"\nteam = \"fraud\"\n[policy]\nrequire_policy = false\n"},
		[]string{`team.toml:4: policy.require_policy: a team's file may only add sources, bindings and waivers`}},
	{"an included file of nobody", files{"chaperone.toml": "\n", "team.toml": "[policy]\nrequire_policy = false\n"}, []string{`team.toml:1: an included file says whose it is: organisation = "…" and team = "…"`}},
	{"a team without its organisation", files{"chaperone.toml": "\n", "team.toml": "team = \"fraud\"\n"}, []string{`an included file says whose it is`}},
	{"a schema with a bound that nobody checks", one("# METADATA\n# schemas:\n#   - data.params: {type: object, properties: {a: {type: string, pattern: x}}}\npackage org.p\n\n" + goodDeny),
		[]string{`the schema of data.params: a: unknown keyword "pattern"`}},
	{"a schema that is open", one("# METADATA\n# schemas:\n#   - data.params: {type: object, additionalProperties: true, properties: {a: {type: string}}}\npackage org.p\n\n" + goodDeny),
		[]string{`additionalProperties must be false: a misspelt parameter would go unnoticed`}},
	{"a team's file that binds another team", files{"chaperone.toml": "\n", "team.toml": "organisation = \"acme\"\nteam = \"fraud\"\n[[policy.bindings]]\npackage = \"library.training\"\nfor = \"team:other/fraud\"\n"},
		[]string{`team.toml:5: policy.bindings[0].for: found "team:other/fraud", which is outside team:acme/fraud`}},
	{"a team's file of a team that is not there", files{"chaperone.toml": "\n", "team.toml": "organisation = \"acme\"\nteam = \"frau\"\n"}, []string{`unknown team of acme "frau"; did you mean "fraud"?`}},
}

func (f files) toml() string { return f["chaperone.toml"] }

func TestEveryMistakeHasItsOwnWords(t *testing.T) {
	for _, c := range mistakes {
		t.Run(c.name, func(t *testing.T) {
			set, problems := c.files.load(t)
			if len(problems) == 0 || set != nil {
				t.Fatal("loaded without a problem")
			}
			text := problems.Error()
			for _, want := range c.want {
				if !strings.Contains(text, want) {
					t.Errorf("no problem says %q in\n%s", want, text)
				}
			}
			for _, p := range problems {
				if p.File == "" {
					t.Errorf("no file: %s", p)
				}
			}
		})
	}
}

func TestAllMistakesAreReportedAtOnce(t *testing.T) {
	f := one("package org.p\n\ndeny contains \"x\" if input.endpoint.provder == \"a\"\n\ndeny contains \"y\" if time.now_ns() > 0\n")
	f["rego/q.rego"] = "package org.q\n\ndeny contains \"x\" if input.endpont.free\n"
	f["chaperone.toml"] += "[[policy.bindings]]\npackage = \"library.none\"\nfor = \"nobody\"\n"
	_, problems := f.load(t)
	for _, want := range []string{"provder", "time.now_ns", "endpont", `found "nobody"`} {
		if !strings.Contains(problems.Error(), want) {
			t.Errorf("nothing says %q in\n%v", want, problems)
		}
	}
}

// What is known to be there may be looked up, and whatever is walked through.
func TestWhatCannotBeAbsentMayBeRead(t *testing.T) {
	for name, rules := range map[string]string{
		"a key of a table":            "limits := {\"gold\": 9}\n\ndeny contains \"x\" if input.request.n > limits.gold",
		"an element of a list":        "limits := [1, 9]\n\ndeny contains \"x\" if input.request.n > limits[1]",
		"a table of tables":           "limits := {\"gold\": {\"n\": 9}}\n\ndeny contains \"x\" if input.request.n > limits.gold.n",
		"a table with all classes":    "limits := {\"public\": 9, \"internal\": 9, \"confidential\": 9, \"restricted\": 9}\n\ndeny contains \"x\" if input.request.n > limits[input.request.data_class]",
		"entries with the same keys":  "entries := [{\"n\": 9}, {\"n\": 10}]\n\ndeny contains \"x\" if {\n\tsome e in entries\n\tinput.request.n > e.n\n}",
		"a local table":               "deny contains \"x\" if {\n\tlimits := {\"gold\": 9}\n\tinput.request.n > limits.gold\n}",
		"a table that is walked":      "limits := {\"gold\": 9}\n\ndeny contains \"x\" if {\n\tsome tier\n\tinput.request.n > limits[tier]\n}",
		"a set":                       "blocked := {\"beta\"}\n\ndeny contains \"x\" if blocked[input.endpoint.provider]",
		"a rule of parts":             "blocked contains p if some p in [\"beta\"]\n\ndeny contains \"x\" if blocked[input.endpoint.provider]",
		"a set from a list":           "deny contains \"x\" if {\n\tlower := {m | some m in input.request.models}\n\tlower[\"beta\"]\n}",
		"a value with a default":      "default limit := 9\n\nlimit := 10 if input.request.stream\n\ndeny contains \"x\" if input.request.n > limit",
		"a value with an else":        "limit := 10 if {\n\tinput.request.stream\n} else := 9\n\ndeny contains \"x\" if input.request.n > limit",
		"a function with a default":   "default limit(_) := 9\n\nlimit(n) := 10 if n > 5\n\ndeny contains \"x\" if input.request.n > limit(input.request.n)",
		"a function without a case":   "twice(n) := 2 * n\n\ndeny contains \"x\" if twice(input.request.n) > 9",
		"a condition":                 "big if input.request.n > 5\n\ndeny contains \"x\" if big",
		"a condition of an argument":  "big(n) if n > 5\n\ndeny contains \"x\" if big(input.request.n)",
		"a part of a text by a slice": "deny contains \"x\" if array.slice(split(input.request.model, \"/\"), 1, 2) == [\"small\"]",
		"any element":                 "deny contains \"x\" if input.request.models[_] == \"acme/small\"",
		"another element":             "deny contains \"x\" if {\n\tsome m in input.request.models\n\tm != \"acme/large\"\n}",
		"the last hour of a day":      "deny contains \"x\" if {\n\tinput.time.hour < 24\n\tinput.time.hour == 23\n}",
		"a format of all kinds":       "deny contains sprintf(\"%d of %s%%, %v, %.2f, %[2]s\", [input.request.n, input.request.model, input.endpoint.free, input.endpoint.price.prompt]) if input.request.n > 5\n\ndeny contains sprintf(\"%5d %q %v\", [input.request.n, input.request.model, input.request.models]) if input.request.n > 5",
		"a text of names":             "deny contains \"x\" if contains(\"beta, gamma\", input.endpoint.provider)",
		"a template":                  "deny contains $\"no {input.request.model}\" if input.request.n > 5\n\ndeny contains \"{}\" if input.request.n > 5",
		"what a walk finds":           "deny contains \"x\" if {\n\twalk({\"a\": input.request.n}, [_, value])\n\tvalue == 9\n}",
	} {
		t.Run(name, func(t *testing.T) {
			set := module(rules).mustLoad(t)
			if got := permitted(set.Judge(context.Background(), query())); got != "alpha trainer silent american" {
				t.Errorf("permitted %q", got)
			}
		})
	}
	withParams := one("# METADATA\n# schemas:\n#   - data.params: {type: object, required: [a, tiers], properties: {a: {type: object, required: [b], properties: {b: {type: number}}}, tiers: {type: array, items: {type: object, required: [name], properties: {name: {type: string}}}}}}\npackage org.p\n\n" +
		"deny contains \"x\" if input.request.n > data.params.a.b\n\ndeny contains \"y\" if {\n\tsome tier in data.params.tiers\n\ttier.name == input.request.model\n}\n")
	withParams["chaperone.toml"] += "params = { a = { b = 9 }, tiers = [{ name = \"a\" }] }\n"
	withParams.mustLoad(t)
}
