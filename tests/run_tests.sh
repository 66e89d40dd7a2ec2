#!/bin/sh
# sh tests/run_tests.sh MAKE PROGRAM...: has MAKE build and run the test programs and build the examples, several at a
# time; shows what each program says, in the order given; adds up their closing lines "N passed, N failed[, N skipped]",
# which count named tests. What was not built is a failure.
make=$1
shift
folder=${1%/*}
passed=0 failed=0 skipped=0 logs=

for program in "$@"; do logs="$logs $program.log"; done
case ${MAKEFLAGS%% *} in
-* | *=*) ;;
*n*) exec $make $logs examples ;;       # make -n: only what would be done
esac
case " $MAKEFLAGS" in
*" -j"* | *--jobserver*) jobs= ;;
*) jobs=-j$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1) ;;
esac
# Keeps the output of jobs apart, where make can (version 4).
case $($make --version 2>/dev/null) in *"GNU Make 3"*) ;; "GNU Make"*) jobs="$jobs --output-sync=target" ;; esac

show() {        # what the program says, without what is counted below
    echo "== ${1##*/}"
    grep -vE '^[0-9]+ passed, [0-9]+ failed|^ended with status [0-9]+$' "$1.log"
}
is_over() { grep -q 'ended with status [0-9]*$' "$1.log" 2>/dev/null; }

mkdir -p "$folder" && rm -f $logs
{ $make $jobs -k --no-print-directory $logs examples 2>&1; echo "make ended with status $?"; } | {
    while IFS= read -r line; do
        case $line in
        "finished "*) while [ $# -gt 0 ] && is_over "$1"; do show "$1"; shift; done ;;
        "make ended with status "*) echo "${line##* }" >"$folder/make_test.status" ;;
        *": Nothing to be done for "*) ;;
        *) printf '%s\n' "$line" ;;
        esac
    done
    for program in "$@"; do is_over "$program" && show "$program"; done
}
read -r built <"$folder/make_test.status"

for program in "$@"; do
    log="$program.log"
    if [ ! -e "$log" ]; then
        echo "FAILED ${program##*/}: it was not built, for the reason above"
        failed=$((failed + 1)) built=0
        continue
    fi
    status=$(sed -n 's/.*ended with status \([0-9]*\)$/\1/p' "$log" | tail -n 1)
    line=$(grep -E '^[0-9]+ passed, [0-9]+ failed' "$log" | tail -n 1)
    if [ -z "$line" ]; then
        echo "FAILED ${program##*/}: it ended with status $status before its closing line"
        failed=$((failed + 1))
        continue
    fi
    set -- $(echo "$line" | tr -c '0-9\n' ' ')
    passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + ${3:-0}))
    if [ "$status" -ne 0 ] && [ "$2" -eq 0 ]; then
        echo "FAILED ${program##*/}: it ended with status $status"
        failed=$((failed + 1))
    fi
done
if [ "$built" != 0 ]; then
    echo "FAILED examples: they were not built, for the reason above"
    failed=$((failed + 1))
fi
if [ "$skipped" -gt 0 ]; then
    echo "$passed passed, $failed failed, $skipped skipped"
else
    echo "$passed passed, $failed failed"
fi
[ "$failed" -eq 0 ]
