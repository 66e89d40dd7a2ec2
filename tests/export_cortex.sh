#!/bin/sh
# What exported files take on Cortex-M3 and M4F, against limits, and whether they give the same bits there. To be run in
# the repository's root after build/test_export, with the folder in which that left its networks.
#     sh tests/export_cortex.sh [FOLDER]
folder=${1:-build/export}
fail() { echo "export: $*"; exit 1; }
m4="-mthumb -mcpu=cortex-m4 -mfloat-abi=hard -mfpu=fpv4-sp-d16"
image="--specs=picolibc.specs --crt0=semihost --oslib=semihost -Wl,--defsym=__flash=0,--defsym=__flash_size=4M
    -Wl,--defsym=__ram=0x20000000,--defsym=__ram_size=4M"

mkdir -p "$folder" || exit 1
make build/export_c >/dev/null || exit 1
cc -O1 -I. tests/export_models.c -o "$folder/export_models" -lm && "$folder/export_models" "$folder" || exit 1

# size NAME TEXT SCRATCH [TYPE]: code without constants, and bytes of scratch and stack, at most
size() {
    type=${4:-float}
    [ "$type" = float ] || type="int8 --calibrate $folder/rows.csv"
    build/export_c "$folder/$1.safetensors" --part decoder --type $type --name "$1" --out "$folder/$1.h" >/dev/null ||
        exit 1
    capitals=$(echo "$1" | tr a-z A-Z)
    printf '#include "%s.h"\nvoid run(const float *z, float *pixels, float *scratch);\n' "$1" >"$folder/$1.c"
    printf 'void run(const float *z, float *pixels, float *scratch) { %s_decode(z, pixels, scratch); }\n' "$1" \
        >>"$folder/$1.c"
    arm-none-eabi-gcc -std=c99 -Os $m4 -Wall -Wextra -Wpedantic -Wconversion -Werror -fstack-usage -c "$folder/$1.c" \
        -o "$folder/$1.o" || fail "$1 does not compile"
    [ -z "$(arm-none-eabi-nm -u "$folder/$1.o")" ] || fail "$1 calls $(arm-none-eabi-nm -u "$folder/$1.o")"
    text=$(arm-none-eabi-size -A "$folder/$1.o" | awk '/^\.text/ { n += $2 } END { print n }')
    constants=$(arm-none-eabi-size -A "$folder/$1.o" | awk '/^\.rodata/ { n += $2 } END { print n }')
    kept=$(arm-none-eabi-size -A "$folder/$1.o" | awk '/^\.(data|bss)/ { n += $2 } END { print n + 0 }')
    stack=$(awk -F '\t' '{ n += $2 } END { print n }' "$folder/$1.su")
    scratch=$(sed -n "s/.*${capitals}_DECODE_SCRATCH = .* \([0-9]*\) bytes.*/\1/p" "$folder/$1.h")
    echo "$1 in ${4:-float}: code $text, constants $constants, scratch $scratch, stack at most $stack, kept $kept bytes"
    [ "$text" -le "$2" ] && [ $((scratch + stack)) -le "$3" ] && [ "$kept" = 0 ] || fail "$1 is above $2 or $3"
}
size sensor 2048 204
size dense 2048 1740
size convolutional 5120 100000
size dense 2048 1740 int8
size convolutional 5120 20000 int8

# cost NAME PART TYPE M3 M4: instructions for each multiply-add, all else included, in hundredths and at most.
cost() {
    type=$3
    [ "$type" = float ] || type="int8 --calibrate $folder/rows.csv"
    build/export_c "$folder/$1.safetensors" --part "$2" --type $type --name net --out "$folder/cost.h" >/dev/null ||
        exit 1
    macs=$(awk -v name="$1" -v part="$2" '$1 == name && $2 == part { print $3 }' "$folder/macs.txt")
    part= said="$1 $2 in $3: $macs multiply-adds, of"
    [ "$2" = decoder ] || part=-DENCODER
    for target in "mps2-an385 $4 -mcpu=cortex-m3" "mps2-an386 $5 $m4"; do
        set -- $target
        board=$1 limit=$2
        shift 2
        arm-none-eabi-gcc -std=gnu17 -Os -mthumb "$@" $image -DPICOLIBC_INTEGER_PRINTF_SCANF $part -I"$folder" \
            tests/export_cost.c -o "$folder/cost.elf" || fail "export_cost.c"
        counts=$(timeout 100 qemu-system-arm -M $board -nographic -monitor none -serial none -icount shift=5 \
            -semihosting-config enable=on,target=native -kernel "$folder/cost.elf" </dev/null 2>&1) || fail "$board"
        set -- $counts
        hundredths=$(($1 * 100 / macs))
        said="$said $((hundredths / 100)).$(printf %02d $((hundredths % 100)))"
        [ $hundredths -le $limit ] || fail "$said instructions, more than $limit hundredths"
    done
    echo "$said instructions on M3 and M4F"
}
cost sensor decoder float 27000 1500
cost dense decoder float 7700 340
cost dense decoder int8 360 190
cost convolutional decoder float 7800 430
cost convolutional decoder int8 420 250
cost convolutional encoder float 7900 370
cost convolutional encoder int8 460 250

# The networks of test_export, with the library's own bits in them.
arm-none-eabi-gcc -std=gnu17 -Os $m4 $image "$folder/networks.c" -o "$folder/networks.elf" -lm || fail "networks.c"
timeout 120 qemu-system-arm -M mps2-an386 -nographic -monitor none -serial none \
    -semihosting-config enable=on,target=native -kernel "$folder/networks.elf" </dev/null ||
    fail "other bits on Cortex-M4F"
