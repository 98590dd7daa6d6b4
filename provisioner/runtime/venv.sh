# Makes or repairs the MLflow environment. Run as root; run again it does nothing but look.
#   VENV    final path, /opt/mlflow/VERSION: an environment cannot be moved, its scripts name it
#   LOCK    path of the lock on this host, LOCK_SHA256 its hash
#   UV      path of uv            PYTHON  the system's interpreter, 3.10 or newer
#   CACHE   a cache that is shared and kept when it exists; else one beside VENV is used and removed
# Uses the functions run_uv, warm and check_records.
#
# `.provision-complete` is written last and says what was installed: without it the environment is
# rebuilt, with it the environment is repaired in place. `.provision-building` tells our own
# unfinished work from a folder that somebody else made.
# Exit codes: 20 VENV is not ours; otherwise uv's.
set -eu
umask 022
export LC_ALL=C
marker=$VENV/.provision-complete
building=$VENV/.provision-building
own_cache=$(dirname "$VENV")/.uv-cache

if [ -d "$CACHE" ]; then
	# Links into a cache that stays would let an edit in the environment spoil the next repair.
	export UV_CACHE_DIR="$CACHE" UV_LINK_MODE=copy
else
	export UV_CACHE_DIR="$own_cache"
fi

system=$(readlink -f "$PYTHON")
rm -rf "$VENV.old"
if [ -e "$marker" ] && [ "$(readlink -f "$VENV/bin/python" || true)" != "$system" ]; then
	# A release upgrade brought another Python: nothing in the old environment can be used by it.
	mv "$VENV" "$VENV.old"
	rm -rf "$VENV.old"
fi
if [ -e "$VENV" ] && [ ! -e "$marker" ]; then
	if [ ! -e "$building" ] && [ -n "$(ls -A "$VENV")" ]; then
		echo "what $VENV is in the way" >&2
		echo "why it was not made by this tool" >&2
		echo "next move it away: mv $VENV $VENV.foreign" >&2
		exit 20
	fi
	rm -rf "$VENV"
fi

fresh=no
if [ ! -e "$marker" ]; then
	fresh=yes
	mkdir -p "$VENV"
	: >"$building"
	run_uv "$PYTHON" -I - "$UV" venv --quiet --allow-existing --no-project --python "$PYTHON" "$VENV"
fi

install() {
	run_uv "$PYTHON" -I - "$UV" pip install --python "$VENV/bin/python" --require-hashes --only-binary :all: \
		--no-deps "$@" -r "$LOCK"
}
site=$(echo "$VENV"/lib/python3.*/site-packages)
install
if [ "$fresh" = no ]; then
	set --
	for name in $(check_records "$PYTHON" -I - "$site"); do
		set -- "$@" --reinstall-package "$name"
	done
	if [ $# -gt 0 ]; then install "$@"; fi
fi
# Side by side: removing waits for the disk, compiling for the processor.
rm -rf "$own_cache" &
warm "$VENV/bin/python" -I -
wait
{
	echo "lock $LOCK_SHA256"
	echo "python $system"
	environment_state "$VENV"
} >"$marker.new"
mv "$marker.new" "$marker"
rm -f "$building"
