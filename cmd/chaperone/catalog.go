package main

import (
	"os"

	"github.com/spf13/cobra"

	"chaperone/engine"
	"chaperone/engine/catalog"
)

// shippedName is how commands call the catalog that ships.
const shippedName = "shipped"

func catalogCommand(out *printer) *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "catalog",
		Short: "List, show and compare what is known of providers, models and endpoints",
		Long: `List, show and compare what is known of providers, models and endpoints: of the catalog that ships, or with --config of a
configuration or a single catalog file. Keys are not needed and never shown.`,
		Example: `  chaperone catalog list
  chaperone catalog show openai/gpt-4o-mini
  chaperone catalog diff shipped chaperone.toml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVar(&path, "config", shippedName, "configuration or catalog file")
	cmd.AddCommand(catalogListCommand(out, &path), catalogShowCommand(out, &path), catalogDiffCommand(out))
	return cmd
}

// readCatalog reads the catalog of a file, or the one that ships.
func readCatalog(path string) (*catalog.Catalog, error) {
	if path != shippedName {
		return engine.Catalog(path, os.LookupEnv)
	}
	c, problems := catalog.Load(catalog.Shipped(), os.LookupEnv)
	return c, problems.Err()
}

// entries are everything that a catalog has to show.
type entries struct {
	Providers []providerEntry   `json:"providers"`
	Models    []modelEntry      `json:"models"`
	Endpoints []endpointEntry   `json:"endpoints"`
	Aliases   map[string]string `json:"aliases"`
}

type providerEntry struct {
	ID             string                 `json:"id"`
	Name           string                 `json:"name"`
	Dialect        string                 `json:"dialect"`
	BaseURL        string                 `json:"base_url"`
	Headquarters   string                 `json:"headquarters"`
	Jurisdiction   string                 `json:"jurisdiction"`
	Certifications []string               `json:"certifications"`
	TermsURL       string                 `json:"terms_url"`
	PrivacyURL     string                 `json:"privacy_url"`
	StatusURL      string                 `json:"status_url"`
	Sources        map[string]sourceEntry `json:"sources"`
	Credentials    map[string]policyEntry `json:"credentials"` // by group
}

type modelEntry struct {
	ID               string            `json:"id"`
	Name             string            `json:"name"`
	Created          string            `json:"created,omitempty"`
	ContextLength    int64             `json:"context_length"`
	MaxOutputTokens  int64             `json:"max_output_tokens"` // 0: no limit but the context
	InputModalities  []string          `json:"input_modalities"`
	OutputModalities []string          `json:"output_modalities"`
	Distillation     distillationEntry `json:"distillation"`
}

type endpointEntry struct {
	ID                string                 `json:"id"`
	UpstreamModel     string                 `json:"upstream_model"`
	BaseURL           string                 `json:"base_url"`
	ServiceTier       string                 `json:"service_tier,omitempty"`
	Only              []string               `json:"only,omitempty"`
	CacheTTL          string                 `json:"cache_ttl,omitempty"`
	Continues         string                 `json:"continues,omitempty"`
	InFlight          int                    `json:"in_flight,omitempty"`
	Quantization      string                 `json:"quantization"`
	Jurisdiction      string                 `json:"jurisdiction"`
	Certifications    []string               `json:"certifications,omitempty"`
	InputModalities   []string               `json:"input_modalities"`
	Expected          *expectedEntry         `json:"expected,omitempty"`
	Attributes        map[string]float64     `json:"attributes,omitempty"`
	Labels            map[string]string      `json:"labels,omitempty"`
	ProcessingRegions []string               `json:"processing_regions"`
	ContextLength     int64                  `json:"context_length"`
	MaxOutputTokens   int64                  `json:"max_output_tokens"`
	Parameters        []string               `json:"supported_parameters"`
	Price             map[string]string      `json:"price"` // USD: per million tokens, request and image each
	Free              bool                   `json:"free"`
	Disabled          bool                   `json:"disabled"`
	DataPolicy        policyEntry            `json:"data_policy"`
	Distillation      distillationEntry      `json:"distillation"`
	Sources           map[string]sourceEntry `json:"sources"`
}

type expectedEntry struct {
	TTFTMillis float64 `json:"ttft_ms"`
	TPS        float64 `json:"tps"`
}

type policyEntry struct {
	Training       catalog.Tri `json:"training"`
	RetainsPrompts catalog.Tri `json:"retains_prompts"`
	RetentionDays  int         `json:"retention_days"`
	ZDR            catalog.Tri `json:"zdr"`
	ZDROption      string      `json:"zdr_option,omitempty"`
	Publishes      catalog.Tri `json:"publishes"`
	sourceEntry
}

type distillationEntry struct {
	Permitted catalog.Tri `json:"permitted"`
	sourceEntry
}

type sourceEntry struct {
	Evidence string `json:"evidence,omitempty"`
	AsOf     string `json:"as_of,omitempty"`
	ReviewBy string `json:"review_by,omitempty"`
}
