package main

import "time"

// started is as near to exec as Go code comes: package initialization.
var started = time.Now()

// processStart is when the process began, for the ready line.
func processStart() time.Time { return started }
