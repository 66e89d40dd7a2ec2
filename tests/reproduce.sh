#!/bin/sh
# What `make reproduce` does: trains recipes on MNIST and writes a table of what they give beside what others have
# measured. Arguments: build folder, output folder. FULL=1: the long ones too, a night. SEED: another seed.
# It can be interrupted: what its logs have finished is not done again, the rest goes on from its checkpoint. Lines of
# one name share a checkpoint, so that the 20 passes go on from the 4. Then what models are worth in use (figures.c).
build=$1 out=$2 seed=${SEED:-1}
further="$((seed + 1)) $((seed + 2)) $((seed + 3)) $((seed + 4)) $((seed + 5))"
[ "$seed" = 1 ] || out=$out/seed-$seed

is_mnist() {
    [ ! -e "$1/GENERATED" ] || return 1
    for name in train-images-idx3 train-labels-idx1 t10k-images-idx3 t10k-labels-idx1; do
        [ -f "$1/$name-ubyte" ] || return 1
    done
    data=$1
}
if [ -n "$MNIST_DIR" ]; then is_mnist "$MNIST_DIR"; else is_mnist data || is_mnist ../shared/mnist; fi || {
    echo "SKIPPED: no figure was reproduced. They need real MNIST, which is not in ${MNIST_DIR:-data}:" \
        "data/get_mnist.sh downloads it" >&2
    exit 0
}
mkdir -p "$out" || exit 1

log_of() { echo "$out/$1-$2.log"; }

# Whether training NAME for EPOCHS is over, and its evaluation if SAMPLES is not 0.
is_finished() {
    grep -q "^final: epochs=$2 " "$(log_of "$1" "$2")" 2>/dev/null &&
        { [ "$3" = 0 ] || grep -q "^evaluated: samples=$3 " "$(log_of "$1" "$2")"; }
}

# train NAME EPOCHS SAMPLES OPTION ...
train() {
    name=$1 epochs=$2 samples=$3 log=$(log_of "$1" "$2") resume=
    shift 3
    if is_finished "$name" "$epochs" "$samples"; then
        echo "$name, $epochs epochs: finished before"
        return
    fi
    [ ! -f "$out/$name.checkpoint" ] || resume=--resume
    echo "$name, $epochs epochs: see $log"
    "$build/train_mnist" "$@" --epochs "$epochs" --evaluate "$samples" --seed "${run_seed:-$seed}" --data "$data" \
        --out "$out/$name.safetensors" --samples "$out/$name.png" --checkpoint "$out/$name.checkpoint" \
        --log "$out/$name.csv" $resume >"$log" 2>&1
    code=$?
    if [ $code -gt 128 ]; then
        echo "interrupted; the same command goes on"
        exit $code
    fi
    if ! is_finished "$name" "$epochs" "$samples"; then
        echo "$name failed; $log ends with" >&2
        tail -n 3 "$log" >&2
        echo "(more epochs than $epochs: $out/$name.checkpoint is of a longer training, remove it)" >&2
        exit 1
    fi
    grep -E '^(final|evaluated):' "$log"
    write_table
}

# figure NAME: a figure for a use, which takes minutes and begins anew where it was interrupted.
figure() {
    log=$out/figure-$1.log
    if grep -q "^finished: $1$" "$log" 2>/dev/null && ! grep -q '^SKIPPED' "$log"; then
        echo "$1: finished before"
        return
    fi
    echo "$1: see $log"
    "$build/figures" "$1" --seed "$seed" --data "$data" >"$log" 2>&1
    code=$?
    if [ $code -gt 128 ]; then
        echo "interrupted; the same command goes on"
        exit $code
    fi
    if ! grep -q "^finished: $1$" "$log"; then
        echo "$1 failed; $log ends with" >&2
        tail -n 3 "$log" >&2
        exit 1
    fi
    grep -E '^(figure|SKIPPED|not here):' "$log"
    write_table
}

# What the log of NAME and EPOCHS says of FIELD, without a minus; the training loss of NAME in epoch EPOCH.
said() { sed -n "s/^[fe][iv][a-z]*:.* $3=-*\([0-9.]*\).*/\1/p" "$(log_of "$1" "$2")"; }
loss() { awk -F , -v epoch="$2" '$1 == epoch { text = sprintf("%.2f", $2) } END { print text }' "$out/$1.csv"; }

# row NAME EPOCHS SAMPLES WHAT REFERENCE SOURCE: a line of the table, once there is something to write in it.
row() {
    is_finished "$1" "$2" "$3" || return 0
    case $4 in
    losses) what="training; test" ours="$(loss "$1" "$2"); $(said "$1" "$2" test_loss)" ;;
    epochs) what="training, epochs 1; 2; 3" ours="$(loss "$1" 1); $(loss "$1" 2); $(loss "$1" 3)" ;;
    log_p) what="−ELBO; −log p ($3 samples); active units"
        ours="$(said "$1" "$2" test_loss); $(said "$1" "$2" log_p); $(said "$1" "$2" active)" ;;
    esac
    echo "| $1, $2 | $what | $ours | $5 | $6 |"
}

