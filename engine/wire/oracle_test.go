package wire_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"chaperone/engine/wire"
)

// The oracle reads a request a second way: encoding/json splits it into tokens, a tree is built from them, and the rules
// are applied to the tree. It shares no code with the skim.

var errRefused = errors.New("refused")

// pairs is an object in the order of the body.
type pairs []pair

type pair struct {
	key   string
	value any // pairs, []any, string, json.Number, bool, nil
}

func (o pairs) get(key string) any {
	for _, p := range o {
		if p.key == key {
			return p.value
		}
	}
	return nil
}

// loneMark stands in the decoded text where the body had half of a surrogate pair. encoding/json writes U+FFFD there, which
// a body may also hold itself.
const loneMark = "\ue0ff"

var surrogates = regexp.MustCompile(`(?i)\\+u[0-9a-f]{4}(\\u[0-9a-f]{4})*`)

// markLone replaces escaped halves of surrogate pairs.
func markLone(body []byte) []byte {
	return surrogates.ReplaceAllFunc(body, func(run []byte) []byte {
		slashes := bytes.IndexAny(run, "uU")
		if slashes%2 == 0 {
			// The first one is an escaped backslash before a u; the rest are escapes.
			if len(run) == slashes+5 {
				return run
			}
			return append(slices.Clone(run[:slashes+5]), markLone(run[slashes+5:])...)
		}
		out := slices.Clone(run[:slashes-1])
		units := run[slashes-1:]
		for i := 0; i < len(units); i += 6 {
			unit, _ := strconv.ParseUint(string(units[i+2:i+6]), 16, 32)
			switch {
			case units[i+1] == 'U': // no escape
				out = append(out, units[i:i+6]...)
			case unit >= 0xd800 && unit < 0xdc00 && i+12 <= len(units):
				if low, _ := strconv.ParseUint(string(units[i+8:i+12]), 16, 32); low >= 0xdc00 && low < 0xe000 && units[i+7] == 'u' {
					out = append(out, units[i:i+12]...)
					i += 6
				} else {
					out = append(out, loneMark...)
				}
			case unit >= 0xd800 && unit < 0xe000:
				out = append(out, loneMark...)
			default:
				out = append(out, units[i:i+6]...)
			}
		}
		return out
	})
}

// parse builds the tree; an error means that the body is refused for its form alone.
func parse(body []byte) (any, error) {
	if !utf8.Valid(body) || !json.Valid(body) {
		return nil, errRefused
	}
	d := json.NewDecoder(bytes.NewReader(markLone(body)))
	d.UseNumber()
	v, err := parseValue(d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errRefused
	}
	return v, nil
}

func parseValue(d *json.Decoder, depth int) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case json.Number:
		_, err := strconv.ParseFloat(t.String(), 64)
		return t, err
	case json.Delim:
		if depth == 512 {
			return nil, errRefused
		}
		if t == '[' {
			list := []any{}
			for d.More() {
				v, err := parseValue(d, depth+1)
				if err != nil {
					return nil, err
				}
				list = append(list, v)
			}
			_, err := d.Token()
			return list, err
		}
		object, seen := pairs{}, map[string]bool{}
		for d.More() {
			k, err := d.Token()
			if err != nil {
				return nil, err
			}
			key := k.(string)
			if seen[key] || strings.Contains(key, loneMark) {
				return nil, errRefused
			}
			seen[key] = true
			v, err := parseValue(d, depth+1)
			if err != nil {
				return nil, err
			}
			object = append(object, pair{key, v})
		}
		_, err := d.Token()
		return object, err
	}
	return t, nil
}

// reading applies the rules to a tree; it panics with errRefused where one is broken.
type reading struct{ r wire.Request }

func refuse(unless bool) {
	if !unless {
		panic(errRefused)
	}
}

