package policy

import (
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// allowedBuiltins is the reviewed list for OPA 1.22.2: what is here depends on its arguments alone, and the time and
// memory that it takes are bounded by their size, or by what meter.go has to say about it. A list of what is allowed, not of what
// is not: OPA adds builtins with every release and does not mark all that read clocks or the network.
var allowedBuiltins = builtinSet(`
	eq assign internal.member_2 internal.member_3 gt gte lt lte neq equal
	plus minus mul div ceil floor round abs rem
	bits.or bits.and bits.negate bits.xor bits.rsh
	and or count sum product max min
	array.concat array.flatten array.slice array.reverse
	to_number
	regex.is_valid regex.match regex.split regex.find_n
	regex.find_all_string_submatch_n regex.replace
	intersection union
	strings.any_prefix_match strings.any_suffix_match concat format_int indexof indexof_n substring lower upper contains
	strings.count startswith endswith split strings.split_n replace strings.replace_n trim trim_left trim_prefix trim_right
	trim_suffix trim_space sprintf strings.reverse internal.template_string
	numbers.range numbers.range_step
	json.marshal json.unmarshal json.is_valid
	base64.encode base64.decode base64.is_valid base64url.encode base64url.encode_no_pad base64url.decode
	urlquery.decode urlquery.encode urlquery.encode_object urlquery.decode_object uri.parse uri.is_valid
	hex.encode hex.decode
	object.union object.union_n object.remove object.filter object.get object.keys object.subset
	json.filter json.remove
	time.parse_rfc3339_ns time.parse_duration_ns
	crypto.sha256 crypto.hmac.sha256 crypto.hmac.sha512 crypto.hmac.equal
	walk sort
	is_number is_string is_boolean is_array is_set is_object is_null type_name
	rego.metadata.chain rego.metadata.rule
	net.cidr_overlap net.cidr_intersects net.cidr_contains net.cidr_contains_matches net.cidr_merge net.cidr_is_valid
	glob.match glob.quote_meta
	units.parse units.parse_bytes uuid.parse semver.is_valid semver.compare
`)

func builtinSet(names string) map[string]bool {
	set := map[string]bool{}
	for _, name := range strings.Fields(names) {
		set[name] = true
	}
	return set
}

// insteadOf says what to write in place of a builtin that is not allowed; keys ending in a dot are prefixes.
var insteadOf = []struct{ name, advice string }{
	{"time.now_ns", "it reads the clock; use input.time (date, hour, minute, weekday), all in UTC"},
	{"time.", "it can depend on the time zone of the machine; use input.time and input.endpoint.data_policy.evidence_days"},
	{"http.send", "it uses the network; put what the policy needs to know into labels or attributes of the catalog, or into params of the binding"},
	{"net.lookup_ip_addr", "it uses the network; compare input.request.egress_hosts as names"},
	{"net.cidr_expand", "its result has no bound; use net.cidr_contains"},
	{"rand.", "it is random; a verdict must be the same each time it is asked for"},
	{"uuid.rfc4122", "it is random; a verdict must be the same each time it is asked for"},
	{"opa.runtime", "it reads the environment of the process; put what the policy needs to know into params of the binding"},
	{"trace", "it has an effect and no value; `chaperone explain` shows which rule decided"},
	{"print", "it has an effect and no value; `chaperone explain` shows which rule decided"},
	{"io.jwt.", "callers are authenticated before policy runs; use input.principal"},
	{"crypto.x509.", "it verifies against the clock or the machine's certificates; callers are authenticated before policy runs"},
	{"bits.lsh", "its result has no bound; multiply"},
	{"strings.render_template", "its result has no bound; write $\"… {value} …\" or sprintf"},
	{"graph.", "the paths through a graph have no bound; write the relation out as a rule"},
	{"regex.globs_match", "its time has no bound; use glob.match"},
	{"re_match", "it is regex.match by now"},
	{"regex.template_match", "write a regular expression, and use regex.match"},
	{"json.marshal_with_options", "its result has no bound; use json.marshal"},
	{"json.patch", "its result has no bound; use object.union and object.remove"},
	{"yaml.", "a policy has no YAML to read; use json.unmarshal"},
	{"json.verify_schema", "it may load schemas over the network; the input is already typed"},
	{"json.match_schema", "it may load schemas over the network; the input is already typed"},
	{"providers.aws.", "it signs requests and reads the clock; a policy sends none"},
	{"graphql.", "a policy has no GraphQL to read"},
	{"crypto.md5", "it is broken; use crypto.sha256"},
	{"crypto.sha1", "it is broken; use crypto.sha256"},
	{"crypto.hmac.md5", "it is broken; use crypto.hmac.sha256"},
	{"crypto.hmac.sha1", "it is broken; use crypto.hmac.sha256"},
}

func adviceFor(builtin string) string {
	for _, e := range insteadOf {
		if builtin == e.name || strings.HasSuffix(e.name, ".") && strings.HasPrefix(builtin, e.name) {
			return e.advice
		}
	}
	return "it is not on the list of builtins reviewed for policies"
}

// capabilities are OPA's own without what is not allowed, and without a host that a schema could be loaded from.
var capabilities = func() *ast.Capabilities {
	c := ast.CapabilitiesForThisVersion()
	c.Builtins = slices.DeleteFunc(c.Builtins, func(b *ast.Builtin) bool { return !allowedBuiltins[b.Name] })
	c.AllowNet = []string{}
	return c
}()
