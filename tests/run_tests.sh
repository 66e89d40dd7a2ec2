#!/bin/sh
# Runs the test programs given, shows what they say as they say it, and adds up their closing lines
# "N passed, N failed[, N skipped]", which count named tests.
passed=0 failed=0 skipped=0
for program in "$@"; do
    echo "== ${program##*/}"
    log="$program.log"
    { "$program" 2>&1; echo "ended with status $?"; } | tee "$log" |
        awk '!/^[0-9]+ passed, [0-9]+ failed/ && !/^ended with status / { print; fflush() }'
    status=$(sed -n 's/.*ended with status \([0-9]*\)$/\1/p' "$log" | tail -n 1)
    line=$(grep -E '^[0-9]+ passed, [0-9]+ failed' "$log" | tail -n 1)
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