// oracle returns what a skim of body should find, or false where it should refuse.
func oracle(body []byte) (r wire.Request, accepted bool) {
	defer func() {
		switch p := recover(); p {
		case nil:
		case errRefused:
			accepted = false
		default:
			panic(p)
		}
	}()
	tree, err := parse(body)
	refuse(err == nil)
	top, ok := tree.(pairs)
	refuse(ok)
	var rd reading
	rd.chat(top)
	return rd.r, true
}

// fold is what unicode.SimpleFold, upper and lower case together make of a key.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			if f < 0x80 {
				r = f
				break
			}
		}
		if u := unicode.ToUpper(r); u < 0x80 {
			r = u
		}
		return unicode.ToLower(r)
	}, s)
}

// exact refuses keys that only fold to one of the names.
func exact(o pairs, names string) {
	known := strings.Fields(names)
	for _, p := range o {
		refuse(slices.Contains(known, p.key) || !slices.Contains(known, fold(p.key)))
	}
}

const chatNames = `messages model models preset route provider stream stream_options n max_tokens max_completion_tokens
max_output_tokens tools functions tool_choice function_call web_search_options search_parameters enable_search mcp_servers data_sources connectors plugins modalities
response_format reasoning reasoning_effort store background previous_response_id conversation user metadata tags
session_id temperature top_p top_k min_p top_a frequency_penalty presence_penalty repetition_penalty logit_bias logprobs
top_logprobs prediction seed structured_outputs stop parallel_tool_calls include_reasoning verbosity audio cache_control
debug image_config prompt_cache_key prompt_cache_options safety_identifier service_tier trace transforms usage`

const parameterNames = `temperature top_p top_k min_p top_a frequency_penalty presence_penalty repetition_penalty logit_bias
logprobs top_logprobs prediction seed structured_outputs stop parallel_tool_calls include_reasoning verbosity tools
tool_choice web_search_options response_format reasoning reasoning_effort max_tokens`

