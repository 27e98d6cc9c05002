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
			brokersOnly: true, columns: waitingColumns, bars: sharedBars(), run: runWaitingShared,
		},
		{
			name:        "waiting-separate",
			description: "the same, every producer with a client of its own",
			brokersOnly: true, columns: waitingColumns, bars: waitingBars(), run: runWaitingSeparate,
		},
		{
			name:        "bulk-1k",
			description: "franz-go, idempotent, acks=all, linger 2 ms: 1 KiB of random bytes a record",
			brokersOnly: true, columns: bulkColumns, bars: bulkBars(), run: bulkLoad{size: 1024}.run,
		},
		{
			name:        "bulk-1k-lz4",
			description: "the same random bytes through lz4",
			brokersOnly: true, columns: bulkColumns, bars: bulkBars(), run: bulkLoad{size: 1024, lz4: true}.run,
		},
		{
			name:        "bulk-text",
			description: "1 KiB of text a record",
			brokersOnly: true, columns: bulkColumns, bars: bulkBars(), run: bulkLoad{size: 1024, text: true}.run,
		},
		{
			name:        "bulk-text-lz4",
			description: "1 KiB of text a record through lz4",
			brokersOnly: true, columns: bulkColumns, bars: bulkBars(), run: bulkLoad{size: 1024, text: true, lz4: true}.run,
		},
		{
			name:        "bulk-100b",
			description: "100 random bytes a record",
			brokersOnly: true, columns: bulkColumns, bars: bulkBars(), run: bulkLoad{size: 100}.run,
		},
		{
			name:        "bulk-100k",
			description: "100 KiB of random bytes a record",
			brokersOnly: true, columns: bulkColumns, bars: []bar{leastMemory()}, run: bulkLoad{size: 100 << 10}.run,
		},
		{
			name:        "waiting-one",
			description: "one producer that waits for every record",
			brokersOnly: true, columns: waitingColumns, bars: []bar{leastMemory()}, run: runWaitingOne,
		},
		{
			name:        "paced-20k",
			description: "20,000 records of 256 bytes a second, whatever happens, and a consumer at the tail",
			brokersOnly: true, columns: pacedColumns, bars: pacedBars(), run: paced(20_000),
		},
		{
			name:        "paced-100k",
			description: "100,000 records of 256 bytes a second and a consumer at the tail",
			brokersOnly: true, columns: pacedColumns, bars: []bar{leastMemory()}, run: paced(100_000),
		},
		{
			name:        "partitions",
			description: "frames-1k over 1, 100 and 1,000 partitions of one server",
			brokersOnly: true, columns: partitionColumns, bars: partitionBars(), run: runPartitions,
		},
		{
			name:        "many",
			description: "10,000 partitions with a record each: exec until a record is acknowledged, memory",
			brokersOnly: true, columns: manyColumns, bars: manyBars(), run: runMany,
		},
		{
			name:        "catch-up",
			description: "history in the page cache through Fetch, and the same files mapped and written to a loopback connection",
			brokersOnly: true, columns: catchUpColumns, bars: catchUpBars(), run: runCatchUp,
		},
		{
			name:        "cold",
			description: "history on the disk through Fetch, and the same files read plainly",
			brokersOnly: true, columns: coldColumns, bars: coldBars(), run: runCold,
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
	if len(names) == 1 && names[0] == "all" {
		return scenarios(), nil
	}
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
