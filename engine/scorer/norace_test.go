//go:build !race

package scorer_test

const raceDetector = false
