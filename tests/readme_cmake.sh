#!/bin/sh
# Builds the README's first program with its lines for CMake. To be run in the repository's root, with a folder to
# work in.
folder=${1:?folder}
rm -rf "$folder" && mkdir -p "$folder" && cp vae.h "$folder" || exit 1
printf '#define VAE_IMPLEMENTATION\n#include "vae.h"\n' >"$folder/vae.c"
awk '/^```c$/ { on = 1; next } /^```$/ { if (on) exit } on && !/define VAE_IMPLEMENTATION/' README.md \
    >"$folder/program.c"
{
    printf 'cmake_minimum_required(VERSION 3.13)\nproject(program C)\n'
    awk '/^```cmake$/ { on = 1; next } /^```$/ { on = 0 } on' README.md
    printf 'add_executable(program program.c)\ntarget_link_libraries(program PRIVATE vae)\n'
} >"$folder/CMakeLists.txt"
grep -q add_library "$folder/CMakeLists.txt" || { echo "README.md has no lines for CMake"; exit 1; }
cmake -S "$folder" -B "$folder/build" -DCMAKE_BUILD_TYPE=Debug || exit 1
cmake --build "$folder/build" --verbose >"$folder/log" || { cat "$folder/log"; exit 1; }
grep -q -e '-g .*-O2.*vae\.c' "$folder/log" || { echo "vae.c was not optimised"; exit 1; }
[ -x "$folder/build/program" ]
