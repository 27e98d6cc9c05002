#!/bin/sh
# Runs every fuzz target of the module for a moment: fuzz.sh TIME
set -eu
time=${1:-3s}
go=${GO:-go}
out=$(mktemp)
trap 'rm -f "$out"' EXIT
for package in $($go list ./...); do
	dir=$($go list -f '{{.Dir}}' "$package")
	for target in $(cat "$dir"/*_test.go 2>/dev/null | sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p'); do
		echo "fuzz $package $target"
		if ! $go test "$package" -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 10x >"$out" 2>&1; then
			cat "$out"
			exit 1
		fi
	done
done
