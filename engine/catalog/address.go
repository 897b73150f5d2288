package catalog

import (
	"regexp"
	"slices"
	"strings"
)

var placeholder = regexp.MustCompile(`\$\{([^}]*)\}`)

// fill puts the values of environment variables into a provider's base URL: ${NAME}. Where one holds nothing the URL stays
// as it is, and the variable is missing.
func (l *loader) fill(t *providerTable) (address string, missing []string) {
	address = placeholder.ReplaceAllStringFunc(t.BaseURL, func(found string) string {
		name := placeholder.FindStringSubmatch(found)[1]
		if !variableName.MatchString(name) {
			l.add(t.Problem("base_url", "found %s; expected the name of an environment variable in the braces", found))
			return ""
		}
		value, _ := l.env(name)
		if value = strings.TrimSpace(value); value == "" && !slices.Contains(missing, name) {
			missing = append(missing, name)
		}
		return value
	})
	if len(missing) > 0 {
		return t.BaseURL, missing
	}
	return address, nil
}
