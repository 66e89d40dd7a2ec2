#!/bin/sh
# The tests on another processor or system: built for it, run by its emulator or run-time. From the repository root:
#     sh tests/platforms.sh PLATFORM [TEST...]          those tests, or all that the platform can run
# PLATFORM is one of aarch64 riscv64 armhf i386 s390x powerpc (the last two big-endian) windows windows32 wasi musl tcc.
# What cannot run there is skipped, and said why. Ends with "N passed, N failed, N skipped". LIMIT: seconds a test.
# LEVEL: that of the compiler; else -O1 for tests that compute for long, and -O0, which builds in half the time.
# An emulated processor goes through one in ten of the cases of one kind: VAE_TEST_ONE_IN, which tests/test.h explains.
set -u
platform=$1
shift
build=${BUILD:-build/platforms}/$platform limit=${LIMIT:-3000}
passed=0 failed=0 skipped=0 ran=0 one_in=1
common="-std=c99 -w -DVAE_STATIC"      # what a test leaves out need not be compiled
mkdir -p "$build" build || exit 1      # tests write into build

have() { command -v "$1" >/dev/null 2>&1; }
linux() {           # linux PREFIX EMULATOR
    tools="$1-gcc $2" compiler="$1-gcc $common -static" runner=$2 one_in=10
}
case $platform in
aarch64) linux aarch64-linux-gnu qemu-aarch64 ;;
riscv64) linux riscv64-linux-gnu qemu-riscv64 ;;
armhf) linux arm-linux-gnueabihf qemu-arm ;;
s390x) linux s390x-linux-gnu qemu-s390x    # -std=c99 computes floats in double here, those of the tests too
    compiler="$compiler -fexcess-precision=fast" ;;
powerpc) linux powerpc-linux-gnu qemu-ppc ;;
i386) tools=gcc runner= compiler="gcc $common -m32 -msse2 -mfpmath=sse -idirafter /usr/include/x86_64-linux-gnu" ;;
windows) tools=x86_64-w64-mingw32-gcc compiler="x86_64-w64-mingw32-gcc $common -D__USE_MINGW_ANSI_STDIO=1 -static" ;;
windows32) tools=i686-w64-mingw32-gcc runner=wine
    compiler="i686-w64-mingw32-gcc $common -msse2 -mfpmath=sse -D__USE_MINGW_ANSI_STDIO=1 -static" ;;
wasi) tools="clang node" runner="node --no-warnings $build/run.mjs"
    compiler="clang --target=wasm32-wasi $common -Wl,-z,stack-size=1048576 -D_WASI_EMULATED_GETPID" ;;
musl) tools=musl-gcc runner= compiler="musl-gcc $common -static" ;;
tcc) tools=tcc runner= compiler="tcc -w" ;;
*) echo "there is no platform called $platform"; exit 1 ;;
esac
case $platform in windows*)
    runner=$(command -v wine64 || command -v wine || ls /usr/lib/wine/wine64 2>/dev/null)
    export WINEPREFIX="$(cd "$build" && pwd)/wine" WINEDEBUG=-all
    trap 'sleep 5; rm -rf "$WINEPREFIX"' EXIT ;;        # hundreds of megabytes, in use for some seconds yet
esac

export VAE_TEST_ONE_IN="${VAE_TEST_ONE_IN:-$one_in}"

leave_out() { echo "SKIPPED all on $platform: $1"; echo "0 passed, 0 failed, 1 skipped"; exit 0; }
for tool in $tools; do have "$tool" || leave_out "$tool is not installed"; done
case $platform in windows*) [ -n "$runner" ] || leave_out "wine is not installed" ;; esac
printf '#include <errno.h>\n#include <math.h>\nint main(void) { return errno; }\n' >"$build/trial.c"
$compiler "$build/trial.c" -o "$build/trial" -lm >"$build/trial.log" 2>&1 || leave_out "its C library is not installed"

