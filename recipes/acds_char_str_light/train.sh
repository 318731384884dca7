#!/usr/bin/env bash
# All stages, one after the other. Interrupted, the same command goes on where it was; a stage that
# is done is not trained again. Arguments are added to those of every stage.
set -euo pipefail
cd "$(dirname "$0")/../.."
for stage in 1_easy_words 2_real_words 3_cooldown 4_guided 5_cooldown; do
    python3 train_final_dist.py "@recipes/acds_char_str_light/$stage.txt" "$@"
    # A stage that was asked to stop ends in good order, too, but with another last line.
    if ! tail -n 1 "saved_models/acds_char_str_light-${stage%%_*}/log.txt" | grep -q '^done'; then
        echo "$stage is not done; the same command goes on from there" >&2
        exit 1
    fi
done
