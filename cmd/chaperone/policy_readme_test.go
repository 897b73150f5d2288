package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

func TestEveryPolicyCommandOfTheLibrarysReadmeRuns(t *testing.T) {
	readme, err := os.ReadFile("../../policies/README.md")
	if err != nil {
		t.Fatal(err)
	}
	inExampleWorld(t)
	shown := map[string]bool{}
	for _, m := range regexp.MustCompile("`(chaperone policy [^`]+)`").FindAllStringSubmatch(string(readme), -1) {
		name := strings.Fields(m[1])[2]
		shown[name] = true
		if m[1] != "chaperone policy "+name || name == "list" || name == "check" || name == "cost" || name == "matrix" || name == "test" {
			runsExample(t, m[1])
		}
	}
	root, _ := newRoot(os.Stdout, os.Stderr)
	for _, c := range root.Commands() {
		for _, sub := range c.Commands() {
			if c.Name() == "policy" && !shown[sub.Name()] {
				t.Errorf("policies/README.md has no example of chaperone policy %s", sub.Name())
			}
		}
	}
}
