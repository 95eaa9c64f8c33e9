#!/bin/sh
# Finishes the root filesystem given as the first argument once the packages are installed.
set -eu
root="$1"

# Nothing that was removed may be missed.
chroot "$root/" python3 -c 'import numpy, xgboost, xgboost.tracker
xgboost.train({}, xgboost.DMatrix(numpy.eye(4), numpy.ones(4)), 1)'