# gain REFERENCE SOURCE: what five samples gain over one, on average over the seeds, as a line of the table.
gain() {
    for suffix in "" $further; do
        suffix=${suffix:+-seed-$suffix}
        is_finished "iwae-1$suffix" 4 50 && is_finished "iwae-5$suffix" 4 50 &&
            echo "$(said "iwae-1$suffix" 4 log_p) $(said "iwae-5$suffix" 4 log_p)"
    done | awk -v reference="$1" -v source="$2" '
        { sum += $1 - $2; squares += ($1 - $2) ^ 2 }
        END {
            if (NR < 2) exit
            error = sqrt((squares - sum ^ 2 / NR) / (NR * (NR - 1)))
            printf "| iwae-5 over iwae-1, 4 | gain in log p (50 samples), mean of %d seeds | %.2f ± %.2f | %s | %s |\n",
                NR, sum / NR, error, reference, source
        }'
}

# uses NAME WHAT: the lines of a figure's log as lines of the table.
uses() {
    sed -n "s/^figure: \([^ ]*\) ours=\([^ ]*\) \(.*\)/\1 \2 \3/p" "$out/figure-$1.log" 2>/dev/null |
        while read -r name ours others; do
            echo "| $name | $2 | $ours | $(echo "$others" | sed 's/ /; /g; s/=/ /g') |"
        done
}

write_table() {
    {
        echo "Nats per image of MNIST, seed $seed: recipes of train_mnist. iwae-1 and iwae-5 are recipe iwae with 1 and"
        echo "5 samples of z; these two and best draw their pixels anew at every use."
        echo
        echo "| recipe, epochs | | ours | reference | source |"
        echo "|---|---|---|---|---|"
        row torch-400-20 10 0 losses "106.37; 105.56" "pytorch/examples' vae, a log on the web"
        row dense-512-32 10 0 losses "test 104.9 and 105.0" "an earlier vae.h, two seeds"
        row dense-512-256-2 10 0 losses "test 143.5 and 144.3" "an earlier vae.h, two seeds"
        row keras-conv 3 0 epochs "202.6 and 207.8; 169.9 and 170.1; 162.3" "an earlier vae.h, two seeds"
        row iwae-1 4 50 log_p "111.58; 104.33" "tests/golden/iwae_twin.py, in PyTorch, mean of six seeds"
        row iwae-5 4 50 log_p "114.53; 103.28" "tests/golden/iwae_twin.py, in PyTorch, mean of six seeds"
        gain "1.05 ± 0.14" "the same"
        row iwae-1 20 50 log_p "101.45; 95.69; 20" "an independent program, one seed"
        row iwae-1 40 500 log_p "99.67; 92.85; 20" "an independent program, one seed"
        row iwae-1 121 500 log_p "96.23; 90.32; 20" "an independent program, one seed"
        row best 60 500 log_p "−log p 84.45 (5,000 samples)" "a VAE of 2 × 300 gated units, in Exemplar VAE's table"
        row iwae-1 3280 5000 log_p "−log p 86.76; 19 active" "Burda et al. 2016, table 1"
        echo
        echo "| use | | ours | beside it |"
        echo "|---|---|---|---|"
        uses denoise "squared error of a test digit"
        uses semi-supervised "test digits read wrong, %, mean of three choices of 100 labels"
        uses semi-supervised-controls "the same in another graph, that of pixels or of an untrained encoder's codes"
        uses one-class "AUC, %, of one digit against the others, mean over ten"
        uses impute "error of the missing half, in standard deviations"
    } >"$out/table.md.partial" && mv "$out/table.md.partial" "$out/table.md"
}

# iwae K SUFFIX EPOCHS SAMPLES: recipe iwae with K samples of z
iwae() { train "iwae-$1$2" "$3" "$4" --recipe iwae --k "$1"; }

trap : INT              # train_mnist saves its checkpoint and ends; then so does this
for recipe in torch-400-20 dense-512-32 dense-512-256-2; do train $recipe 10 0 --recipe $recipe; done
train keras-conv 3 0 --recipe keras-conv
for k in 1 5; do iwae $k "" 4 50; done
for use in denoise semi-supervised one-class impute; do figure $use; done
if [ -n "$FULL" ]; then
    figure semi-supervised-controls
    for run_seed in $further; do
        for k in 1 5; do iwae $k "-seed-$run_seed" 4 50; done
    done
    run_seed=
    iwae 1 "" 20 50
    iwae 1 "" 40 500
    train best 60 500 --recipe best
    iwae 1 "" 121 500
    iwae 1 "" 3280 5000
fi
write_table
cat "$out/table.md"
