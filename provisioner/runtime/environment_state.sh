# What is installed in an environment, in three processes: every package's RECORD with size and time, and
# the names of what lies in site-packages and bin. Not the change time: removing uv's cache moves it.
environment_state() (
	cd "$1"/lib/python3.*/site-packages 2>/dev/null || exit 0
	stat -c 'record %n %s %Y' -- *.dist-info/RECORD ../../../bin/mlflow ../../../bin/python 2>/dev/null || true
	# shellcheck disable=SC2012  # names of importable things: no newline can be in one
	ls -A | sed '/^__pycache__$/d; s/^/name /'
)
