#!/bin/sh
# Makes .venv with everything the playbooks and the program need, at pinned versions. Doing it again
# does nothing.
#
#   sh bootstrap.sh          the controller: ansible-core, boto3, jinja2 and the program's libraries
#   sh bootstrap.sh --demo   and the demo's own PostgreSQL and S3 server
#   sh bootstrap.sh --dev    and what tests and linters need
#
# PYTHON=/path/to/python3.12 chooses another Python; it must be 3.11 or newer.
set -eu
cd "$(dirname "$0")"

case "${1:-}" in
    "") list=controller ;;
    --demo) list=demo ;;
    --dev) list=development ;;
    *) sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

# Debian's and Ubuntu's packages, where we may install them; else the command to type.
install_packages() {
    if [ "$(id -u)" = 0 ]; then as_root=""; else as_root="sudo -n"; fi
    # The names of packages hold no blanks: the words are split on purpose.
    if command -v apt-get > /dev/null && { [ -z "$as_root" ] || $as_root true 2> /dev/null; }; then
        echo "Installing $* ..."
        $as_root apt-get update -qq
        $as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends "$@" > /dev/null
    elif command -v apt-get > /dev/null; then
        fail "Missing on this machine: $*" "Install it, then run this again:" \
            "    sudo apt-get update && sudo apt-get install -y $*"
    else
        fail "Missing on this machine: Python 3.11 or newer with venv and pip" \
            "Install it with this system's package manager, then run this again"
    fi
}

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' > /dev/null 2>&1
}

# The first Python that is new enough, the system's own before others.
find_python() {
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if is_new_enough "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
}

python=$(find_python)
if [ -z "$python" ]; then
    if [ -n "${PYTHON:-}" ]; then fail "PYTHON=$PYTHON is not Python 3.11 or newer"; fi
    if command -v python3 > /dev/null; then
        fail "$(python3 --version) is too old: ansible-core needs 3.11 or newer" \
            "Use Debian 12 or Ubuntu 24.04 (or newer) as the controller, or name another Python:\
 PYTHON=/path/to/python3.12 sh bootstrap.sh"
    fi
    install_packages python3 python3-venv ca-certificates
    python=$(find_python)
    if [ -z "$python" ]; then
        fail "The Python of this system is too old: ansible-core needs 3.11 or newer"
    fi
fi

# What .venv was made from and where: scripts in it hold their own path, so a checkout that was
# moved needs a new one.
made_with="$python $("$python" --version) $(pwd -P)"
wanted="$(cat requirements/*.txt | cksum) $made_with"
# A longer list holds the shorter ones.
for longer in "$list" demo development; do
    if [ "$longer" = demo ] && [ "$list" = development ]; then continue; fi
    installed=".venv/installed-$longer"
    if [ -f "$installed" ] && [ "$(cat "$installed")" = "$wanted" ] &&
        .venv/bin/python -c '' 2> /dev/null; then
        ready=yes
    fi
done

if [ -z "${ready:-}" ]; then
    if ! "$python" -c 'import ensurepip, venv' 2> /dev/null; then
        version=$("$python" -c 'import sys
print("3" if sys.executable == "/usr/bin/python3" else "%d.%d" % sys.version_info[:2])')
        install_packages "python$version-venv" ca-certificates
    fi
    if [ ! -f .venv/made-with ] || [ "$(cat .venv/made-with)" != "$made_with" ] ||
        ! .venv/bin/python -m pip --version > /dev/null 2>&1; then
        "$python" -m venv --clear .venv
        printf '%s' "$made_with" > .venv/made-with
    fi
    echo "Installing requirements/$list.txt into .venv ..."
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -r "requirements/$list.txt"
    printf '%s' "$wanted" > ".venv/installed-$list"
fi

# The two files that a user edits; they may come to hold secrets, and git ignores them.
copy_example() {
    if [ -f "$1" ] && [ ! -e "$2" ] && [ ! -d "${2%.yml}" ]; then
        (umask 077 && cp "$1" "$2")
        echo "Made $2 from $1"
    fi
}
copy_example inventory/hosts.example.yml inventory/hosts.yml
copy_example group_vars/all.example.yml group_vars/all.yml
