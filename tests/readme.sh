#!/bin/sh
# Holds the README to its word: its first C program is compiled as C and as C++, and run; every other C snippet is
# compiled. To be run in the repository's root.
folder=build/readme
cc=${CC:-cc} cxx=${CXX:-c++}
warnings='-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror'
fail() { echo "README: $*"; exit 1; }

rm -rf "$folder" && mkdir -p "$folder" && cp vae.h "$folder" || exit 1
# Each ```c block, indented or not, becomes a file of its own.
awk -v folder="$folder" '
    /^ *```c$/ { file = sprintf("%s/block%02d.c", folder, ++count); next }
    /^ *```$/  { if (file) close(file); file = "" }
    file       { print > file }' README.md
cd "$folder" || exit 1

mv block01.c program.c && cp program.c program.cpp || fail "there is no C program"
have_cxx=$(command -v "$cxx")
for command in "$cc -std=c99" ${have_cxx:+"$cxx -std=c++11"}; do
    source=program.c
    [ "$command" = "$cc -std=c99" ] || source=program.cpp
    $command $warnings -O2 $source -o program -lm || fail "'$command' does not take the first program"
    rm -f digits.safetensors
    ./program >program.txt || fail "the first program of '$command' fails"
    grep -q '^epoch 8/8: loss' program.txt || fail "the first program of '$command' does not train"
    grep -q '@@@@' program.txt || fail "the first program of '$command' draws nothing"
    [ -s digits.safetensors ] || fail "the first program of '$command' saves nothing"
    cat program.txt
done

for block in block*.c; do
    if grep -q '#include' "$block"; then
        cat "$block" >snippet.c
        echo 'int main(void) { return 0; }' >>snippet.c
    else
        {
            echo '#include <stdio.h>'
            echo '#include "vae.h"'
            echo 'void snippet(vae_model *model, vae_model *view, vae_config config, vae_fit_config fit, vae_data data,'
            echo '             vae_error error, const unsigned char *images, const float *table, const float *series,'
            echo '             float *mean, float *pixels, double *score, double *each, int n, size_t latent);'
            echo 'void snippet(vae_model *model, vae_model *view, vae_config config, vae_fit_config fit, vae_data data,'
            echo '             vae_error error, const unsigned char *images, const float *table, const float *series,'
            echo '             float *mean, float *pixels, double *score, double *each, int n, size_t latent) {'
            echo '    size_t i = 0, d = 0, active = 0;'
            cat "$block"
            echo '    (void)model; (void)view; (void)config; (void)fit; (void)data; (void)error; (void)images; (void)n;'
            echo '    (void)table; (void)series; (void)mean; (void)pixels; (void)score; (void)each; (void)latent;'
            echo '    (void)i; (void)d; (void)active;'
            echo '}'
        } >snippet.c
    fi
    $cc -std=c99 $warnings -Wno-double-promotion -fsyntax-only snippet.c || fail "this snippet does not compile: $(cat "$block")"
    cp snippet.c snippet.cpp
    [ -z "$have_cxx" ] || $cxx -std=c++11 $warnings -fsyntax-only snippet.cpp ||
        fail "this snippet is no C++: $(cat "$block")"
done
echo "README: the program and $(ls block*.c | wc -l | tr -d ' ') snippets are as it says"
