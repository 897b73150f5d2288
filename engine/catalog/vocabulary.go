package catalog

import (
	"fmt"
	"slices"
	"strings"

	"chaperone/engine/config"
)

// Dialects are the ways of speaking to a provider that exist.
var Dialects = []string{"anthropic", "openai"}

// Quantizations are OpenRouter's names for the precision that a model is served in.
var Quantizations = []string{"int4", "int8", "fp4", "mxfp4", "nvfp4", "fp6", "fp8", "mxfp8", "fp16", "bf16", "fp32", "unknown"}

// Parameters are OpenRouter's names of the request parameters that an endpoint may support, and "custom_tools", for which it has
// none: OpenAI's tools that take text in place of JSON.
var Parameters = []string{
	"temperature", "top_p", "top_k", "min_p", "top_a", "frequency_penalty", "presence_penalty", "repetition_penalty",
	"max_tokens", "max_completion_tokens", "logit_bias", "logprobs", "top_logprobs", "prediction", "seed", "response_format",
	"structured_outputs", "stop", "tools", "tool_choice", "parallel_tool_calls", "include_reasoning", "reasoning",
	"reasoning_effort", "web_search_options", "verbosity", "custom_tools",
}

// DefaultParameters are what an endpoint is taken to support that does not say: what every chat completion server has.
// Tools, response formats and everything that some lack must be stated.
var DefaultParameters = []string{"frequency_penalty", "max_completion_tokens", "max_tokens", "presence_penalty", "stop", "temperature", "top_p"}

// The ways in which an endpoint is asked to continue a given beginning of its answer, which is the last message, of the
// assistant.
const (
	Prefill              = "prefill"                // that is all: Anthropic and most that OpenRouter lists
	Prefix               = "prefix"                 // with "prefix": true in it: DeepSeek, Mistral
	ContinueFinalMessage = "continue_final_message" // with "continue_final_message": true beside the messages: vLLM, SGLang
)

// ServiceTiers are OpenRouter's words for how else than as usual a provider may serve a model, at another price.
var ServiceTiers = []string{"priority", "flex", "scale", "ultrafast"}

// IsServiceTier says whether a word is one of ServiceTiers.
func IsServiceTier(word string) bool { return slices.Contains(ServiceTiers, word) }

// Modalities are the kinds of input and output; embeddings and rankings are only outputs.
var Modalities = []string{"text", "image", "audio", "file", "video", "embeddings", "rerank"}

// Regions are the places where prompts may be processed: "eu" for every member state, else ISO 3166-1 in lower case, of
// the countries where models are commonly served and those that policies commonly single out. A deployment whose place
// is not known counts as being in all of them.
var Regions = []string{
	"ae", "ar", "au", "bh", "br", "by", "ca", "ch", "cl", "cn", "co", "eg", "eu", "gb", "hk", "id", "il", "in", "ir", "is",
	"jp", "ke", "kp", "kr", "kw", "kz", "mx", "my", "ng", "no", "nz", "pe", "ph", "pk", "qa", "rs", "ru", "sa", "sg", "th",
	"tr", "tw", "ua", "us", "vn", "za",
}

// memberStates of the European Union; their region is "eu".
const memberStates = "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK"

// InEU says whether a country, ISO 3166-1 alpha-2 in any case, is a member state of the European Union.
func InEU(country string) bool { return isOneOf(strings.ToUpper(country), memberStates) }

// countries is ISO 3166-1 alpha-2.
const countries = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA CC CD " +
	"CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI " +
	"GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA " +
	"LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR " +
	"NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY " +
	"SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW"

// Jurisdictions are what an endpoint's jurisdiction can be: a country, the European Union, or not known. Its headquarters can be
// the same but for the union.
var Jurisdictions = append(strings.Fields(countries), "EU", "unknown")

// checkCountry wants ISO 3166-1 alpha-2, "unknown", or one of others; "" is not stated and passes.
func checkCountry(code string, others ...string) error {
	if code == "" || code == "unknown" || slices.Contains(others, code) || isOneOf(code, countries) {
		return nil
	}
	upper := strings.ToUpper(code)
	switch {
	case upper == "UK":
		return fmt.Errorf(`found %q; did you mean "GB"?`, code)
	case strings.EqualFold(code, "unknown"):
		return fmt.Errorf(`found %q; did you mean "unknown"?`, code)
	case slices.Contains(others, upper) || isOneOf(upper, countries):
		return fmt.Errorf("found %q; did you mean %q?", code, upper)
	}
	expected := append([]string{`a country as ISO 3166-1 alpha-2 has it ("US")`}, others...)
	return fmt.Errorf(`found %q; expected %s or "unknown"`, code, strings.Join(expected, ", "))
}

func isOneOf(code, list string) bool {
	return len(code) == 2 && slices.Contains(strings.Fields(list), code)
}

// readRegions expands "global", and nothing at all, to all Regions, and reports which element is not a region.
func readRegions(names []string, report func(i int, message string)) []string {
	if len(names) == 0 {
		return slices.Clone(Regions)
	}
	var regions []string
	for i, name := range names {
		switch upper := strings.ToUpper(name); {
		case name == "global":
			regions = append(regions, Regions...)
		case slices.Contains(Regions, name):
			regions = append(regions, name)
		case isOneOf(upper, memberStates):
			report(i, fmt.Sprintf(`found %q; its region is "eu"`, name))
		case upper == "UK":
			report(i, fmt.Sprintf(`found %q; did you mean "gb"?`, name))
		case slices.Contains(Regions, strings.ToLower(name)):
			report(i, fmt.Sprintf("found %q; did you mean %q?", name, strings.ToLower(name)))
		default:
			report(i, fmt.Sprintf("found %q; expected global or %s", name, strings.Join(Regions, ", ")))
		}
	}
	return sorted(regions)
}

// sorted is a sorted copy without duplicates, never nil.
func sorted(list []string) []string {
	s := append([]string{}, list...)
	slices.Sort(s)
	return slices.Compact(s)
}

// checkEach reports every element of a list that is not in a vocabulary.
func checkEach(o config.Origin, key string, list, vocabulary []string) config.Problems {
	var ps config.Problems
	for i, name := range list {
		if !slices.Contains(vocabulary, name) {
			ps = append(ps, o.Problem(fmt.Sprintf("%s[%d]", key, i), "%s", config.NotOneOf(name, vocabulary)))
		}
	}
	return ps
}
