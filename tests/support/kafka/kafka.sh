#!/bin/bash
# Apache Kafka for tests: one broker or three on loopback, from jars of Maven Central, no container.
# docs/KAFKA.md tells how the tests use it.
set -euo pipefail

usage() {
    cat >&2 <<'TEXT'
usage: kafka.sh COMMAND [ARGUMENT...]
  fetch [MVN OPTION...]   copy the jars to $KAFKA_LIB if they are not there
  start [N [PORT]]        start N nodes (1 or 3), wait until they serve, print the bootstrap list
  stop [ID]               stop node ID in order; without ID kill all nodes and delete their data
  kill9 ID                SIGKILL node ID
  restart ID              start node ID again, on its ports and data
  pause ID, resume ID     SIGSTOP, SIGCONT: a node or a network that hangs
  wait-ready [SECONDS]    wait until every node that should run serves
  topic NAME [PARTITIONS [KEY=VALUE...]]
  cert NAME               (secure) client certificate and key in $KAFKA_ROOT/tls/NAME.pem
  user NAME PASSWORD      (secure) SCRAM-SHA-512 credentials
  acl ARGUMENT...         (secure) Kafka's ACL tool, as admin
  tool CLASS ARGUMENT...  any Java tool, e.g. org.apache.kafka.tools.TopicCommand --list ...
environment:
  KAFKA_ROOT    folder of this cluster: data, logs, process ids   (build/kafka/run)
  KAFKA_LIB     folder of the jars                                (build/kafka/lib)
  KAFKA_SECURE  1: mutual TLS, SASL_SSL and ACLs                  (0)
  KAFKA_USERS   (secure) users of SASL PLAIN: "NAME:PASSWORD ..."
  KAFKA_EXTRA   lines appended to server.properties
  KAFKA_HEAP    heap of a node                                    (384m)
  KAFKA_WATCH   a process id: the nodes are killed when it has gone
  KAFKA_TXN_CLEANUP_MS  how often the broker aborts overdue transactions (1000)
$KAFKA_ROOT/cluster.env then has KAFKA_BOOTSTRAP, KAFKA_SASL_BOOTSTRAP and KAFKA_NODES.
TEXT
    exit 2
}

