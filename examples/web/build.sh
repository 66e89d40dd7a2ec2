#!/bin/sh
# What `make web` does: compiles web.c for the browser, with vectors and without, trains the model that comes with the
# page unless it is there, and puts all into one HTML file. Arguments: build folder, epochs. CLANG and WEB_FLAGS may be
# set.
build=$1 epochs=$2 here=$(dirname "$0")
clang=${CLANG:-clang}
# What browsers have had since 2021, Safari since 2023, and for those before them what all have that know WebAssembly.
flags=${WEB_FLAGS:--msimd128 -mbulk-memory -mnontrapping-fptoint -msign-ext}
plain=-mcpu=mvp

mkdir -p "$build/web" || exit 1
printf 'int answer(void) { return 42; }\n' >"$build/web/trial.c"
if ! $clang --target=wasm32 -nostdlib -Wl,--no-entry "$build/web/trial.c" -o "$build/web/trial.wasm" 2>"$build/web/trial.log"
then
    echo "make web: nothing made: it takes a clang that compiles for wasm32, and its linker (apt: clang lld)"
    exit 0
fi

if ! xz --format=raw --lzma1=lc=3,lp=0,pb=0 -c </dev/null >/dev/null 2>&1; then
    echo "make web: nothing made: it takes xz (apt: xz-utils)"
    exit 0
fi

# -Oz: a larger module would leave less room for the model. (Not -Os without -flto: clang 14 then draws other digits.)
compile() {     # compile OUTPUT FLAGS...
    output=$1
    shift
    $clang --target=wasm32 -std=c99 -O1 -fno-builtin "$@" -isystem "$here/include" -c "$here/memory.c" \
        -o "$build/web/memory.o" &&
        $clang --target=wasm32 -std=c99 -Oz -flto "$@" -fvisibility=hidden -nostdlib -isystem "$here/include" \
            -Wl,--no-entry -Wl,--export-dynamic -Wl,--strip-all -Wl,-z,stack-size=65536 \
            "$here/web.c" "$build/web/memory.o" -o "$output"
}
compile "$build/web/vae.wasm" $flags || exit 1
compile "$build/web/plain.wasm" $plain || exit 1

# The model stays until what it is made of changes.
data=$MNIST_DIR
for folder in data ../shared/mnist; do
    [ -z "$data" ] && [ -f "$folder/train-images-idx3-ubyte" ] && data=$folder
done
if [ -z "$data" ]; then
    data=$build/digits
    [ -f "$data/train-images-idx3-ubyte" ] || "$build/make_digits" --out "$data" || exit 1
fi
if [ -n "$(find "$here/network.h" "$here/train.c" -newer "$build/web/weights" 2>&1)" ] ||
    [ "$(cat "$build/web/made-by" 2>/dev/null)" != "$epochs $data" ]; then
    "$build/web_train" --epochs "$epochs" --data "$data" --out "$build/web/weights" || exit 1
    echo "$epochs $data" >"$build/web/made-by"
fi

# As one piece: most of the second module is then only where the first one has it. page.js has the other side of it.
parts="$build/web/weights $build/web/vae.wasm $build/web/plain.wasm"
sizes=$(for part in $parts; do wc -c <"$part"; done | tr -s ' \n' ' ' | sed 's/^ //; s/ $//')
cat $parts | xz --format=raw --lzma1=preset=9e,lc=3,lp=0,pb=0 -c >"$build/web/packed" || exit 1
awk -v here="$here/" -v source="$(cat "$build/web/weights.source")" '
    function paste(file,    line) { while ((getline line <file) > 0) print line }
    $0 == "@STYLE@" { paste(here "page.css"); next }
    $0 == "@SCRIPT@" { paste(here "page.js"); next }
    { sub(/@SOURCE@/, source); print }' "$here/page.html" >"$build/web/page.html"
{
    sed '/@PACKED@/,$d' "$build/web/page.html"
    printf '<script id="packed" type="application/octet-stream" data-sizes="%s">' "$sizes"
    base64 <"$build/web/packed" | tr -d '\n'
    echo '</script>'
    sed '1,/@PACKED@/d' "$build/web/page.html"
} >"$build/vae.html.new" && mv "$build/vae.html.new" "$build/vae.html" || exit 1
echo "open $build/vae.html in a browser: $(wc -c <"$build/vae.html") bytes, with a model trained on $(cat "$build/web/weights.source")"
