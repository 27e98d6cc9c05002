#!/bin/sh
# build.sh OWN OUT: compiles the clients' own test suites into OUT, each as NAME.test beside NAME-src, the directory it is
# run in. Addresses that are fixed in them become ports that nobody uses; one broker stands for the several that sarama's
# tests expect. OWN is the directory of this script.
set -eu

own=$1
out=$2
if [ -d "$out" ]; then
	chmod -R u+w "$out"
	rm -rf "$out"
fi
mkdir -p "$out/confluent-src"
cd "$own"

moduledir() { go list -m -f '{{.Dir}}' "$1"; }
go mod download
go build -o "$out/toxiproxy" github.com/Shopify/toxiproxy/v2/cmd/server

go test -c -o "$out/kgo.test" github.com/twmb/franz-go/pkg/kgo
ln -s "$(moduledir github.com/twmb/franz-go)/pkg/kgo" "$out/kgo-src"

go test -c -o "$out/watermill.test" github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka
ln -s "$(moduledir github.com/ThreeDotsLabs/watermill-kafka/v3)/pkg/kafka" "$out/watermill-src"

# Copies that can be changed, in place of the modules.
cp go.mod go.sum "$out/"
for pair in segmentio=github.com/segmentio/kafka-go sarama=github.com/IBM/sarama; do
	src=$out/${pair%%=*}-src
	cp -R "$(moduledir "${pair#*=}")" "$src"
	chmod -R u+w "$src"
	go mod edit -replace "${pair#*=}=$src" "$out/go.mod"
done
sed -i 's/\b9092\b/24292/g; s/\b9093\b/24293/g' "$out"/segmentio-src/*.go
sed -i 's/\b29090\b/24190/g; s/ReplicationFactor: 3/ReplicationFactor: 1/' "$out/sarama-src/functional_test.go"
go test -c -modfile="$out/go.mod" -o "$out/segmentio.test" github.com/segmentio/kafka-go
go test -c -modfile="$out/go.mod" -tags functional -o "$out/sarama.test" github.com/IBM/sarama

cd confluent
CGO_ENABLED=1 go test -c -o "$out/confluent.test" github.com/confluentinc/confluent-kafka-go/v2/kafka
