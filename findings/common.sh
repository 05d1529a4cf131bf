# Sourced by the findings. `check PACKAGE==VERSION...` runs the program on standard input with these packages alone and
# compares what it prints with the lines of the finding that begin with "# >".
set -euo pipefail

check() {
  local folder
  folder=$(mktemp -d)
  trap "rm -rf '$folder'" EXIT
  cat > "$folder/program.py"
  sed -n 's/^# > \{0,1\}//p' "$0" > "$folder/expected"
  "${PYTHON:-python3}" -m venv "$folder/venv"
  "$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
  (cd "$folder" && env -u PYTHONPATH venv/bin/python -W ignore program.py) | tee "$folder/seen"
  if ! diff "$folder/expected" "$folder/seen" >&2; then
    echo "$0: this is another output than the one seen." >&2
    exit 1
  fi
}
