#!/usr/bin/env bash
# Show what only a GPU can show, within five minutes and without a network: run the tests marked cuda, then measure
# the throughput. Write gpu_tests.txt and throughput.json into ${OUT:-.}; print the failures, then the table.
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
timeout 100 "$python" -m pytest -q -o addopts= -n 8 -m cuda -rfE --tb=line -p no:cacheprovider "${files[@]}" \
  >"$out/gpu_tests.txt" 2>&1
status=$?
tail -n 30 "$out/gpu_tests.txt" | grep -E '^(FAILED|ERROR)' | cut -c1-100
printf '%s %s\n\n' "cuda tests (status $status):" "$(tail -n 1 "$out/gpu_tests.txt")"

timeout 200 "$python" -W ignore benchmarks/throughput.py --quiet --out "$out/throughput.json"
measured=$?
((measured == 124)) && echo "cut off after 200 s"
exit $((status != 0 || measured != 0))