die() {
    echo "kafka.sh: $*" >&2
    exit 1
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
project=$(cd "$here/../../.." && pwd)
root=${KAFKA_ROOT:-$project/build/kafka/run}
lib=${KAFKA_LIB:-$project/build/kafka/lib}
heap=${KAFKA_HEAP:-384m}
secure=${KAFKA_SECURE:-0}
java=${JAVA_HOME:+$JAVA_HOME/bin/}java

# --- Java ------------------------------------------------------------------------------------------

# Replaces this shell by a JVM: run it in a subshell. The class-data archive fits exactly one class path,
# hence the spelled out, sorted list of jars.
jvm() { # LOG HEAP FLAGS CLASS ARGUMENT...
    local log=$1 max=$2 flags=$3 classpath
    local archive=()
    shift 3
    classpath=$(printf '%s:' "$lib"/*.jar)
    if [ -s "$lib/kafka.jsa" ]; then archive=(-XX:SharedArchiveFile="$lib/kafka.jsa" -Xshare:auto); fi
    # shellcheck disable=SC2086 # flags are words
    exec "$java" -Xlog:disable -Xlog:all=error:stderr "${archive[@]}" -Xmx"$max" -XX:+UseSerialGC \
        -XX:-UsePerfData -XX:TieredStopAtLevel=1 $flags -Djava.awt.headless=true \
        -Dkafka.log.file="$log" -Dkafka.log.level="${KAFKA_LOG_LEVEL:-info}" \
        -Dlog4j2.configurationFile="$here/log4j2.properties" -cp "$classpath" "$@"
}

tool() { (jvm "$root/tool.log" 128m "" "$@"); }

# --- Ports -----------------------------------------------------------------------------------------

port_taken() { # PORT: somebody listens there (state 0A of /proc/net/tcp)
    local hex
    hex=$(printf %04X "$1")
    cat /proc/net/tcp /proc/net/tcp6 2> /dev/null |
        awk -v port=":$hex" '$4 == "0A" && substr($2, length($2) - 4) == port { found = 1 } END { exit !found }'
}

# Below the ephemeral range, so that no outgoing connection takes the port of a node that is down.
find_ports() { # COUNT: prints the first of COUNT neighbours that are free
    local first offset try free
    for ((try = 0; try < 50; try++)); do
        first=$((20000 + (RANDOM * 32768 + RANDOM) % 1200 * 10))
        free=1
        for ((offset = 0; offset < $1; offset++)); do
            if port_taken $((first + offset)); then free=0; fi
        done
        if [ $free = 1 ]; then
            echo $first
            return
        fi
    done
    die "no free ports found"
}

# --- One node --------------------------------------------------------------------------------------

# Only the recorded process counts, and only while its command line names this cluster: process ids are reused.
node_pid() { # ID: prints the pid, fails if the node does not run
    local pid
    pid=$(cat "$root/node-$1/pid" 2> /dev/null) || return 1
    { tr '\0' '\n' < "/proc/$pid/cmdline"; } 2> /dev/null | grep -qxF "$root/node-$1/server.properties" || return 1
    echo "$pid"
}

node_running() { node_pid "$1" > /dev/null; }

# Kills the node when process $KAFKA_WATCH has gone, so that a killed test leaves no JVM behind.
node_watch() { # ID
    local pid
    while kill -0 "$KAFKA_WATCH" 2> /dev/null; do
        sleep 0.5
        node_running "$1" || return 0
    done
    if pid=$(node_pid "$1"); then kill -KILL "$pid"; fi
}

# Inherited descriptors would keep a test runner's pipes open for as long as the node lives.
close_descriptors() {
    local fd
    for fd in /proc/self/fd/*; do
        fd=${fd##*/}
        if [ "$fd" -gt 2 ]; then eval "exec $fd>&-"; fi
    done
}

node_start() { # ID [JVM FLAGS]
    local dir=$root/node-$1 pid
    if node_running "$1"; then die "node $1 runs already"; fi
    : > "$dir/server.log"
    (
        close_descriptors
        jvm "$dir/server.log" "$heap" "${2:-}" kafka.Kafka "$dir/server.properties"
    ) < /dev/null > "$dir/stdout" 2>&1 &
    pid=$!
    echo $pid > "$dir/pid"
    disown
    # Until the shell has become the JVM, node_pid does not know it.
    until node_running "$1"; do
        kill -0 $pid 2> /dev/null || return 0
        sleep 0.01
    done
    if [ -n "${KAFKA_WATCH:-}" ]; then
        (
            close_descriptors
            node_watch "$1"
        ) < /dev/null > /dev/null 2>&1 &
        disown
    fi
}

node_signal() { # ID SIGNAL
    local pid
    pid=$(node_pid "$1") || die "node $1 does not run"
    kill -"$2" "$pid"
}

# In order, but not for ever: a node without a quorum never finishes.
node_stop() { # ID SECONDS
    local pid end=$((SECONDS + $2))
    pid=$(node_pid "$1") || return 0
    kill -CONT "$pid"
    kill -TERM "$pid"
    while node_running "$1"; do
        if [ $SECONDS -ge $end ]; then kill -KILL "$pid"; fi
        sleep 0.05
    done
}

plain_users() {
    local user
    printf 'listener.name.sasl_ssl.plain.sasl.jaas.config='
    printf 'org.apache.kafka.common.security.plain.PlainLoginModule required'
    for user in ${KAFKA_USERS:-}; do printf ' user_%s="%s"' "${user%%:*}" "${user#*:}"; done
    printf ';\n'
}

node_configure() { # ID
    local id=$1 dir=$root/node-$1 listeners=plain copies=1 insync=1 base=$((KAFKA_PORT + 3 * $1 - 3))
    if [ "$KAFKA_NODES" -ge 3 ]; then copies=3 insync=2; fi
    if [ "$secure" = 1 ]; then listeners=secure; fi
    rm -rf "$dir"
    mkdir -p "$dir"
    {
        cat "$here/server.properties" "$here/$listeners.properties"
        if [ "$secure" = 1 ]; then plain_users; fi
        printf '%s\n' "${KAFKA_EXTRA:-}"
    } | sed -e "s#@ID@#$id#g; s#@VOTERS@#$KAFKA_VOTERS#g; s#@DATA@#$dir/data#g; s#@TLS@#$root/tls#g" \
        -e "s#@RF@#$copies#g; s#@ISR@#$insync#g; s#@PORT@#$base#g" \
        -e "s#@CPORT@#$((base + 1))#g; s#@SPORT@#$((base + 2))#g" \
        -e "s#@TXNCLEAN@#${KAFKA_TXN_CLEANUP_MS:-1000}#g" > "$dir/server.properties"
}

node_format() { # ID
    local scram=()
    if [ "$secure" = 1 ]; then
        scram=(--add-scram 'SCRAM-SHA-512=[name=admin,password=admin-secret]')
    fi
    tool kafka.tools.StorageTool format -t "$KAFKA_CLUSTER_ID" -c "$root/node-$1/server.properties" "${scram[@]}" \
        > "$root/node-$1/format.log" 2>&1 || die "formatting node $1: $(tail -n 3 "$root/node-$1/format.log")"
}

# --- Credentials (they live 30 days and are worth nothing) --------------------------------------------

make_ca() {
    mkdir -p "$root/tls"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=Avow test CA" \
        -keyout "$root/tls/ca.key" -out "$root/tls/ca.pem" 2> /dev/null
}

# One PEM file with the PKCS#8 key first: Java and librdkafka both read that.
make_cert() { # NAME
    local at=$root/tls/$1
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" \
        -keyout "$at.key" -out "$at.csr" 2> /dev/null
    openssl x509 -req -in "$at.csr" -CA "$root/tls/ca.pem" -CAkey "$root/tls/ca.key" -CAcreateserial -days 30 \
        -out "$at.crt" -extfile <(echo "subjectAltName=IP:127.0.0.1,DNS:localhost") 2> /dev/null
    cat "$at.key" "$at.crt" > "$at.pem"
    rm "$at.key" "$at.csr" "$at.crt"
}

admin_properties() {
    if [ "$secure" != 1 ]; then return; fi
    cat <<TEXT
security.protocol=SSL
ssl.keystore.type=PEM
ssl.keystore.location=$root/tls/admin.pem
ssl.truststore.type=PEM
ssl.truststore.location=$root/tls/ca.pem
TEXT
}

# --- The cluster -----------------------------------------------------------------------------------

cluster_load() {
    [ -s "$root/cluster.env" ] || die "no cluster in $root"
    # shellcheck disable=SC1091
    . "$root/cluster.env"
    secure=$KAFKA_SECURE
}

# The line appears when the controllers have admitted the broker.
node_serves() { grep -q 'KafkaRaftServer.*Kafka Server started' "$root/node-$1/server.log"; }

cluster_wait() { # SECONDS
    local id waiting end=$((SECONDS + $1))
    while :; do
        waiting=
        for id in $(seq "$KAFKA_NODES"); do
            if [ ! -e "$root/node-$id/pid" ]; then continue; fi
            if ! node_running "$id"; then
                echo "kafka.sh: node $id has died" >&2
                return 1
            fi
            node_serves "$id" || waiting+=" $id"
        done
        if [ -z "$waiting" ]; then return 0; fi
        if [ $SECONDS -ge $end ]; then
            echo "kafka.sh: not ready after $1 s:$waiting" >&2
            return 1
        fi
        sleep 0.05
    done
}

# The data goes too, so nobody needs an orderly end.
cluster_kill() {
    local id pid
    for id in $(seq "$KAFKA_NODES"); do
        if pid=$(node_pid "$id"); then kill -KILL "$pid"; fi
    done
    for id in $(seq "$KAFKA_NODES"); do
        while node_running "$id"; do sleep 0.02; done
    done
    rm -rf "$root"/node-*/pid "$root"/node-*/data "$root/cluster.env"
}

cluster_try() { # N PORT [JVM FLAGS]
    local id port plain='' sasl='' pids=() pid
    KAFKA_NODES=$1 KAFKA_PORT=$2 KAFKA_VOTERS=''
    for id in $(seq "$1"); do
        port=$((KAFKA_PORT + 3 * id - 3))
        plain+=${plain:+,}127.0.0.1:$port
        sasl+=${sasl:+,}127.0.0.1:$((port + 2))
        KAFKA_VOTERS+=${KAFKA_VOTERS:+,}$id@127.0.0.1:$((port + 1))
    done
    if [ "$secure" != 1 ]; then sasl=''; fi
    for id in $(seq "$1"); do node_configure "$id"; done
    cat > "$root/cluster.env" <<TEXT
KAFKA_NODES=$KAFKA_NODES
KAFKA_BOOTSTRAP=$plain
KAFKA_SASL_BOOTSTRAP=$sasl
KAFKA_SECURE=$secure
TEXT
    for id in $(seq "$1"); do
        node_format "$id" &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid" || return 1; done
    for id in $(seq "$1"); do node_start "$id" "${3:-}"; done
    cluster_wait 90 || return 1
    echo "$plain"
}

cluster_start() { # N [PORT [JVM FLAGS]]
    local try
    ls "$lib"/kafka_*.jar > /dev/null 2>&1 || die "no jars in $lib: run kafka.sh fetch first"
    [ ! -e "$root/cluster.env" ] || die "$root has a cluster already: run kafka.sh stop first"
    KAFKA_CLUSTER_ID=$(head -c 16 /dev/urandom | base64 | tr '+/' 'AB' | tr -d =)
    if [ "$secure" = 1 ]; then
        make_ca
        make_cert broker
        make_cert admin
    fi
    admin_properties > "$root/admin.properties"
    for ((try = 0; try < 5; try++)); do
        if cluster_try "$1" "${2:-$(find_ports $((3 * $1)))}" "${3:-}"; then return; fi
        cluster_kill
        # Between the look and the bind somebody can take a port: then, and only then, try others.
        if [ -n "${2:-}" ] || ! grep -q 'Address already in use' "$root"/node-*/server.log; then break; fi
    done
    cat "$root"/node-*/stdout >&2
    grep -hE ' ERROR |^Caused by' "$root"/node-*/server.log 2> /dev/null | tail -n 5 >&2 || true
    die "the cluster did not start: see $root/node-*/server.log"
}

# --- Jars ------------------------------------------------------------------------------------------

# Classes in the form in which the JVM maps them: a start takes half the time. Other JVMs ignore the file.
make_archive() {
    root=$lib/archive
    secure=0
    rm -rf "$root"
    mkdir -p "$root"
    (cluster_start 1 "" "-XX:ArchiveClassesAtExit=$lib/kafka.jsa.new" > /dev/null) || return 1
    cluster_load
    node_stop 1 60
    cluster_kill
    rm -rf "$root"
    mv "$lib/kafka.jsa.new" "$lib/kafka.jsa"
}

fetch() { # MVN OPTION...
    if ! ls "$lib"/kafka_*.jar > /dev/null 2>&1; then
        mvn -B -q -f "$here/pom.xml" -Dkafka.lib="$lib" "$@" dependency:copy-dependencies
    fi
    if [ ! -s "$lib/kafka.jsa" ]; then
        (make_archive) || echo "kafka.sh: no class-data archive; starts will take longer" >&2
    fi
}

# --- Commands --------------------------------------------------------------------------------------

[ $# -ge 1 ] || usage
command=$1
shift
mkdir -p "$root" "$lib"
root=$(cd "$root" && pwd)
lib=$(cd "$lib" && pwd)

case $command in
fetch)
    fetch "$@"
    exit
    ;;
start)
    cluster_start "${1:-1}" "${2:-}"
    exit
    ;;
