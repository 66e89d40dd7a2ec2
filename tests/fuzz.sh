#!/bin/sh
# Runs every fuzz target for some seconds: fuzz.sh BUILD SECONDS. With clang's libFuzzer where that is installed, else
# by the targets' own driver. An input that breaks something is kept in BUILD/fuzz, and its path is printed.
#     CLANG=clang-14      another clang
#     FLAGS="-m32 ..."    further flags for the targets
#     ENTRIES="csv path"  those targets alone
build=$1 seconds=$2 clang=${CLANG:-clang} folder=$1/fuzz failed=0
sanitizers="-g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all"
mkdir -p "$folder/corpus" || exit 1
printf 'int LLVMFuzzerTestOneInput(const unsigned char *input, unsigned long size) { return input[0] && !size; }\n' \
    >"$folder/trial.c"
if $clang $FLAGS -fsanitize=fuzzer,address,undefined "$folder/trial.c" -o "$folder/trial" 2>/dev/null; then
    # Comparisons are not traced: the dictionary and the changes field by field do better, three times as fast.
    compile="$clang $sanitizers -DFUZZ_LIBFUZZER -fsanitize=fuzzer -fno-sanitize-coverage=trace-cmp,trace-div,trace-gep"
else
    echo "$clang has no libFuzzer here (libclang-rt-14-dev): inputs are drawn without looking at what they reach"
    compile="${CC:-cc} $sanitizers"
fi
${CC:-cc} -O1 tests/test_fuzz.c -o "$folder/seeds" -lm &&
    "$folder/seeds" --corpus "$folder/corpus" &&
    $compile $FLAGS tests/fuzz_readers.c -o "$folder/readers" -lm &&
    $compile $FLAGS tests/fuzz_files.c -o "$folder/files" -lm || exit 1
run() {         # run PROGRAM ENTRY FLAGS...
    program=$1 entry=$2
    shift 2
    case " ${ENTRIES:-$entry} " in *" $entry "*) ;; *) return ;; esac
    case $compile in
    *LIBFUZZER*)
        ASAN_OPTIONS=quarantine_size_mb=8 "$folder/$program" --entry=$entry -max_total_time=$seconds -timeout=20 \
            -print_final_stats=1 -rss_limit_mb=2048 -use_cmp=0 -entropic=0 -artifact_prefix="$folder/$entry-" "$@" \
            "$folder/corpus/$entry" >"$folder/$entry.log" 2>&1 ;;
    *) "$folder/$program" --entry=$entry --seconds=$seconds "$folder/corpus/$entry" >"$folder/$entry.log" 2>&1 ;;
    esac
    if [ $? -ne 0 ]; then
        failed=1
        echo "FAILED $entry"
        tail -n 40 "$folder/$entry.log"
    else
        sed -n -e "s/^stat::number_of_executed_units: *\(.*\)/$entry: \1 executions, no finding/" \
            -e '/executions, no finding$/p' "$folder/$entry.log"
    fi
}
for entry in memory weights path; do run files $entry -max_len=4096 -dict=tests/corpus/files.dict; done
run files checkpoint -max_len=8192 -dict=tests/corpus/files.dict
for entry in idx csv image options; do run readers $entry -max_len=1024; done
exit $failed
