# shellcheck shell=bash disable=SC2034,SC2154 # `root` and `logs` are the caller's, the counts are for it
# lib.sh - what the groups of tests/run share: building a preset once, running a tool with its log, counting.
# The caller sets `root` and `logs`. Everything that tools print goes to files in `logs`: the terminal gets one line
# a group, and the end of the log when something failed.

passed=0 failed=0             # of all groups
results=()                    # the JUnit files of this run
group_passed=0 group_failed=0 # of the group that runs

count() { # PASSED FAILED
    group_passed=$((group_passed + $1))
    group_failed=$((group_failed + $2))
}

# A failure that no tool counted.
problem() { # TEXT...
    echo "    $*"
    count 0 1
}

# The end of a log, marked, so that a tool's own closing line is not taken for ours.
show_tail() { # FILE [LINES]: without what ctest says of tests that passed
    if [ -s "$1" ]; then
        grep -avE '^ *(Start +[0-9]+:|[0-9]+/[0-9]+ Test .* Passed )' "$1" | tail -n "${2:-40}" | cut -c1-250 |
            sed 's/^/    | /' || true
    fi
    echo "    | whole log: $1"
}

# Runs a command into logs/NAME.log. With a time limit, because a hanging test must fail and not hang the gate.
logged() { # NAME SECONDS COMMAND...
    local name=$1 seconds=$2
    shift 2
    timeout --kill-after=20 "$seconds" "$@" >"$logs/$name.log" 2>&1 </dev/null
}

# Configures and builds a preset, once a run: all of it, or the targets whose name begins so.
declare -A built
build() { # PRESET [PREFIX]
    local preset=$1 targets=(all)
    if [ -n "${built[$preset]:-}" ]; then [ "${built[$preset]}" = ok ] && return 0 || return 1; fi
    built[$preset]=failed
    if ! logged "configure-$preset" 300 cmake --preset "$preset"; then
        problem "preset $preset does not configure"
        show_tail "$logs/configure-$preset.log"
        return 1
    fi
    if [ -n "${2:-}" ]; then
        mapfile -t targets < <(ninja -C "build/$preset" -t targets all | sed -n "s/^\\($2[A-Za-z0-9_]*\\): phony\$/\\1/p")
    fi
    if ! logged "build-$preset" 3000 cmake --build --preset "$preset" --parallel --target "${targets[@]}"; then
        problem "preset $preset does not build"
        grep -m 12 -E '(error|FAILED|undefined reference)' "$logs/build-$preset.log" | cut -c1-200 | sed 's/^/    | /'
        echo "    | whole log: $logs/build-$preset.log"
        return 1
    fi
    built[$preset]=ok
}

# Counts the tests of a JUnit file. A skipped test counts as failed: what cannot run proves nothing.
count_junit() { # FILE LOG
    local result p f
    if ! result=$(/usr/bin/python3 "$root/tests/support/junit_counts.py" "$1" 2>&1); then
        problem "no result in $1: $result"
        show_tail "$2"
        return
    fi
    results+=("$1")
    read -r p f <<<"$(head -n 1 <<<"$result")"
    count "$p" "$f"
    tail -n +2 <<<"$result" | sed -n 's/^/    failed: /p'
    if [ $((p + f)) -eq 0 ]; then problem "no test ran"; fi
    if [ "$f" -gt 0 ]; then show_tail "$2"; fi
}

# Counts what cmocka programs wrote into a log. A program that crashed wrote nothing: its exit code tells.
count_cmocka() { # LOG EXIT-CODE
    local p f
    p=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) test(s)\.$/\1/p' "$1" | awk '{n += $1} END {print n + 0}')
    f=$(sed -n 's/^\[  FAILED  \] \([0-9]*\) test(s), listed below:$/\1/p' "$1" | awk '{n += $1} END {print n + 0}')
    count "$p" "$f"
    if [ "$f" -eq 0 ] && [ "$2" -ne 0 ]; then problem "it ended with exit code $2"; fi
    if [ "$2" -ne 0 ]; then show_tail "$1"; fi
}

# Tests of a build folder that the options choose. The file has the whole output: it names what each program tested.
run_ctest() { # PRESET NAME CTEST-OPTION...
    local preset=$1 name=$2
    shift 2
    rm -f "$logs/$name.xml"
    logged "$name" 1800 ctest --test-dir "$root/build/$preset" --output-on-failure \
        --test-output-size-passed 100000000 --test-output-size-failed 100000000 \
        --parallel "$(nproc)" --output-junit "$logs/$name.xml" "$@" || true # the file tells what failed
    count_junit "$logs/$name.xml" "$logs/$name.log"
}
