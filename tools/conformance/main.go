package main

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"time"
)

// testCase talks to one broker; it is run once against each.
type testCase struct {
	name string
	run  func(*broker)
}

func main() {
	a := flag.String("a", "localhost:9092", "address of the broker that is right (Apache Kafka)")
	b := flag.String("b", "localhost:9192", "address of the broker that is compared (Gregor)")
	run := flag.String("run", ".", "only cases whose names match")
	texts := flag.Bool("texts", false, "compare the texts of errors and documentation too")
	order := flag.Bool("order", false, "compare the order of lists whose elements have names too")
	dump := flag.Bool("dump", false, "print the answers of the first broker too")
	file := flag.String("record", "", "only write answers of the first broker that are the same everywhere to a file")
	flag.Parse()
	if *file != "" {
		if err := recordFrames(*a, *file); err != nil {
			fmt.Fprintln(os.Stderr, "conformance:", err)
			os.Exit(1)
		}
		return
	}
	pattern, err := regexp.Compile(*run)
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance: -run:", err)
		os.Exit(2)
	}
	prefix := "c" + strconv.FormatInt(time.Now().Unix()%1_000_000, 36) + "-"
	differences := 0
	for _, c := range cases() {
		if !pattern.MatchString(c.name) {
			continue
		}
		done := make(chan *broker, 2)
		for _, addr := range []string{*a, *b} {
			go func() {
				x := newBroker(addr, prefix+c.name+"-")
				c.run(x)
				x.close()
				done <- x
			}()
		}
		left, right := <-done, <-done
		if left.addr != *a {
			left, right = right, left
		}
		for _, x := range []*broker{left, right} {
			if x.fatal != nil {
				fmt.Fprintf(os.Stderr, "conformance: %s: %v\n", c.name, x.fatal)
				differences++
			}
		}
		if *dump {
			for _, answer := range left.answers {
				for _, l := range answer.lines {
					fmt.Printf("%s: %s v%d %s = %s\n", c.name, answer.label, answer.version, l.path, l.value)
				}
			}
		}
		n := report(os.Stdout, c.name, left.answers, right.answers, options{*texts, *order})
		fmt.Printf("%s: %d answers, %d differences\n", c.name, len(left.answers), n)
		differences += n
	}
	if differences > 0 {
		os.Exit(1)
	}
}
