# What the environment at VENV is: read-only, a handful of processes (12 ms on a busy machine). See venv.seen_from for the lines.
# Uses environment_state.
set -eu
export LC_ALL=C
marker=$VENV/.provision-complete
if [ ! -e "$marker" ]; then
	if [ -e "$VENV/.provision-building" ]; then echo "state unfinished"
	elif [ -e "$VENV" ]; then echo "state foreign"
	else echo "state absent"; fi
	exit 0
fi
echo "state complete"
echo "interpreter $(readlink -f "$VENV/bin/python" || true)"
echo "== recorded"
cat "$marker"
echo "== present"
environment_state "$VENV"
