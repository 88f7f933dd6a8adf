// Timers elsewhere: as precise as they are.

//go:build !linux

package main

func relaxTimers() error { return nil }
