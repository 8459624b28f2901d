#!/bin/bash
# Runs the bus tests on a real Kafka: one broker in plain text, then one with TLS, passwords and ACLs.
# usage: tests/bus/run-kafka.sh [BUILD-FOLDER [PATTERN]]   (build/dev; PATTERN selects cases of the first part)
# Exit: 0 all passed, 1 a test failed, 2 the broker did not start.
set -uo pipefail

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=${1:-$project/build/dev}
pattern=${2:-}
kafka=$project/tests/support/kafka/kafka.sh
KAFKA_ROOT=$(mktemp -d)
KAFKA_WATCH=$$
TSAN_OPTIONS=${TSAN_OPTIONS:-suppressions=$project/tests/bus/tsan.supp}
export KAFKA_ROOT KAFKA_WATCH TSAN_OPTIONS

# shellcheck disable=SC2317 # called by the trap
cleanup() {
    "$kafka" stop
    rm -rf "$KAFKA_ROOT"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

broken() {
    echo "run-kafka.sh: $*" >&2
    exit 2
}

start() {
    "$kafka" start 1 > /dev/null || broken "no broker"
    # shellcheck disable=SC1091
    . "$KAFKA_ROOT/cluster.env"
}

# What the default partitioner of the Java client does with keys, for comparison.
java_topic() {
    local i
    "$kafka" topic java-keys 7 > /dev/null || return 1
    for i in $(seq 60); do printf 'agent-%d-%s:x\n' "$i" "$(printf '%*s' "$((i % 9))" '' | tr ' ' z)"; done |
        "$kafka" tool org.apache.kafka.tools.ConsoleProducer --bootstrap-server "$KAFKA_BOOTSTRAP" --topic java-keys \
            --reader-property parse.key=true --reader-property key.separator=: > /dev/null
}

"$kafka" fetch || broken "no jars"
failed=0

start
java_topic || broken "the Java producer failed"
AVOW_TEST_KAFKA=$KAFKA_BOOTSTRAP AVOW_TEST_JAVA_TOPIC=java-keys \
    AVOW_TEST_KAFKA_PID=$(cat "$KAFKA_ROOT/node-1/pid") \
    "$build/tests/bus_conformance" ${pattern:+"$pattern"} || failed=1
"$kafka" stop

if [ -z "$pattern" ]; then
    export KAFKA_SECURE=1 KAFKA_USERS="agent-1:right worker-1:right"
    start
    if ! "$kafka" cert agent-1 || ! "$kafka" cert nobody; then broken "no certificates"; fi
    # What PROTOCOL B2 gives an agent: no group, no transactional id.
    "$kafka" acl --add --allow-principal User:agent-1 --operation Write --operation Describe --topic evidence > /dev/null
    "$kafka" acl --add --allow-principal User:agent-1 --operation Read --operation Describe --topic epochs > /dev/null
    AVOW_TEST_KAFKA=$KAFKA_BOOTSTRAP AVOW_TEST_KAFKA_SASL=$KAFKA_SASL_BOOTSTRAP AVOW_TEST_TLS=$KAFKA_ROOT/tls \
        "$build/tests/bus_secure" || failed=1
fi
exit $failed
