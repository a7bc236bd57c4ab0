# Completion of postgres-backup for bash; written by docs/make_manual.py.
_postgres_backup() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command= words= at
    COMPREPLY=()
    for ((at = 1; at < COMP_CWORD; at++)); do
        case ${COMP_WORDS[at]} in
        --config | --log-format) ((at++)) ;;
        -*) ;;
        *)
            command=${COMP_WORDS[at]}
            break
            ;;
        esac
    done
    case $before in
        --config | --identity | --log-file | --junit)
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            compopt -o filenames 2> /dev/null || :
            return ;;
        --to)
            mapfile -t COMPREPLY < <(compgen -d -- "$word")
            compopt -o filenames 2> /dev/null || :
            return ;;
        --database | --tables | --emptied | --as | --keep-days | --server | --days | --at) return ;;
        --log-format) words="text json" ;;
        --from) words="copy" ;;
        --triggers) words="off on" ;;
        --fail-on) words="failed warning note" ;;
    esac
    [[ $words ]] || case $command in
        "") words="backup list restore drill undo-restore prune status verify adopt key kit copy move restore-kit history store-check watch pitr-backup pitr-drill pitr-look pitr-watch alert-test run -h --help --config --json --log-format --journald --version" ;;
        backup) words="-h --help --config --json --log-format --journald --database --check --tables --schema-only --emptied" ;;
        list) words="-h --help --config --json --log-format --journald --database --partial --from" ;;
        restore) words="latest -h --help --config --json --log-format --journald --database --check --identity --in-place --tables --triggers --as --keep-days --smaller --from --trust-unsigned --roles-with-power" ;;
        drill) words="latest -h --help --config --json --log-format --journald --database --check --identity --fast --junit --fail-on --from --log-file" ;;
        undo-restore) words="-h --help --config --json --log-format --journald --database --check" ;;
        prune) words="-h --help --config --json --log-format --journald --database --check --allow-many" ;;
        status) words="-h --help --config --json --log-format --journald" ;;
        verify) words="latest -h --help --config --json --log-format --journald --database --check --identity --from" ;;
        adopt) words="-h --help --config --json --log-format --journald --database --check --identity --yes --server" ;;
        key) words="-h --help --config --json --log-format --journald --check --rotate" ;;
        kit) words="-h --help --config --json --log-format --journald --check" ;;
        copy) words="-h --help --config --json --log-format --journald --check" ;;
        move) words="-h --help --config --json --log-format --journald --check" ;;
        restore-kit) words="latest -h --help --config --json --log-format --journald --check --identity --to --from --trust-unsigned" ;;
        history) words="-h --help --config --json --log-format --journald --database --days" ;;
        store-check) words="-h --help --config --json --log-format --journald --check --from" ;;
        watch) words="-h --help --config --json --log-format --journald --log-file" ;;
        pitr-backup) words="-h --help --config --json --log-format --journald --full --log-file" ;;
        pitr-drill) words="-h --help --config --json --log-format --journald --log-file" ;;
        pitr-look) words="-h --help --config --json --log-format --journald" ;;
        pitr-watch) words="-h --help --config --json --log-format --journald --log-file" ;;
        alert-test) words="-h --help --config --json --log-format --journald --check --only-new" ;;
        run) words="-h --help --config --json --log-format --journald --at --log-file" ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -F _postgres_backup postgres-backup
