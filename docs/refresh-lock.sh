#!/bin/sh
# Makes provisioner/locks/mlflow-VERSION.txt anew from mlflow-VERSION.in and proves that every supported
# target can install it from wheels alone. Needs uv on PATH; run it from the project's root.
#
#   docs/refresh-lock.sh 3.17.2            keeps the pins that still fit
#   docs/refresh-lock.sh 3.17.2 --upgrade  moves every pin to the newest release that fits
#
# A new MLflow version: copy the .in file under the new name, change the version in it, run this, then
# set VERSION and SCHEMA_HEAD in provisioner/runtime/mlflow.py (a database that was empty says its head: db_upgrade prints it).
set -eu
version=${1:?usage: docs/refresh-lock.sh VERSION [--upgrade]}
upgrade=${2:-}
lock=provisioner/locks/mlflow-$version.txt
made=$(mktemp)
trap 'rm -f "$made"' EXIT
# An existing lock is the starting point, or every refresh would also be an upgrade.
if [ -f "$lock" ]; then cp "$lock" "$made"; fi
export UV_PYTHON_DOWNLOADS=never
uv pip compile --quiet --system-certs --universal --python-version 3.10 --only-binary :all: \
	--generate-hashes --no-emit-index-url --no-header --no-annotate ${upgrade:+"$upgrade"} \
	-o "$made" "provisioner/locks/mlflow-$version.in" >/dev/null
for python in 3.10 3.11 3.12 3.13 3.14; do
	for machine in x86_64 aarch64; do
		# 2_28 is older than the C library of every supported release (22.04 has 2.35).
		uv pip install --quiet --dry-run --system-certs --target /nonexistent --require-hashes --only-binary :all: \
			--python-version "$python" --python-platform "$machine-manylinux_2_28" -r "$made"
		echo "ok  Python $python $machine"
	done
done
{
	echo "# Universal lock of the MLflow $version environment: Python 3.10 to 3.14, amd64 and arm64, wheels only."
	echo "# Made from mlflow-$version.in by \`docs/refresh-lock.sh $version\`; do not edit by hand."
	grep -v '^#' "$made"
} >"$lock"
grep -c == "$lock" | sed 's/$/ pins/'
