"""The MySQL store: queues and tables on a server, for processes of any number of hosts. schema.py draws its rows."""

from .store import MysqlStore

__all__ = ["MysqlStore"]
