#!/usr/bin/env bash
# What only a GPU can show, within four minutes and without a network: the tests marked cuda, then the speed of a
# training step and of the images. Writes gpu_tests.txt and bench_*.json into ${OUT:-.}, and a short table last.
set -uo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
out=${OUT:-.}
mkdir -p "$out"
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"

if ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
  echo "gpu_check.sh needs a GPU, and PyTorch sees none here." >&2
  exit 2
fi
# Without an installation the version comes from what setuptools writes beside the package.
"$python" -c 'from importlib.metadata import version; version("torchreid_vi")' 2>/dev/null ||
  "$python" setup.py -q egg_info

mapfile -t files < <(grep -rl --include='test_*.py' 'mark\.cuda' tests)
timeout 130 "$python" -m pytest -q -o addopts= -m cuda -rfE --tb=line -p no:cacheprovider "${files[@]}" \
  >"$out/gpu_tests.txt" 2>&1
status=$?
timeout 60 "$python" tools/bench.py step --quick --backbone resnet50 --size 288 144 --out "$out/bench_step.json"
timeout 45 "$python" tools/bench.py images --quick --out "$out/bench_images.json"

echo
tail -n 30 "$out/gpu_tests.txt" | grep -E '^(FAILED|ERROR)' | cut -c1-150
printf '%-45s %s\n' "cuda tests (status $status)" "$(tail -n 1 "$out/gpu_tests.txt")"
"$python" - "$out"/bench_*.json <<'END'
import json, sys
for file in sys.argv[1:]:
    for part, figures in json.load(open(file))["figures"].items():
        for figure in figures:
            print(f"{part + ', ' + figure['name']:45.45} {figure['value']:10.2f} {figure['unit']}")
END
exit $((status != 0))
