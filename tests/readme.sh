#!/bin/sh
# Compiles the README's C snippets as C and as C++, with the names that they use declared before them. To be run in the
# repository's root.
folder=build/readme
cc=${CC:-cc} cxx=${CXX:-c++}
warnings='-Wall -Wextra -Wpedantic -Wshadow -Werror'
fail() { echo "README: $*"; exit 1; }

rm -rf "$folder" && mkdir -p "$folder" && cp vae.h "$folder" || exit 1
# Each ```c block, indented or not, becomes a file of its own.
awk -v folder="$folder" '
    /^ *```c$/ { file = sprintf("%s/block%02d.c", folder, ++count); next }
    /^ *```$/  { if (file) close(file); file = "" }
    file       { print > file }' README.md
cd "$folder" || exit 1
command -v "$cxx" >/dev/null || { echo "README: not tried as C++, there is no $cxx"; cxx=; }

rm -f block01.c   # the first program, which .ci/run builds and runs
cat >names.h <<'END'
#include <stdio.h>
#include "vae.h"
enum { COUNT = 10, PIXELS = 784 };
extern vae_model *model, *view;
extern vae_config config;
extern vae_fit_config fit;
extern vae_data data;
extern vae_error error;
extern unsigned char images[];
extern float table[], series[], mean[], pixels[], chances[], spread[];
extern int labels[], wanted[];
extern double score[], each[];
extern int n;
extern size_t rows, latent, active, i, d;
int snippet(void);
END
for block in block[0-9]*.c; do
    [ -e "$block" ] || fail "there are no snippets"
    if grep -q '#include' "$block"; then cat "$block"
    else
        echo '#include "names.h"'
        echo 'int snippet(void) {'
        cat "$block"
        echo 'return 0; }'
    fi >snippet.c
    cp snippet.c snippet.cpp
    $cc -std=c99 $warnings -fsyntax-only snippet.c || fail "this snippet does not compile: $(cat "$block")"
    [ -z "$cxx" ] || $cxx -std=c++11 $warnings -fsyntax-only snippet.cpp ||
        fail "this snippet is no C++: $(cat "$block")"
done
echo "README: $(ls block*.c | wc -l | tr -d ' ') snippets compile"