tool)
    tool "$@"
    exit
    ;;
stop) [ -s "$root/cluster.env" ] || exit 0 ;;
esac
cluster_load
admin=(--bootstrap-server "$KAFKA_BOOTSTRAP" --command-config "$root/admin.properties")

case $command in
stop)
    if [ $# -eq 0 ]; then
        cluster_kill
    else
        node_stop "$1" 10
        rm -f "$root/node-$1/pid"
    fi
    ;;
kill9)
    node_signal "$1" KILL
    rm -f "$root/node-$1/pid"
    ;;
restart) node_start "$1" ;;
pause) node_signal "$1" STOP ;;
resume) node_signal "$1" CONT ;;
wait-ready) cluster_wait "${1:-60}" ;;
topic)
    name=$1
    count=${2:-3}
    config=()
    for pair in "${@:3}"; do config+=(--config "$pair"); done
    tool org.apache.kafka.tools.TopicCommand "${admin[@]}" --create --topic "$name" --partitions "$count" "${config[@]}"
    ;;
cert) make_cert "$1" ;;
user)
    tool kafka.admin.ConfigCommand "${admin[@]}" --alter --entity-type users --entity-name "$1" \
        --add-config "SCRAM-SHA-512=[password=$2]"
    ;;
acl) tool org.apache.kafka.tools.AclCommand "${admin[@]}" "$@" ;;
*) usage ;;
esac
