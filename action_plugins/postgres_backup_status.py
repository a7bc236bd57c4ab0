"""The module of this name, told how wide its lines may be: see postgres_backup_columns.py."""

from ansible.plugins.loader import action_loader

ActionModule = action_loader.get("postgres_backup_columns", class_only=True)