func (rd *reading) chat(o pairs) {
	exact(o, chatNames)
	r := &rd.r
	r.Model = optional(o, "model", name)
	r.Models = optional(o, "models", nameList)
	r.Preset = optional(o, "preset", name)
	if r.Model == "" && r.Preset == "" && len(r.Models) > 0 {
		r.Model, r.Models = r.Models[0], r.Models[1:]
	}
	r.Stream = optional(o, "stream", boolean)
	if so := optional(o, "stream_options", objectOf); so != nil {
		exact(so, "include_usage")
		r.IncludeUsage = optional(so, "include_usage", boolean)
	}
	r.N = 1
	if o.get("n") != nil {
		r.N = whole(o.get("n"), 1)
	}
	for _, k := range []string{"max_tokens", "max_completion_tokens", "max_output_tokens"} {
		if v := o.get(k); v != nil {
			n := whole(v, 1)
			refuse(r.MaxOutputTokens == 0 || r.MaxOutputTokens == n)
			r.MaxOutputTokens = n
			r.Parameters = add(r.Parameters, "max_tokens")
		}
	}
	for _, p := range o {
		k := map[string]string{"functions": "tools", "function_call": "tool_choice"}[p.key]
		if k == "" {
			k = p.key
		}
		if p.value != nil && slices.Contains(strings.Fields(parameterNames), k) {
			r.Parameters = add(r.Parameters, k)
		}
	}

	for _, t := range optional(o, "tools", arrayOf) {
		tool := objectOf(t)
		exact(tool, "type function custom server_url")
		kind := name(tool.get("type"))
		r.ToolKinds = add(r.ToolKinds, kind)
		if kind == "custom" {
			r.Parameters = add(r.Parameters, "custom_tools")
		}
		r.ToolCount++
		for _, p := range tool {
			if p.key != "function" && p.key != "custom" && p.key != "type" {
				rd.watch(p.key, p.value)
			}
		}
	}
	for _, f := range optional(o, "functions", arrayOf) {
		objectOf(f)
		r.ToolKinds = add(r.ToolKinds, "function")
		r.ToolCount++
	}
	for _, k := range []string{"web_search_options", "search_parameters"} {
		if v := optional(o, k, objectOf); v != nil {
			r.ToolKinds = add(r.ToolKinds, "web_search")
			rd.watch("", v)
		}
	}
	if optional(o, "enable_search", boolean) {
		r.ToolKinds = add(r.ToolKinds, "web_search")
	}
	for field, kind := range map[string]string{"mcp_servers": "mcp", "data_sources": "data_sources", "connectors": "connectors"} {
		if v := optional(o, field, arrayOf); v != nil {
			r.ToolKinds = add(r.ToolKinds, kind)
			rd.watch("", v)
		}
	}
	for _, p := range optional(o, "plugins", arrayOf) {
		plugin := objectOf(p)
		exact(plugin, "id enabled")
		id := name(plugin.get("id"))
		if plugin.get("enabled") == nil || boolean(plugin.get("enabled")) {
			r.ToolKinds = add(r.ToolKinds, id)
			r.Plugins = add(r.Plugins, id)
		}
	}

	messages := arrayOf(o.get("messages"))
	refuse(len(messages) > 0)
	for _, m := range messages {
		rd.message(objectOf(m))
	}
	if r.InputModalities == nil {
		r.InputModalities = []string{"text"}
	}
	for _, m := range optional(o, "modalities", nameList) {
		r.OutputModalities = add(r.OutputModalities, m)
	}
	if r.OutputModalities == nil {
		r.OutputModalities = []string{"text"}
	}
	r.ResponseFormat = "text"
	if f := optional(o, "response_format", objectOf); f != nil {
		exact(f, "type json_schema")
		if r.ResponseFormat = name(f.get("type")); r.ResponseFormat == "json_schema" {
			r.Parameters = add(r.Parameters, "structured_outputs")
		}
	}
	rd.reasoning(o)

	r.Store = optional(o, "store", boolean)
	r.Background = optional(o, "background", boolean)
	for _, k := range []string{"previous_response_id", "conversation"} {
		switch v := o.get(k).(type) {
		case nil:
		case string:
			plainText(v)
			r.PreviousResponse = true
		default:
			objectOf(v)
			r.PreviousResponse = true
		}
	}
	r.SessionID = optional(o, "session_id", name)
	refuse(len(r.SessionID) <= 256)
	r.PromptCacheKey = optional(o, "prompt_cache_key", plainText)
	if r.ServiceTier = optional(o, "service_tier", name); r.ServiceTier == "fast" {
		r.ServiceTier = "priority"
	}
	rd.cacheControl(o.get("cache_control"))
	for _, p := range optional(o, "trace", objectOf) {
		if text, ok := p.value.(string); ok && len(p.key) <= 64 && len(r.Claims.Trace) < 32 {
			plainText(p.value)
			if r.Claims.Trace == nil {
				r.Claims.Trace = map[string]string{}
			}
			r.Claims.Trace[p.key] = text[:min(len(text), 512)]
		}
	}
	r.Claims.User = optional(o, "user", plainText)
	r.Claims.Metadata = map[string]string{}
	for _, p := range o { // tags in the order of the body
		switch {
		case p.key == "tags" && p.value != nil:
			rd.tags(nameList(p.value))
		case p.key == "metadata" && p.value != nil:
			m := objectOf(p.value)
			exact(m, "tags data_class")
			for _, p := range m {
				refuse(len(p.key) <= 64)
				if list, ok := p.value.([]any); ok && p.key == "tags" {
					rd.tags(nameList(list))
				} else if p.value != nil {
					refuse(len(plainText(p.value)) <= 512 && len(r.Claims.Metadata) < 16)
					r.Claims.Metadata[p.key] = plainText(p.value)
				}
			}
			r.Claims.DataClass = r.Claims.Metadata["data_class"]
		}
	}
	rd.preferences(optional(o, "provider", objectOf), optional(o, "route", plainText))
}

