#!/bin/sh
# What `make run` does: choose the data, train for a minute at most, write pictures. Arguments: build folder, output
# folder.
build=$1 out=$2
has_mnist() {
    for name in train-images-idx3 train-labels-idx1 t10k-images-idx3 t10k-labels-idx1; do
        [ -f "$1/$name-ubyte" ] || return 1
    done
}
if [ -n "$MNIST_DIR" ]; then
    data=$MNIST_DIR
    if ! has_mnist "$data"; then
        echo "MNIST_DIR is $data, but the four files *-ubyte are not all there: unset it, or run" \
            "data/get_mnist.sh $data" >&2
        exit 1
    fi
    echo "data: MNIST from $data (MNIST_DIR)"
elif has_mnist data; then
    data=data
    echo "data: MNIST from data/"
else
    data=$build/digits
    has_mnist "$data" || "$build/make_digits" --out "$data" || exit 1
    echo "data: generated digits from $data (data/get_mnist.sh downloads real MNIST)"
fi
if [ ! -d "$out" ]; then
    mkdir -p "$out" || exit 1
    echo "made the folder $out"
fi
"$build/train_mnist" --data "$data" --epochs 6 --seconds 60 --out "$out/model.safetensors" \
    --samples "$out/samples.png" --log "$out/loss.csv" || exit
"$build/reconstruct_mnist" --model "$out/model.safetensors" --data "$data" --out "$out/reconstructions.png" || exit
echo
echo "Look at  $out/samples.png            digits that do not exist"
echo "         $out/reconstructions.png    test digits above what the model makes of them"
echo "         $out/loss.csv               the loss of every epoch"
echo "         $out/model.safetensors      the model: build/sample_mnist draws more, PyTorch loads it"
echo "More epochs: $build/train_mnist --data $data --epochs 12 --resume"
