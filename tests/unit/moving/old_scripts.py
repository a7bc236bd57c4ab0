"""An old installation, as administrators make them: a script, its config, a line in a crontab."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from postgres_backup.moving.found import Places

CONFIG = """\
# settings of the nightly backup
S3_BUCKET_NAME="school-backups"
S3_ENDPOINT_URL=https://s3.example.com
S3_REGION=us-east-1
DB_HOST=localhost
DB_PORT=5432
DB_NAME=crm
DB_USER=crm
DB_PASSWORD='pa ss"{{ word }}'
RETENTION_DAYS=7
NOTIFY_CHANNEL=ops
export AWS_ACCESS_KEY_ID=key-of-the-store
export AWS_SECRET_ACCESS_KEY=secret-of-the-store
"""
SCRIPT = """\
#!/bin/bash
set -euo pipefail
SCRIPT_DIR="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
source "$SCRIPT_DIR/backup-config.env"
BACKUP_NAME="postgres-backup-$(date -u +%Y-%m-%d_%H-%M-%S).sql.gz"
PGPASSWORD="$DB_PASSWORD" pg_dump -h "$DB_HOST" -p "$DB_PORT" -U "$DB_USER" -d "$DB_NAME" \\
    | gzip | aws s3 cp - "s3://$S3_BUCKET_NAME/postgres-backup/$BACKUP_NAME" \\
        --endpoint-url "$S3_ENDPOINT_URL"
"""


@dataclasses.dataclass
class Machine:
    """A machine's folders below one of the test's own."""

    root: Path

    def __post_init__(self) -> None:
        for folder in ("crontabs", "cron.d", "cron.daily", "units", "opt", "log"):
            (self.root / folder).mkdir()

    @property
    def places(self) -> Places:
        root = str(self.root)
        return Places(
            users=f"{root}/crontabs",
            system=(f"{root}/crontab", f"{root}/cron.d"),
            folders=(f"{root}/cron.daily",),
            units=(f"{root}/units",),
        )

    def script(self, text: str = SCRIPT, config: str = CONFIG, name: str = "backup-to-s3.sh"):
        """The script with its config beside it."""
        path = self.root / "opt" / name
        path.write_text(text)
        path.chmod(0o755)
        if config:
            (self.root / "opt/backup-config.env").write_text(config)
        return path

    def crontab(self, *lines: str, user: str = "root") -> Path:
        path = self.root / "crontabs" / user
        path.write_text("".join(f"{line}\n" for line in lines))
        path.chmod(0o600)
        return path