func (rd *reading) cacheControl(v any) {
	if v == nil {
		return
	}
	c := objectOf(v)
	exact(c, "ttl")
	if text, ok := c.get("ttl").(string); ok {
		if d, err := time.ParseDuration(text); err == nil {
			rd.r.CacheTTL = max(rd.r.CacheTTL, d)
		}
	}
}

func (rd *reading) tags(list []string) {
	for _, t := range list {
		if !slices.Contains(rd.r.Claims.Tags, t) {
			rd.r.Claims.Tags = append(rd.r.Claims.Tags, t)
		}
	}
}

func (rd *reading) reasoning(o pairs) {
	r := &rd.r
	r.ReasoningEffort = optional(o, "reasoning_effort", name)
	re := optional(o, "reasoning", objectOf)
	if re == nil {
		return
	}
	exact(re, "effort max_tokens enabled")
	if e := optional(re, "effort", name); e != "" {
		refuse(r.ReasoningEffort == "" || r.ReasoningEffort == e)
		r.ReasoningEffort = e
	}
	if re.get("max_tokens") != nil {
		r.ReasoningTokens = whole(re.get("max_tokens"), 0)
	}
	if re.get("enabled") == nil {
		return
	}
	if boolean(re.get("enabled")) {
		refuse(r.ReasoningEffort != "none")
		if r.ReasoningEffort == "" && r.ReasoningTokens == 0 {
			r.ReasoningEffort = "medium"
		}
	} else {
		refuse((r.ReasoningEffort == "" || r.ReasoningEffort == "none") && r.ReasoningTokens == 0)
		r.ReasoningEffort = "none"
	}
}

func (rd *reading) message(m pairs) {
	exact(m, `role content name refusal reasoning reasoning_content tool_calls function_call tool_call_id images audio
		annotations reasoning_details`)
	name(m.get("role"))
	switch c := m.get("content").(type) {
	case nil:
	case string:
		rd.modality("text")
	default:
		rd.parts(c)
	}
	if m.get("images") != nil {
		rd.parts(m.get("images"))
	}
	if m.get("audio") != nil {
		rd.r.FileReferences = true
		rd.modality("audio")
	}
	calls, _ := m.get("tool_calls").([]any)
	for _, c := range calls {
		if call, ok := c.(pairs); ok {
			exact(call, "type")
			if call.get("type") == "custom" {
				rd.r.Parameters = add(rd.r.Parameters, "custom_tools")
			}
		}
	}
	for _, p := range m {
		switch p.key {
		case "role", "content", "images", "audio", "refusal", "reasoning", "reasoning_content", "tool_calls",
			"function_call", "annotations", "reasoning_details":
		default:
			rd.watch(p.key, p.value)
		}
	}
}

var modalityOf = map[string]string{
	"text": "text", "input_text": "text", "output_text": "text", "refusal": "text", "thinking": "text", "reasoning": "text",
	"image_url": "image", "input_image": "image", "image": "image", "input_audio": "audio", "audio_url": "audio",
	"audio": "audio", "file": "file", "input_file": "file", "file_url": "file", "document": "file", "document_url": "file",
	"video_url": "video", "input_video": "video", "video": "video",
}

func (rd *reading) parts(v any) {
	for _, p := range arrayOf(v) {
		part := objectOf(p)
		exact(part, `type url uri file_id file_data data text input_text output_text refusal thinking reasoning image_url
			input_image image input_audio audio_url audio file input_file file_url document document_url video_url
			input_video video`)
		kind := name(part.get("type"))
		if m := modalityOf[kind]; m != "" {
			kind = m
		}
		rd.modality(kind)
		image := kind == "image"
		for _, p := range part {
			if p.key == "type" || p.value == nil {
				continue
			}
			if m := modalityOf[p.key]; m != "" {
				rd.modality(m)
				image = image || m == "image"
			}
			if p.key == "cache_control" {
				rd.cacheControl(p.value)
				continue
			}
			if p.key == "text" {
				_, ok := p.value.(string)
				refuse(ok)
			}
			rd.watch(p.key, p.value)
		}
		if image {
			rd.r.Images++
		}
	}
}

