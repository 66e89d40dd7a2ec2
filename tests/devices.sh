#!/bin/sh
# What a small network takes on Cortex-M3 and M4F under qemu: the library's code, the stack and the instructions of its
# calls, and the RAM that examples/sensor.c takes to learn; whether it learns the weights it learns here; and that what
# is built with VAE_NO_DOUBLE has no arithmetic of doubles. `make sensor-qemu` runs it.
#   sh tests/devices.sh [FOLDER]     Exit status: 0 all well or skipped, 1 something is larger or other than it may be.
folder=${1:-build}
for tool in arm-none-eabi-gcc arm-none-eabi-nm arm-none-eabi-size qemu-system-arm; do
    command -v $tool >/dev/null && continue
    echo "SKIPPED: no $tool (Debian: gcc-arm-none-eabi picolibc-arm-none-eabi qemu-system-arm)"
    exit 0
done
mkdir -p "$folder" && ${CC:-cc} -std=c99 -O2 -I. examples/sensor.c -o "$folder/sensor-here" -lm || exit 1
"$folder/sensor-here" >"$folder/sensor-here.txt" || exit 1
failed=0
complain() { echo "FAILED: $*"; failed=1; }

build() {       # build OUTPUT RAM FLAGS... SOURCE
    output=$1 ram=$2
    shift 2
    arm-none-eabi-gcc -std=c99 -Os -mthumb $processor --specs=picolibc.specs --crt0=hosted --oslib=semihost -I. \
        -DPICOLIBC_INTEGER_PRINTF_SCANF -ffunction-sections -fdata-sections -Wl,--gc-sections -Wl,--defsym=__flash=0 \
        -Wl,--defsym=__flash_size=4M -Wl,--defsym=__ram=0x20000000 -Wl,--defsym=__ram_size=$ram \
        -Wl,--defsym=__stack_size=0x500 "$@" -o "$output" || { complain "$output is not built"; return 1; }
}

run() {
    timeout 100 qemu-system-arm -M $board -nographic -monitor none -serial none \
        -icount shift=5 -semihosting-config enable=on,target=native -kernel "$1" </dev/null 2>&1
}

code() {        # code NAME LIMIT FLAGS...: bytes of the library's functions and tables in the linked program, those of
                # device.c included, into which the compiler takes some of them whole
    name=$1 limit=$2
    shift 2
    build "$folder/device-size.elf" 64K -flto "$@" tests/device.c || return
    bytes=$(arm-none-eabi-nm -S -t d "$folder/device-size.elf" |
        awk '$4 ~ /^(vae|create|decode|train|score|quantile)/ && $3 ~ /[tTrR]/ { sum += $2 } END { print sum + 0 }')
    echo "  code, $name: $bytes bytes of at most $limit"
    [ "$bytes" -le "$limit" ] || complain "more than $limit bytes of code"
    doubles=$(doubles_in "$folder/device-size.elf")
    echo "      beside it, functions of double arithmetic from libgcc: $doubles"
    case $* in *VAE_DECODE_ONLY* | *VAE_NO_DOUBLE*) [ "$doubles" = 0 ] || complain "it takes doubles" ;; esac
}

doubles_in() { arm-none-eabi-nm "$1" | grep -Ec ' __aeabi_(d[a-z0-9]+|[a-z]+2d)$'; }

for board in mps2-an385 mps2-an386; do
    case $board in
    mps2-an385) processor="-mcpu=cortex-m3" limit=25088 floats=24064; echo "Cortex-M3" ;;
    *) processor="-mcpu=cortex-m4 -mfloat-abi=hard -mfpu=fpv4-sp-d16" limit=24576 floats=23296; echo "Cortex-M4F" ;;
    esac
    code "training and scores" $limit
    code "the same with VAE_NO_DOUBLE" $floats -DVAE_NO_DOUBLE
    code "a decoder" 12288 -DVAE_INFERENCE_ONLY -DVAE_DECODE_ONLY
    for option in "" -DVAE_NO_DOUBLE; do
        build "$folder/device.elf" 64K $option tests/device.c || continue
        echo "  calls${option:+ with ${option#-D}}:"
        run "$folder/device.elf" || complain "more than 1 KB of stack, or a failed call"
    done
    build "$folder/sensor.elf" 12K examples/sensor.c || continue
    [ "$(doubles_in "$folder/sensor.elf")" = 0 ] || complain "sensor.c takes doubles"
    arm-none-eabi-size "$folder/sensor.elf" | awk 'NR == 2 { print "  sensor.c: an image of " $1 + $2 " bytes" }'
    run "$folder/sensor.elf" >"$folder/sensor.txt" || complain "sensor.c ended with a failure"
    sed 's/^/  /' "$folder/sensor.txt"
    grep -v '^RAM' "$folder/sensor.txt" | cmp -s - "$folder/sensor-here.txt" ||
        complain "it says something else than on this machine"
    ram=$(sed -n 's/^RAM.* \([0-9]*\) bytes$/\1/p' "$folder/sensor.txt")
    [ "${ram:-99999}" -le 12288 ] || complain "sensor.c takes more than 12 KB of RAM"
done
exit $failed
