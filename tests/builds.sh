#!/bin/sh
# How vae.h is built into other people's programs: shared libraries, two files, other names, Windows, WebAssembly, tcc.
# From the repository root: sh tests/builds.sh. What a missing compiler would have to show is skipped, and said.
set -u
top=$(pwd) here=$(mktemp -d) passed=0 failed=0 skipped=0
trap 'rm -rf "$here"' EXIT
cd "$here" || exit 1
mkdir include

check() {           # check NAME COMMAND...: the command succeeds
    checked=$1
    shift
    if "$@" >log 2>&1; then passed=$((passed + 1)); echo "ok      $checked"
    else failed=$((failed + 1)); echo "FAILED  $checked"; head -n 15 log | sed 's/^/        /'; fi
}
skip() { skipped=$((skipped + 1)); echo "SKIPPED $1: $2"; }
have() { command -v "$1" >/dev/null 2>&1; }
not() { if "$@"; then return 1; else return 0; fi; }
program() {         # program HEADER: a complete one
    printf '#define VAE_IMPLEMENTATION\n#include "%s"\n' "$1"
    echo 'int main(void) { return vae_status_name(VAE_OK)[0] != 86; }'
}

# ---- exporting and hiding ----
printf '#define VAE_IMPLEMENTATION\n#include "vae.h"\n' >library.c
printf '#include "vae.h"\nint main(void) { vae_destroy(0); return vae_status_name(VAE_OK)[0] != 86; }\n' >user.c
shared() {          # hidden by default, exported by VAE_API, and nothing else with it
    cc -O1 -fPIC -shared -fvisibility=hidden '-DVAE_API=__attribute__((visibility("default")))' -I"$top" library.c \
        -o libvae.so -lm && cc -I"$top" user.c -L. -lvae -Wl,-rpath,"$here" -o user && ./user &&
        [ "$(nm -D --defined-only libvae.so | grep -c ' T vae_')" -gt 30 ] &&
        [ "$(nm -D --defined-only libvae.so | grep ' T ' | grep -vc ' T vae_')" = 0 ]
}
check "a shared library exports what VAE_API says" shared
hidden() {
    cc -O1 -fPIC -shared -fvisibility=hidden -I"$top" library.c -o libhidden.so -lm &&
        not cc -I"$top" user.c -L. -lhidden -o hidden
}
check "without VAE_API a hidden library exports nothing" hidden
private() {
    { echo '#define VAE_STATIC'; program vae.h; } >private.c
    cc -O1 -Wall -Wextra -Werror -I"$top" private.c -o private -lm && ./private &&
        not sh -c 'nm private | grep " T vae_"'
}
check "VAE_STATIC keeps every function to its file" private

# ---- VAE_DOUBLE in one file alone ----
cat >numbers.c <<'C'
#include "vae.h"
int main(void) {
    static vae_config config;
    vae_latents       latents = { 0, 0 };
    vae_real          pixels[1];
    vae_model        *model = 0;
    return vae_create(&config, &model, 0) == VAE_OK || vae_decode(model, &latents, pixels, 0) == VAE_OK;
}
C
doubles() {
    cc -O0 -I"$top" -c library.c -o float.o && cc -O0 -I"$top" -DVAE_DOUBLE -c library.c -o double.o &&
        cc -I"$top" numbers.c float.o -o numbers -lm && ./numbers &&
        cc -I"$top" -DVAE_DOUBLE numbers.c double.o -o numbers -lm && ./numbers || return 1
    not cc -I"$top" numbers.c double.o -o numbers -lm 2>errors && grep -q 'vae_create' errors || return 1
    not cc -I"$top" -DVAE_DOUBLE numbers.c float.o -o numbers -lm 2>errors && grep -q 'vae_create_double' errors
}
check "VAE_DOUBLE in one file alone does not link" doubles
no_doubles() {
    cc -O0 -I"$top" -DVAE_NO_DOUBLE -c library.c -o no_double.o &&
        cc -I"$top" -DVAE_NO_DOUBLE numbers.c no_double.o -o numbers -lm && ./numbers || return 1
    not cc -I"$top" numbers.c no_double.o -o numbers -lm 2>errors && grep -q 'vae_create' errors || return 1
    not cc -I"$top" -DVAE_NO_DOUBLE numbers.c float.o -o numbers -lm 2>errors && grep -q 'vae_create_no_double' errors
}
check "VAE_NO_DOUBLE in one file alone does not link" no_doubles
same_names() {      # functions of the same name in two builds are those that none of these types passes through
    for build in float double no_double; do nm --defined-only $build.o | sed -n 's/.* T //p' | sort >$build.names; done
    for build in double no_double; do comm -12 float.names $build.names; done | sort -u | tr '\n' ' ' >common
    cat common
    for name in $(cat common); do
        # The whole prototype, which may have several lines.
        tr '\n' ' ' <"$top/vae.h" | grep -o "VAE_API [^;{]*[ *]$name([^)]*)" | head -n 1 |
            grep -E 'vae_(real|wide|(fit_)?config|data|latents|state|optimizer|schedule|terms|progress|dimension)\>' &&
            { echo "$name has no name of its own where these types are others"; return 1; }
    done
    return 0
}
check "what such a type passes through is named apart" same_names

