//go:build race

package telemetry_test

// raceDetector is on: allocations and times are then the detector's.
const raceDetector = true