func (rd *reading) modality(m string) { rd.r.InputModalities = add(rd.r.InputModalities, m) }

var urlKey = regexp.MustCompile(`^(.*_)?ur[li]s?$`)

func (rd *reading) watch(key string, v any) {
	key = fold(key)
	switch v := v.(type) {
	case pairs:
		for _, p := range v {
			rd.watch(p.key, p.value)
		}
	case []any:
		for _, e := range v {
			rd.watch(key, e)
		}
	case string:
		data := key == "data" || key == "file_data"
		switch {
		case key == "file_id" || key == "file_ids" || key == "vector_store_ids":
			plainText(v)
			rd.r.FileReferences = true
		case urlKey.MatchString(key), data:
			plainText(v)
			if data && !strings.Contains(v[:min(len(v), 16)], ":") {
				return
			}
			if host := hostOf(v); host != "" {
				rd.r.EgressHosts = add(rd.r.EgressHosts, host)
			}
		}
	}
}

var authority = regexp.MustCompile(`^(?i:https?)://(([A-Za-z0-9._-]+)|(\[[0-9A-Fa-f:.]+\]))(:[0-9]{0,5})?([/?#]|$)`)

// hostOf agrees with net/url, wherever that reads the URL at all.
func hostOf(s string) string {
	if len(s) >= 5 && strings.EqualFold(s[:5], "data:") {
		return ""
	}
	m := authority.FindStringSubmatch(s)
	refuse(m != nil)
	host := strings.ToLower(strings.TrimSuffix(m[1], "."))
	refuse(host != "" && len(host) <= 253)
	if host[0] == '[' {
		addr, err := netip.ParseAddr(host[1 : len(host)-1])
		refuse(err == nil && addr.Is6())
		return "[" + addr.String() + "]"
	}
	refuse(!strings.Contains("."+host+".", ".."))
	if numeric.MatchString(host) {
		addr, err := netip.ParseAddr(host)
		refuse(err == nil && addr.Is4())
	}
	if u, err := url.Parse(s); err == nil {
		if read := strings.TrimSuffix(strings.ToLower(u.Hostname()), "."); read != host {
			panic("net/url reads the host " + read + " where this reads " + host)
		}
	}
	return host
}

// numeric is a host that ends in a number: browsers read it as an IPv4 address in one of several spellings.
var numeric = regexp.MustCompile(`(^|\.)([0-9]+|0x[0-9a-f]*)$`)