# ---- an exception out of on_progress leaves the model to every thread ----
cat >thrown.cpp <<'C'
#include "vae.h"
#include <thread>
static unsigned char rows[64 * 16];
static int throws(void *, const vae_progress *progress) {
    if (progress->step == 2) throw 1;
    return 0;
}
int main() {
    vae_config     config = {};
    vae_fit_config fit = {};
    vae_data       data = {};
    vae_model     *model;
    vae_status     again = VAE_STOPPED;
    int            caught = 0;
    config.input.height = config.input.channels = 1;
    config.input.width = 16;
    config.latent = 2;
    config.encoder[0] = VAE_DENSE(8, VAE_TANH);
    config.batch = 16;
    for (int i = 0; i < 64 * 16; i++) rows[i] = (unsigned char)(i * 7);
    data.bytes = rows;
    data.count = 64;
    fit.epochs = 1;
    if (vae_create(&config, &model, nullptr) != VAE_OK) return 1;
    auto train = [&] { try { again = vae_fit(model, &data, &fit, nullptr); } catch (int) { caught++; } };
    for (int turn = 0; turn < 2; turn++) {              /* thrown here and then used there, and the other way round */
        fit.on_progress = throws;
        if (turn) std::thread(train).join();
        else train();
        fit.on_progress = nullptr;
        if (turn) train();
        else std::thread(train).join();
        if (caught != turn + 1 || again != VAE_OK) return 2;
        vae_destroy(model);
        if (vae_create(&config, &model, nullptr) != VAE_OK) return 1;
    }
    vae_destroy(model);
    return 0;
}
C
if have g++; then
    thrown() {
        "$@" -I"$top" -c library.c -o thrown.o && g++ -I"$top" thrown.cpp thrown.o -o thrown -lm -pthread && ./thrown
    }
    check "an exception out of on_progress, through C++" thrown g++ -O1 -x c++
    check "an exception out of on_progress, through C with -fexceptions" thrown gcc -O1 -fexceptions
else skip "an exception out of on_progress" "no g++"; fi

# ---- checkpoints of a build with VAE_NO_DOUBLE in one without, and the other way round ----
cat >exchange.c <<'C'
#include "vae.h"
#include <stdio.h>
#include <string.h>
int main(int count, char **arguments) {             /* exchange FILE-TO-WRITE [FILE-TO-READ] */
    static vae_real rows[64 * 16];
    vae_config      config;
    vae_data        data;
    vae_model      *model;
    vae_terms       terms;
    size_t          i;
    memset(&config, 0, sizeof config);
    memset(&data, 0, sizeof data);
    config.input.height = config.input.channels = 1;
    config.input.width = 16;
    config.latent = 2;
    config.encoder[0] = VAE_DENSE(8, VAE_TANH);
    config.likelihood = VAE_GAUSSIAN;
    config.optimizer.schedule.kind = VAE_EXPONENTIAL;
    config.optimizer.schedule.steps = 100;
    config.optimizer.schedule.to = (vae_real)0.1;
    for (i = 0; i < 64 * 16; i++) rows[i] = (vae_real)(i % 16 * (i / 16) % 17) / 16;
    data.pixels = rows;
    data.count = 64;
    if (count > 2 ? vae_load(arguments[2], NULL, &model, NULL) : vae_create(&config, &model, NULL)) return 1;
    for (i = 0; i < (count > 2 ? 1 : 100); i++) if (vae_train_step(model, &data, &terms, NULL) != VAE_OK) return 1;
    printf("%.4f %.4f\n", (double)terms.reconstruction, (double)terms.kl);
    return vae_save_checkpoint(model, arguments[1], NULL) != VAE_OK;
}
C
exchange() {        # what either resumes from the other's file, and from its own, is the same to four digits
    cc -I"$top" exchange.c float.o -o exchange-float -lm &&
        cc -I"$top" -DVAE_NO_DOUBLE exchange.c no_double.o -o exchange-no_double -lm || return 1
    for writer in float no_double; do
        ./exchange-$writer $writer.vae && ./exchange-float out.vae $writer.vae >resumed &&
            ./exchange-no_double out.vae $writer.vae >resumed-no_double || return 1
        cat resumed resumed-no_double
        awk '{ for (i = 1; i <= 2; i++) { if (NR == 1) a[i] = $i; else if (($i - a[i]) ^ 2 > 1e-6) exit 1 } }' \
            resumed resumed-no_double || return 1
    done
}
check "checkpoints with and without VAE_NO_DOUBLE serve each other" exchange

