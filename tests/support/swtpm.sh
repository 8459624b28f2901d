#!/bin/sh
# swtpm.sh - software TPMs for tests and demos: one folder per TPM, one certificate authority for all of them.
#
#   swtpm.sh start DIR [CA_DIR]   makes the TPM on first use (EK and EK certificate signed by the CA in CA_DIR, default
#                                 DIR/ca), starts it as after power-on and prints its TCTI string
#   swtpm.sh stop DIR             orderly shutdown (TPM2_Shutdown), then ends the process
#   swtpm.sh kill DIR             as a power cut: no TPM2_Shutdown
#   swtpm.sh reboot DIR           stop and start: PCRs are zero, resetCount is one more
#   swtpm.sh tcti DIR             prints the TCTI string
#   swtpm.sh store CA_DIR OUT     copies the CA's certificates to folder OUT, for a registrar's EK store
#
# Sockets are Unix sockets, so that TPMs side by side never fight for ports. swtpm serves one connection at a time and the
# others wait: whoever uses the TPM beside the agent has to close between operations, and the agent does so with
# tpm.hold = no. Environment: SWTPM_BANKS (default sha1,sha256,sha384), SWTPM_WAIT_S (default 10).
# Works as any user, without systemd. Needs swtpm, swtpm-tools and tpm2-tools (for stop only).
set -eu

fail() {
    echo "swtpm.sh: $*" >&2
    exit 1
}

# Socket paths are limited to 107 bytes by the kernel, so long folders get a short link in /tmp.
socket_dir() {
    dir=$1
    if [ "${#dir}" -le 80 ]; then
        echo "$dir"
        return
    fi
    link="/tmp/avow-swtpm-$(id -u)-$(printf '%s' "$dir" | cksum | tr ' ' '-')"
    ln -sfn "$dir" "$link"
    echo "$link"
}

tcti_of() {
    echo "swtpm:path=$(socket_dir "$1")/tpm.sock"
}

pid_of() {
    pid=$(cat "$1/swtpm.pid" 2>/dev/null) || return 1
    # The file may be stale and its number may belong to another program by now.
    tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -q "swtpm.*$1" || return 1
    echo "$pid"
}

write_ca_config() {
    ca=$1
    mkdir -p "$ca"
    cat >"$ca/localca.conf" <<END
statedir = $ca
signingkey = $ca/signkey.pem
issuercert = $ca/issuercert.pem
certserial = $ca/certserial
END
    cat >"$ca/localca.options" <<END
--platform-manufacturer Avow
--platform-version 1.0
--platform-model Test
END
    cat >"$ca/setup.conf" <<END
create_certs_tool = $(command -v swtpm_localca)
create_certs_tool_config = $ca/localca.conf
create_certs_tool_options = $ca/localca.options
END
}

manufacture() {
    dir=$1 ca=$2
    mkdir -p "$dir/state.new" "$ca"
    (
        flock 9 # one at a time: the CA is made by whoever comes first
        [ -f "$ca/setup.conf" ] || write_ca_config "$ca"
        swtpm_setup --tpm2 --tpm-state "$dir/state.new" --create-ek-cert --config "$ca/setup.conf" \
            --pcr-banks "${SWTPM_BANKS:-sha1,sha256,sha384}" --overwrite --logfile "$dir/setup.log" \
            >"$dir/setup.err" 2>&1
    ) 9>"$ca/lock" || {
        tail -n 20 "$dir/setup.log" "$dir/setup.err" >&2
        fail "could not make a TPM in $dir"
    }
    mv "$dir/state.new" "$dir/state"
}

start() {
    mkdir -p "$1"
    dir=$(cd "$1" && pwd)
    ca=${2:-$dir/ca}
    mkdir -p "$ca"
    ca=$(cd "$ca" && pwd)
    ! pid_of "$dir" >/dev/null || fail "$dir is running already"
    [ -d "$dir/state" ] || manufacture "$dir" "$ca"
    sock=$(socket_dir "$dir")
    rm -f "$dir/tpm.sock" "$dir/tpm.sock.ctrl" "$dir/swtpm.pid"
    swtpm socket --tpm2 --daemon --tpmstate "dir=$dir/state" --pid "file=$dir/swtpm.pid" \
        --server "type=unixio,path=$sock/tpm.sock" --ctrl "type=unixio,path=$sock/tpm.sock.ctrl" \
        --flags not-need-init,startup-clear --log "file=$dir/swtpm.log,level=1" 2>>"$dir/swtpm.log" ||
        fail "swtpm does not start, see $dir/swtpm.log"
    tries=$((${SWTPM_WAIT_S:-10} * 20))
    while ! { [ -S "$dir/tpm.sock" ] && pid_of "$dir" >/dev/null; }; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || fail "swtpm does not answer, see $dir/swtpm.log"
        sleep 0.05
    done
    tcti_of "$dir"
}

end_process() {
    dir=$1 signal=$2
    pid=$(pid_of "$dir") || return 0
    kill "-$signal" "$pid" 2>/dev/null || true
    tries=$((${SWTPM_WAIT_S:-10} * 20))
    while kill -0 "$pid" 2>/dev/null && pid_of "$dir" >/dev/null; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || fail "swtpm $pid does not end"
        sleep 0.05
    done
    rm -f "$dir/swtpm.pid" "$dir/tpm.sock" "$dir/tpm.sock.ctrl"
}

stop() {
    [ -d "$1" ] || return 0
    dir=$(cd "$1" && pwd)
    if pid_of "$dir" >/dev/null; then
        timeout 5 tpm2_shutdown -T "$(tcti_of "$dir")" -c 2>/dev/null || true
    fi
    end_process "$dir" TERM
    link=$(socket_dir "$dir")
    [ "$link" = "$dir" ] || rm -f "$link"
}

store() {
    mkdir -p "$2"
    cp "$1/issuercert.pem" "$2/swtpm-issuer.pem"
    cp "$1/swtpm-localca-rootca-cert.pem" "$2/swtpm-root.pem"
}

command=${1:-}
[ "$#" -ge 2 ] || fail "usage: start DIR [CA_DIR] | stop DIR | kill DIR | reboot DIR | tcti DIR | store CA_DIR OUT"
shift
case "$command" in
start) start "$@" ;;
stop) stop "$1" ;;
kill) end_process "$(cd "$1" && pwd)" KILL ;;
reboot)
    stop "$1"
    start "$@"
    ;;
tcti) tcti_of "$(cd "$1" && pwd)" ;;
store)
    [ "$#" -eq 2 ] || fail "usage: store CA_DIR OUT"
    store "$1" "$2"
    ;;
*) fail "unknown command: $command" ;;
esac