func (rd *reading) preferences(o pairs, route string) {
	p := &rd.r.Preferences
	*p = wire.Preferences{AllowFallbacks: true, DataCollection: "allow", Partition: "model"}
	partition := ""
	for _, f := range o {
		read := map[string]func(any){
			"order":                    func(v any) { p.Order = nameList(v) },
			"only":                     func(v any) { p.Only = nameList(v) },
			"ignore":                   func(v any) { p.Ignore = nameList(v) },
			"allow_fallbacks":          func(v any) { p.AllowFallbacks = boolean(v) },
			"require_parameters":       func(v any) { p.RequireParameters = boolean(v) },
			"data_collection":          func(v any) { p.DataCollection = oneOf(v, "allow deny") },
			"zdr":                      func(v any) { p.ZDR = boolean(v) },
			"enforce_distillable_text": func(v any) { p.DistillableText = boolean(v) },
			"quantizations": func(v any) {
				p.Quantizations = []string{}
				for _, q := range arrayOf(v) {
					p.Quantizations = append(p.Quantizations, oneOf(q, "int4 int8 fp4 mxfp4 nvfp4 fp6 fp8 mxfp8 fp16 bf16 fp32 unknown"))
				}
			},
			"sort": func(v any) {
				by := v
				if s, ok := v.(pairs); ok {
					known(s, "by partition")
					by = s.get("by")
					if s.get("partition") != nil {
						partition = oneOf(s.get("partition"), "model none")
						p.Partition = partition
					}
				}
				if by != nil {
					p.Sort = oneOf(by, "price throughput latency exacto")
				}
			},
			"preferred_min_throughput": func(v any) { p.MinThroughput = cutoffs(v) },
			"preferred_max_latency":    func(v any) { p.MaxLatency = cutoffs(v) },
			"max_price": func(v any) {
				o := objectOf(v)
				known(o, "prompt completion request image audio")
				p.MaxPrice = &wire.PriceCeiling{
					Prompt: price(o.get("prompt")), Completion: price(o.get("completion")), Request: price(o.get("request")),
					Image: price(o.get("image")), Audio: price(o.get("audio")),
				}
			},
		}[f.key]
		refuse(read != nil)
		if f.value != nil {
			read(f.value)
		}
	}
	if route == "" {
		return
	}
	meant := map[string]string{"fallback": "model", "sort": "none"}[route]
	refuse(meant != "" && (partition == "" || partition == meant))
	p.Partition = meant
}

func known(o pairs, names string) {
	for _, p := range o {
		refuse(slices.Contains(strings.Fields(names), p.key))
	}
}

func cutoffs(v any) *wire.Cutoffs {
	positive := func(v any) float64 {
		if v == nil {
			return 0
		}
		n, ok := v.(json.Number)
		refuse(ok)
		f, _ := n.Float64()
		refuse(f > 0)
		return f
	}
	if o, ok := v.(pairs); ok {
		known(o, "p50 p75 p90 p99")
		return &wire.Cutoffs{P50: positive(o.get("p50")), P75: positive(o.get("p75")), P90: positive(o.get("p90")), P99: positive(o.get("p99"))}
	}
	return &wire.Cutoffs{P50: positive(v)}
}

var jsonNumber = regexp.MustCompile(`^(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)

func price(v any) float64 {
	var s string
	switch v := v.(type) {
	case nil:
		return -1
	case string:
		s = v
	case json.Number:
		s = v.String()
	default:
		refuse(false)
	}
	refuse(jsonNumber.MatchString(s))
	f, err := strconv.ParseFloat(s, 64)
	refuse(err == nil)
	return f
}

func optional[T any](o pairs, key string, read func(any) T) (zero T) {
	if v := o.get(key); v != nil {
		return read(v)
	}
	return zero
}

func plainText(v any) string {
	s, ok := v.(string)
	refuse(ok && !strings.Contains(s, loneMark))
	return s
}

func name(v any) string {
	s := plainText(v)
	refuse(s != "")
	return s
}

func oneOf(v any, words string) string {
	s := plainText(v)
	refuse(slices.Contains(strings.Fields(words), s))
	return s
}

func nameList(v any) []string {
	list := []string{}
	for _, e := range arrayOf(v) {
		list = append(list, name(e))
	}
	return list
}

func boolean(v any) bool {
	b, ok := v.(bool)
	refuse(ok)
	return b
}

func arrayOf(v any) []any {
	a, ok := v.([]any)
	refuse(ok)
	return a
}

func objectOf(v any) pairs {
	o, ok := v.(pairs)
	refuse(ok)
	return o
}

func whole(v any, least int64) int64 {
	n, ok := v.(json.Number)
	refuse(ok && !strings.ContainsAny(n.String(), "-.eE"))
	i, err := strconv.ParseInt(n.String(), 10, 64)
	refuse(err == nil && i >= least && i <= 1<<53)
	return i
}

func add(list []string, word string) []string {
	if !slices.Contains(list, word) {
		list = append(list, word)
		slices.Sort(list)
	}
	return list
}