# ---- a build that only infers does not look at the optimiser, which has no use there, but writes it into its files ----
cat >infer.c <<'C'
#define VAE_SMALL
#define VAE_BASIC
#define VAE_INFERENCE_ONLY
#define VAE_STATIC
#define VAE_IMPLEMENTATION
#include "vae.h"
int main(void) {
    static const vae_real rates[] = { 0, (vae_real)0.5, -1, (vae_real)1e9 };
    static unsigned char  file[4000];
    vae_config            config;
    vae_model            *model, *loaded;
    vae_error             error;
    size_t                size, i;
    memset(&config, 0, sizeof config);
    config.input.height = config.input.width = config.input.channels = 1;
    config.latent = 1;
    config.encoder[0] = VAE_DENSE(2, VAE_TANH);
    for (i = 0; i < 4; i++) {
        config.optimizer.learning_rate = rates[i];
        if (vae_create(&config, &model, NULL) != VAE_OK) return 1;
        if (vae_save_memory(model, 0, file, sizeof file, &size, &error) != (i < 2 ? VAE_OK : VAE_ERROR_CONFIG)) return 2;
        if (i < 2 ? vae_load_memory(file, size, NULL, &loaded, NULL) != VAE_OK
                  : !strstr(error.message, "learning_rate")) return 3;
    }
    return 0;
}
C
infers() { cc -O0 -I"$top" infer.c -o infer -lm && ./infer; }
check "a build that only infers writes no optimiser that nobody can read" infers

# ---- VAE_NO_MESSAGES: a path before the status's name would leave little of it ----
cat >nameless.c <<'C'
#define VAE_SMALL
#define VAE_BASIC
#define VAE_INFERENCE_ONLY
#define VAE_NO_MESSAGES
#define VAE_STATIC
#define VAE_IMPLEMENTATION
#include "vae.h"
int main(void) {
    vae_model *model;
    vae_error  error;
    if (vae_load("no/such/file", 0, &model, &error) != VAE_ERROR_FILE) return 1;
    if (strcmp(error.message, "VAE_ERROR_FILE")) return 2;
    if (vae_load("nameless.c", 0, &model, &error) != VAE_ERROR_FORMAT) return 3;
    return strcmp(error.message, "VAE_ERROR_FORMAT") != 0;
}
C
nameless() { cc -O0 -I"$top" nameless.c -o nameless -lm && ./nameless; }
check "without messages the status has its whole name" nameless

# ---- other names and places ----
works() { cc -O0 "$@" -o program -lm && ./program; }
explains() { not cc -O0 "$@" -o program -lm 2>errors && cat errors && grep -q 'error.*vae.h includes itself' errors; }
cp "$top/vae.h" include/renamed.h
ln -s renamed.h include/linked.h
program renamed.h >renamed.c
program include/renamed.h >below.c
program linked.h >linked.c
if echo '__FILE_NAME__' | cc -E -P - 2>/dev/null | grep -q '^"'; then
    check "a renamed header works" works -Iinclude renamed.c
    check "in a folder below" works below.c
    check "through a link" works -Iinclude linked.c
else
    skip "a renamed header works by itself" "this compiler has no __FILE_NAME__"
