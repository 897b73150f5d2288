//go:build race

package scorer_test

// raceDetector is on: allocations are then the detector's too.
const raceDetector = true
