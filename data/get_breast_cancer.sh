#!/bin/sh
# Writes breast_cancer.csv, from the scikit-learn that is installed, into the folder given or that of this script: 569
# rows of 30 measured columns and the class (Wisconsin Diagnostic Breast Cancer; Street, Wolberg and Mangasarian 1993).
set -u
folder=${1:-$(dirname "$0")}

fail() {
    echo "get_breast_cancer.sh: $*" >&2
    exit 1
}

found=$(python3 -c 'import importlib.util as u; print(*u.find_spec("sklearn").submodule_search_locations)' 2>/dev/null)
[ -n "$found" ] && found=$found/datasets/data/breast_cancer.csv
[ -f "$found" ] || found=$(dpkg -L python3-sklearn 2>/dev/null | grep '/breast_cancer\.csv$')
[ -f "$found" ] || fail "scikit-learn is not installed: pip install scikit-learn, or apt-get install python3-sklearn"

# Its first line has the counts and the classes' names in place of the columns'.
awk -F , '
    NR == 1 { for (i = 0; i < $2; i++) printf "c%d,", i; print "class"; rows = $1; fields = $2 + 1; next }
    NF != fields { exit 1 }
    { print }
    END { exit !(NR == 570 && rows == 569 && fields == 31) }' "$found" >"$folder/breast_cancer.csv.partial" &&
    mv "$folder/breast_cancer.csv.partial" "$folder/breast_cancer.csv" ||
    fail "$found does not hold 569 rows of 31 numbers, or $folder cannot be written"
echo "$folder/breast_cancer.csv"
