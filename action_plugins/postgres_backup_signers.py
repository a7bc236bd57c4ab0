"""The module of this name, run within Ansible: see postgres_backup_here.py beside this."""

from ansible.plugins.loader import action_loader

ActionModule = action_loader.get("postgres_backup_here", class_only=True)
