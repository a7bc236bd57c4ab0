"""The module of this name, with live progress: see postgres_backup_progress.py beside this."""

from ansible.plugins.loader import action_loader

ActionModule = action_loader.get("postgres_backup_progress", class_only=True)