fi
check "with VAE_HEADER_FILE" works '-DVAE_HEADER_FILE="renamed.h"' -Iinclude renamed.c
check "a wrong VAE_HEADER_FILE is explained" explains '-DVAE_HEADER_FILE="nowhere.h"' -Iinclude renamed.c
mkdir wrapped
cp "$top/vae.h" wrapped
printf '#pragma once\n#define VAE_IMPLEMENTATION\n#include "vae.h"\n' >wrapped/wrapper.h
printf '#include "wrapper.h"\nint main(void) { return vae_status_name(VAE_OK)[0] != 86; }\n' >wrapped.c
check "a wrapper with #pragma once works" works -Iwrapped wrapped.c
{ echo '#ifndef OTHER_H'; echo '#define OTHER_H'; cat "$top/vae.h"; echo '#endif'; } >include/other.h
program other.h >other.c
check "pasted into a guarded header: explained" explains -Iinclude other.c
{ echo '#pragma once'; cat "$top/vae.h"; } >include/once.h
program once.h >once.c
check "behind #pragma once: explained" explains -Iinclude once.c
{
    echo 'static int mine;'
    echo '#define VAE_IMPLEMENTATION'
    cat "$top/vae.h"
    echo 'int main(void) { return mine; }'
} >pasted.c
check "pasted into a source file: explained" explains pasted.c

# ---- tcc: no atomic operations ----
if have tcc; then
    check "tcc with VAE_THREADS" sh -c "tcc '$top/tests/test_platform.c' -o program -lm -lpthread && ./program"
else skip "tcc with VAE_THREADS" "not installed"; fi

# ---- Windows ----
if have x86_64-w64-mingw32-gcc; then
    warnings="-Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Werror"
    for compiler in "x86_64-w64-mingw32-gcc -std=c99" "x86_64-w64-mingw32-gcc -std=gnu17" \
        "x86_64-w64-mingw32-gcc -std=c99 -D_WIN32_WINNT=0x0501" "x86_64-w64-mingw32-g++ -x c++ -std=c++11"; do
        have "${compiler%% *}" || { skip "$compiler" "not installed"; continue; }
        for order in without before after; do
            {
                [ $order = before ] && echo '#include <windows.h>'
                printf '#define VAE_IMPLEMENTATION\n#include "vae.h"\n'
                [ $order = after ] && echo '#include <windows.h>'
                [ $order = without ] ||
                    echo 'SRWLOCK lock; void use(void) { AcquireSRWLockExclusive(&lock); Sleep(0); }'
                echo 'int main(void) { return vae_status_name(VAE_OK)[0] != 86; }'
            } >windows.c
            strict=$warnings
            case $compiler in *0x0501*) [ $order = without ] || continue ;; esac
            check "${compiler#x86_64-w64-mingw32-}, windows.h $order" \
                $compiler $strict -O1 -DVAE_THREADS -I"$top" windows.c -o windows.exe
        done
    done
    wine=$(command -v wine64 || command -v wine || ls /usr/lib/wine/wine64 2>/dev/null)
    if [ -n "$wine" ]; then
        export WINEPREFIX="$here/wine" WINEDEBUG=-all
        for test in test_platform test_threads; do
            check "Windows: $test" sh -c "x86_64-w64-mingw32-gcc -std=c99 -O1 -D__USE_MINGW_ANSI_STDIO=1 \
                '$top/tests/$test.c' -o $test.exe -lm && timeout 300 $wine ./$test.exe"
        done
    else skip "Windows: running the tests" "wine is not installed"; fi
else skip "Windows" "gcc-mingw-w64-x86-64 is not installed"; fi

# ---- WebAssembly ----
cat >run.mjs <<'JS'
import { WASI } from 'node:wasi';
import { readFileSync } from 'node:fs';
const wasi = new WASI({ version: 'preview1', args: ['test'], preopens: { '.': process.cwd() }, returnOnExit: true });
const module = await WebAssembly.compile(readFileSync(process.argv[2]));
process.exit(wasi.start(await WebAssembly.instantiate(module, wasi.getImportObject())));
JS
if have clang && have node && [ -d /usr/include/wasm32-wasi ]; then
    mkdir -p tests && cp -R "$top/tests/files" tests || exit 1      # what 0.1.0 wrote
    # Node's WASI may crash when a program that opened many files has ended: its closing line is what counts.
    for test in test_platform test_files; do
        check "WebAssembly: $test" sh -c "clang --target=wasm32-wasi -O1 -Wl,-z,stack-size=1048576 \
            -D_WASI_EMULATED_GETPID '$top/tests/$test.c' -o $test.wasm -lm -lwasi-emulated-getpid &&
            node --no-warnings run.mjs $test.wasm | tee said; grep -q '^[0-9]* passed, 0 failed' said"
    done
else skip "WebAssembly" "clang, node, wasi-libc or libclang-rt-14-dev-wasm32 is not installed"; fi

if [ "$skipped" -gt 0 ]; then echo "$passed passed, $failed failed, $skipped skipped"
else echo "$passed passed, $failed failed"; fi
[ "$failed" -eq 0 ]
