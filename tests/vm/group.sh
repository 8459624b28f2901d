# shellcheck shell=bash disable=SC2154 # sourced where tests/support/lib.sh is, whose variables these are
# The group `vm`: run by tests/run among the others, and by tests/vm/run alone.

group_vm() {
    build release || return 0
    if ! logged vm-deps 900 tests/vm/vm.sh deps; then
        problem "what virtual machines need cannot be installed"
        show_tail "$logs/vm-deps.log"
        return
    fi
    if ! logged vm-build 900 tests/vm/vm.sh build; then
        problem "the guest's image cannot be built"
        show_tail "$logs/vm-build.log"
        return
    fi
    if ! logged kafka-fetch 900 tests/support/kafka/kafka.sh fetch; then
        problem "Apache Kafka's jars cannot be had"
        show_tail "$logs/kafka-fetch.log"
        return
    fi
    rm -f "$logs/vm.xml"
    AVOW_BIN=$root/build/release/bin PYTHONDONTWRITEBYTECODE=1 \
        logged vm 1800 build/venv/bin/python -m pytest tests/vm -p no:cacheprovider -v -rA --durations=10 \
        --junitxml="$logs/vm.xml" || true # the file tells
    count_junit "$logs/vm.xml" "$logs/vm.log"
}
