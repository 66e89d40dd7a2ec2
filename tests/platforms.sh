#!/bin/sh
# The tests on another processor or system: built for it, run by its emulator or run-time. From the repository root:
#     sh tests/platforms.sh PLATFORM [TEST...]          those tests, or all that the platform can run
# PLATFORM is one of aarch64 riscv64 armhf i386 s390x powerpc (the last two big-endian) windows windows32 wasi musl tcc.
# What cannot run there is skipped, and said why. Ends with "N passed, N failed, N skipped". LIMIT: seconds a test.
set -u
platform=$1
shift
build=${BUILD:-build/platforms}/$platform limit=${LIMIT:-3000}
passed=0 failed=0 skipped=0
common="-std=c99 -O1 -w"
mkdir -p "$build" || exit 1

have() { command -v "$1" >/dev/null 2>&1; }
linux() {           # linux PREFIX EMULATOR
    tools="$1-gcc $2" compiler="$1-gcc $common -static" runner=$2
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

reason() {          # reason TEST: why it cannot run here; nothing where it can
    case $platform:$1 in
    windows*:test_export) echo "it starts a compiler, which would be this machine's" ;;
    *:test_examples) echo "it starts the example programs, which are built for this machine" ;;
    wasi:test_export) echo "it starts a compiler; WASI has no processes" ;;
    esac
}

run_test() {
    test=$1 program=$build/$1.exe log=$build/$1.log began=$(date +%s)
    why=$(reason "$test")
    if [ -n "$why" ]; then skipped=$((skipped + 1)); echo "SKIPPED $platform $test: $why"; return; fi
    case $platform in wasi) libraries="-lm -lwasi-emulated-getpid" ;; *) libraries="-lm -lpthread" ;; esac
    if ! $compiler "tests/$test.c" -o "$program" $libraries >"$log" 2>&1; then
        failed=$((failed + 1))
        echo "FAILED  $platform $test does not build"
        head -n 20 "$log" | sed 's/^/        /'
        return
    fi
    arguments=
    [ "$test" = test_product ] && arguments=300
    timeout "$limit" $runner "$program" $arguments >"$log" 2>&1 </dev/null
    status=$?
    line=$(tr -d '\r' <"$log" | grep -E '^[0-9]+ passed, [0-9]+ failed' | tail -n 1)
    if [ -z "$line" ]; then
        failed=$((failed + 1))
        echo "FAILED  $platform $test ended with status $status before its closing line"
        tail -n 20 "$log" | sed 's/^/        /'
        return
    fi
    echo "$platform $test: $line ($(($(date +%s) - began)) s)"
    grep -E '^(FAILED|SKIPPED)|^tests/' "$log" | sed 's/^/        /'
    set -- $(echo "$line" | tr -c '0-9\n' ' ')
    passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + ${3:-0}))
    rm -f "$program"
}

[ $# -gt 0 ] || set -- $(cd tests && ls test_*.c | sed 's/\.c$//')
for test in "$@"; do run_test "$test"; done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
