"""The module of this name, its files of templates: see postgres_backup_files.py beside this."""

from ansible.plugins.loader import action_loader

ActionModule = action_loader.get("postgres_backup_files", class_only=True)
