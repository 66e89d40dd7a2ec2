#!/bin/sh
# Downloads MNIST, unpacks it and proves by checksum that it is what it should be. See --help.
set -u

default_mirrors='
https://storage.googleapis.com/cvdf-datasets/mnist/
https://ossci-datasets.s3.amazonaws.com/mnist/
https://raw.githubusercontent.com/fgnt/mnist/master/'
mirrors=${MNIST_MIRRORS:-$default_mirrors}
names='train-images-idx3-ubyte train-labels-idx1-ubyte t10k-images-idx3-ubyte t10k-labels-idx1-ubyte'

checksum_of() { # of the unpacked file
    case $1 in
    train-images-idx3-ubyte) echo ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db ;;
    train-labels-idx1-ubyte) echo 65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5 ;;
    t10k-images-idx3-ubyte) echo 0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7 ;;
    t10k-labels-idx1-ubyte) echo ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2 ;;
    esac
}

usage() {
    cat <<'END'
Downloads the four files of MNIST (11 MB, 55 MB unpacked).

Usage: get_mnist.sh [DIRECTORY]

DIRECTORY is where the files go [the directory of this script]. Files that are there already and right are kept;
nothing is put there before all of them have been downloaded and their SHA-256 found right.
Needs gunzip, curl or wget, and sha256sum, shasum or openssl.
MNIST_MIRRORS may name other places to download from: base URLs separated by spaces, tried in turn.
END
}

fail() {
    echo "get_mnist.sh: $*" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

target=
for argument in "$@"; do
    case $argument in
    -h | --help)
        usage
        exit 0
        ;;
    -*)
        echo "get_mnist.sh: there is no option $argument (see --help)" >&2
        exit 2
        ;;
    *)
        if [ -n "$target" ]; then
            echo "get_mnist.sh: only one directory can be given (see --help)" >&2
            exit 2
        fi
        target=$argument
        ;;
    esac
done
if [ -z "$target" ]; then
    case $0 in
    */*) target=${0%/*} ;;
    *) target=. ;;
    esac
fi

if have sha256sum; then
    sha256() { sha256sum <"$1" | cut -d ' ' -f 1; }
elif have shasum; then
    sha256() { shasum -a 256 <"$1" | cut -d ' ' -f 1; }
elif have openssl; then
    sha256() { openssl dgst -sha256 <"$1" | sed 's/.*[ =]//'; }
else
    fail "there is no sha256sum, shasum or openssl to check the files with: install one of them and try again"
fi

is_right() { [ -f "$1" ] && [ "$(sha256 "$1")" = "$(checksum_of "$2")" ]; }

needed=
for name in $names; do
    is_right "$target/$name" "$name" || needed="$needed $name"
done
if [ -z "$needed" ]; then
    rm -f "$target/GENERATED" # it would make the examples call real digits generated
    echo "MNIST is in $target already, and complete"
    exit 0
fi

if have curl; then
    download() { curl --fail --silent --show-error --location --connect-timeout 15 --retry 1 --output "$2" "$1"; }
elif have wget; then
    download() { wget -q -T 30 -t 2 -O "$2" "$1"; }
else
    fail "there is neither curl nor wget to download with: install one of them, or put the unpacked files into $target yourself"
fi
have gunzip || fail "there is no gunzip to unpack with: install gzip and try again"

mkdir -p "$target" || fail "the directory $target cannot be made: give another one as the argument"
# Inside the target, so that moving the finished files is a rename and never a copy that can stop halfway.
work=$target/.get_mnist.$$
mkdir "$work" || fail "nothing can be written into $target: give another directory as the argument"
trap 'rm -rf "$work"; rmdir "$target" 2>/dev/null' EXIT        # the target too, if nothing came into it
trap 'exit 1' HUP INT TERM

for name in $needed; do
    got=
    for mirror in $mirrors; do
        url=${mirror%/}/$name.gz
        echo "downloading $url"
        if ! download "$url" "$work/$name.gz"; then
            echo "  that did not work" >&2
        elif ! gunzip -c "$work/$name.gz" >"$work/$name" 2>/dev/null; then
            echo "  that is not a complete gzip file" >&2
        elif ! is_right "$work/$name" "$name"; then
            echo "  that unpacks to something other than MNIST's $name (wrong SHA-256)" >&2
        else
            got=yes
            rm -f "$work/$name.gz"
            break
        fi
        rm -f "$work/$name" "$work/$name.gz"
    done
    [ -n "$got" ] || fail "$name could not be had from any mirror: check the network or https_proxy and try again, name other places in MNIST_MIRRORS, or use generated digits (build/make_digits)"
done

# From here on only renames; the mark goes last, so that a mixture never passes for MNIST.
for name in $needed; do
    mv -f "$work/$name" "$target/$name" || fail "$target/$name cannot be written: make room or give another directory"
done
rm -f "$target/GENERATED"
echo "MNIST is in $target, checked by SHA-256"
