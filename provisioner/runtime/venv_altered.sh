# Which packages of the environment at VENV are not as their RECORD says: reads every file, 1 GB.
#   PYTHON  the system's interpreter
# Uses check_records.
set -eu
[ -e "$VENV/.provision-complete" ] || exit 0
altered=$(check_records "$PYTHON" -I - "$VENV"/lib/python3.*/site-packages)
printf '%s\n' "$altered" | sed -n 's/^./altered &/p'
