#!/bin/sh
# Runs every fuzz target of the module for a moment: fuzz.sh TIME
set -eu
time=${1:-3s}
go=${GO:-go}
$go list ./... | while read -r package; do
	dir=$($go list -f '{{.Dir}}' "$package")
	targets=$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$dir"/*_test.go 2>/dev/null || true)
	for target in $targets; do
		echo "fuzz $package $target"
		$go test "$package" -run '^$' -fuzz "^$target\$" -fuzztime "$time" >/tmp/gregor-fuzz.$$ 2>&1 || {
			cat /tmp/gregor-fuzz.$$
			exit 1
		}
	done
done
rm -f /tmp/gregor-fuzz.$$