if [ "$platform" = wasi ]; then cat >"$build/run.mjs" <<'JS'
import { WASI } from 'node:wasi';
import { readFileSync } from 'node:fs';
const wasi = new WASI({ version: 'preview1', args: process.argv.slice(2), env: process.env, returnOnExit: true,
                        preopens: { '.': '.', '/tmp': '/tmp' } });
const program = await WebAssembly.compile(readFileSync(process.argv[2]));
process.exit(wasi.start(await WebAssembly.instantiate(program, wasi.getImportObject())));
JS
fi

spend() {           # leaves in `spent` the seconds that processors worked for this script since the last call
    times >"$build/times"
    was=$worked worked=$(sed -n '2{s/[ms]/ /g;p;}' "$build/times" | awk '{ printf "%d", 60 * $1 + $2 + 60 * $3 + $4 + 0.5 }')
    spent=$((worked - was))
}
worked=0

reason() {          # reason TEST: why it cannot run here; nothing where it can
    case $platform:$1 in
    windows*:test_export) echo "it starts a compiler, which would be this machine's" ;;
    *:test_examples) echo "it starts the example programs, which are built for this machine" ;;
    wasi:test_threads) echo "WASI has no threads" ;;
    wasi:test_export) echo "it starts a compiler; WASI has no processes" ;;
    aarch64:test_mnist | riscv64:test_mnist | armhf:test_mnist | s390x:test_mnist | powerpc:test_mnist | tcc:test_mnist)
        echo "it trains on all of MNIST, for an hour here" ;;
    esac
}

level_of() {
    case $1 in
    test_combinations | test_configs | test_data | test_evaluation | test_files | test_gradients | test_layers) echo -O1 ;;
    test_learning | test_likelihoods | test_math | test_mnist | test_product | test_statistics) echo -O1 ;;
    test_small) echo -O1 -DVAE_SMALL ;;         # whose bounds on memory and stack it holds where pointers have 32 bits
    *) echo -O0 ;;
    esac
}

run_test() {
    test=$1 program=$build/$1.exe log=$build/$1.log
    why=$(reason "$test")
    spend
    if [ -n "$why" ]; then skipped=$((skipped + 1)); echo "SKIPPED $platform $test: $why"; return; fi
    case $platform in wasi) libraries="-lm -lwasi-emulated-getpid" ;; *) libraries="-lm -lpthread" ;; esac
    level=${LEVEL:-$(level_of "$test")}
    [ "$platform" = tcc ] && level=
    if ! $compiler $level "tests/$test.c" -o "$program" $libraries >"$log" 2>&1; then
        failed=$((failed + 1))
        echo "FAILED  $platform $test does not build"
        head -n 20 "$log" | sed 's/^/        /'
        return
    fi
    spend
    built=$spent
    timeout "$limit" $runner "$program" >"$log" 2>&1 </dev/null
    status=$?
    spend
    line=$(tr -d '\r' <"$log" | grep -E '^[0-9]+ passed, [0-9]+ failed' | tail -n 1)
    if [ -z "$line" ]; then
        failed=$((failed + 1))
        echo "FAILED  $platform $test ended with status $status before its closing line"
        tail -n 20 "$log" | sed 's/^/        /'
        return
    fi
    echo "$platform $test: $line (built in $built s, ran $spent s of processor time)"
    grep -E '^(FAILED|SKIPPED)|^tests/' "$log" | sed 's/^/        /'
    set -- $(echo "$line" | tr -c '0-9\n' ' ')
    passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + ${3:-0}))
    ran=$((ran + 1))
    rm -f "$program"
}

[ $# -gt 0 ] || set -- $(cd tests && ls test_*.c | sed 's/\.c$//')
for test in "$@"; do run_test "$test"; done
[ "$VAE_TEST_ONE_IN" -gt 1 ] && shortened=", one in $VAE_TEST_ONE_IN of the cases of one kind" || shortened=
echo "$platform: $ran of $# test programs ran to their end$shortened"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
