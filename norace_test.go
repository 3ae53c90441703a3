//go:build !race

package logtogin_test

const isRace = false
