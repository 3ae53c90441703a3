//go:build race

package logtogin_test

// isRace says that the race detector is on, with which everything takes longer.
const isRace = true
