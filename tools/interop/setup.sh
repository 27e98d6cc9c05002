#!/bin/sh
# Installs everything the suites need into the cache directory, once; a later run only looks at its stamps.
# Debian, as root when a package is missing. A tool that cannot be had ends the run: nothing is skipped.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=${GREGOR_INTEROP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/gregor-interop}
mkdir -p "$cache"

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

# stamped NAME FILES... is true when NAME was made from exactly these files.
stamped() {
	name=$1; shift
	[ -f "$cache/$name.stamp" ] && [ "$(cat "$@" | sha256sum)" = "$(cat "$cache/$name.stamp")" ]
}
stamp() {
	name=$1; shift
	cat "$@" | sha256sum > "$cache/$name.stamp"
}

command -v go >/dev/null || fail "go is missing: the broker cannot be built without its toolchain"

packages=
command -v kcat >/dev/null || packages="$packages kcat"
command -v javac >/dev/null || packages="$packages default-jdk-headless"
command -v mvn >/dev/null || packages="$packages maven"
command -v node >/dev/null || packages="$packages nodejs"
command -v npm >/dev/null || packages="$packages npm"
if ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
	packages="$packages python3 python3-venv"
fi
if [ -n "$packages" ]; then
	[ "$(id -u)" = 0 ] || fail "missing:$packages (install them, or run as root)"
	say "installing$packages"
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -qq
	# shellcheck disable=SC2086 # a list of words
	apt-get install -y -qq --no-install-recommends $packages >"$cache/apt.log" 2>&1 || { tail -20 "$cache/apt.log" >&2; fail "apt-get failed"; }
fi

if ! stamped kafka "$here/java/pom.xml"; then
	say "Apache Kafka 4.3.1"
	rm -rf "$cache/kafka" && mkdir -p "$cache/kafka"
	mvn -q -B -f "$here/java/pom.xml" org.apache.maven.plugins:maven-dependency-plugin:2.8:copy-dependencies \
		-DoutputDirectory="$cache/kafka/lib" >"$cache/mvn.log" 2>&1 || { tail -20 "$cache/mvn.log" >&2; fail "maven failed"; }
	stamp kafka "$here/java/pom.xml"
fi
if ! stamped kafka-3.9 "$here/java/pom-3.9.xml"; then
	say "kafka-clients 3.9"
	rm -rf "$cache/kafka-3.9" && mkdir -p "$cache/kafka-3.9"
	mvn -q -B -f "$here/java/pom-3.9.xml" org.apache.maven.plugins:maven-dependency-plugin:2.8:copy-dependencies \
		-DoutputDirectory="$cache/kafka-3.9/lib" >"$cache/mvn.log" 2>&1 || { tail -20 "$cache/mvn.log" >&2; fail "maven failed"; }
	stamp kafka-3.9 "$here/java/pom-3.9.xml"
fi
if ! stamped java "$here/java/pom.xml" "$here"/java/*.java; then
	say "compiling the Java suite"
	rm -rf "$cache/java" && mkdir -p "$cache/java"
	javac -nowarn -d "$cache/java" -cp "$cache/kafka/lib/*" "$here"/java/*.java || fail "javac failed"
	stamp java "$here/java/pom.xml" "$here"/java/*.java
fi
if ! stamped python "$here/python/requirements.txt"; then
	say "Python clients"
	rm -rf "$cache/python"
	python3 -m venv "$cache/python"
	"$cache/python/bin/pip" install -q --disable-pip-version-check -r "$here/python/requirements.txt" || fail "pip failed"
	stamp python "$here/python/requirements.txt"
fi
if ! stamped js "$here/js/package.json" "$here/js/package-lock.json"; then
	say "JavaScript clients"
	rm -rf "$cache/js" && mkdir -p "$cache/js"
	cp "$here/js/package.json" "$here/js/package-lock.json" "$cache/js/"
	(cd "$cache/js" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) >"$cache/npm.log" 2>&1 || { tail -20 "$cache/npm.log" >&2; fail "npm failed"; }
	stamp js "$here/js/package.json" "$here/js/package-lock.json"
fi

own=$here/clientsuites
if ! stamped suites "$own/build.sh" "$own/go.sum" "$own/confluent/go.sum"; then
	say "compiling the clients' own tests"
	sh "$own/build.sh" "$own" "$cache/suites" || fail "compiling the clients' own tests failed"
	stamp suites "$own/build.sh" "$own/go.sum" "$own/confluent/go.sum"
fi
