"""Captured hosts: folders, archives and streams in the place of a live one."""
