#!/bin/sh
# Runs the test programs given and adds up their closing lines "N passed, N failed[, N skipped]".
passed=0 failed=0 skipped=0
for program in "$@"; do
    echo "== ${program##*/}"
    log="$program.log"
    "$program" >"$log" 2>&1
    status=$?
    line=$(grep -E '^[0-9]+ passed, [0-9]+ failed' "$log" | tail -n 1)
    grep -v -E '^[0-9]+ passed, [0-9]+ failed' "$log"
    if [ -z "$line" ]; then
        echo "$program ended with status $status before its closing line"
        failed=$((failed + 1))
        continue
    fi
    set -- $(echo "$line" | tr -c '0-9\n' ' ')
    passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + ${3:-0}))
    if [ "$status" -ne 0 ] && [ "$2" -eq 0 ]; then
        echo "$program ended with status $status"
        failed=$((failed + 1))
    fi
done
if [ "$skipped" -gt 0 ]; then
    echo "$passed passed, $failed failed, $skipped skipped"
else
    echo "$passed passed, $failed failed"
fi
[ "$failed" -eq 0 ]
