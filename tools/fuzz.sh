#!/bin/sh
# Runs every fuzz target of the module for some executions: fuzz.sh 20000x
# It is a count because a time can fail without a finding: before Go 1.27 a
# worker still busy at the deadline is reported as "context deadline exceeded"
# (golang/go issue 75804).
set -eu
count=${1:-20000x}
go=${GO:-go}
out=$(mktemp)
trap 'rm -f "$out"' EXIT
for package in $($go list ./...); do
	dir=$($go list -f '{{.Dir}}' "$package")
	for target in $(cat "$dir"/*_test.go 2>/dev/null | sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p'); do
		echo "fuzz $package $target"
		if ! $go test "$package" -run '^$' -fuzz "^$target\$" -fuzztime "$count" -fuzzminimizetime 10x >"$out" 2>&1; then
			cat "$out"
			exit 1
		fi
	done
done
