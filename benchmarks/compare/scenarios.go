//go:build linux

package main

import (
	"fmt"
	"strings"
)

// scenarios are all kinds of runs, in the order of the help text.
func scenarios() []scenario {
	return []scenario{
		{
			name:        "frames-1m",
			description: "prepared Produce requests of 1 MiB, one connection, 5 in flight",
			columns:     frameColumns, bars: overFloor(), run: runLarge,
		},
		{
			name:        "frames-1k",
			description: "prepared Produce requests of one 1 KiB record, 64 connections, one in flight on each",
			columns:     frameColumns, bars: overFloor(), run: runSmall,
		},
		{
			name:        "waiting-shared",
			description: "franz-go, idempotent, acks=all, linger 0: producers on one client, each waiting for every record",
			brokersOnly: true, columns: waitingColumns, bars: overKafka(), run: runWaitingShared,
		},
		{
			name:        "waiting-separate",
			description: "the same, every producer with a client of its own",
			brokersOnly: true, columns: waitingColumns, bars: overKafka(), run: runWaitingSeparate,
		},
		{
			name:        "start",
			description: "exec to the first acknowledged record, memory when idle, size of the program",
			columns:     startColumns, run: runStart,
		},
		{
			name:        "reread",
			description: "a history filled with 1 MiB requests and consumed twice from its start by franz-go",
			brokersOnly: true, once: true, columns: rereadColumns, run: runReread,
		},
	}
}

func scenarioNames() (names []string) {
	for _, sc := range scenarios() {
		names = append(names, sc.name)
	}
	return names
}

func chooseScenarios(names []string) (chosen []scenario, err error) {
next:
	for _, name := range names {
		for _, sc := range scenarios() {
			if sc.name == name {
				chosen = append(chosen, sc)
				continue next
			}
		}
		return nil, fmt.Errorf("scenario %q, expected one of %s", name, strings.Join(scenarioNames(), ", "))
	}
	return chosen, nil
}
