package config

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"time"
)

var daysFirst = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?)d(.*)$`)

// ParseDuration is time.ParseDuration with days, of 24 hours, in front: "90d", "1d12h".
func ParseDuration(s string) (time.Duration, error) {
	rest, total := s, time.Duration(0)
	if m := daysFirst.FindStringSubmatch(s); m != nil {
		days, err := strconv.ParseFloat(m[1], 64)
		if err != nil || days*24*float64(time.Hour) >= math.MaxInt64 {
			return 0, fmt.Errorf("found %q; expected at most 106751d", s)
		}
		total, rest = time.Duration(days*24*float64(time.Hour)), m[2]
		if rest == "" {
			return total, nil
		}
	}
	d, err := time.ParseDuration(rest)
	if err != nil || total+d < total && d > 0 || total > 0 && d < 0 {
		return 0, fmt.Errorf("found %q; expected a number and a unit such as \"250ms\", \"30s\", \"5m\", \"12h\" or \"90d\"", s)
	}
	return total + d, nil
}
