"""Where a store is: host, database, user and password, TLS. The password is in no repr, and in nothing that is said."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from ...wording import shown

PASSWORD = "PQADAPTERS_MYSQL_PASSWORD"
_TLS = ("off", "on", "verify")


@dataclass(frozen=True)
class Address:
    """`place` is how it is named for people."""

    host: str
    port: int
    user: str
    database: str
    prefix: str
    socket: str | None = None
    tls: str | None = None
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    password: str = field(default="", repr=False)

    @property
    def place(self) -> str:
        where = f"[{self.host}]" if ":" in self.host else self.host
        at = f"{quote(self.user)}@{where}:{self.port}" if not self.socket else f"{quote(self.user)}@localhost"
        more = f"?socket={self.socket}" if self.socket else ""
        more += f"{'&' if more else '?'}prefix={self.prefix}" if self.prefix != PREFIX else ""
        return f"mysql://{at}/{quote(self.database)}{more}"

    def options(self) -> dict[str, Any]:
        """What a connection is made with. Raises ValueError for certificates that can't be read."""
        way: dict[str, Any] = {"unix_socket": self.socket} if self.socket else {"host": self.host, "port": self.port}
        here = self.socket or self.host in ("localhost", "127.0.0.1", "::1")
        tls = self.tls or ("verify" if self.encrypted else "off" if here else None)
        if tls == "off":
            way["ssl_disabled"] = True
        elif tls is not None:
            way["ssl"] = self._context(tls)
        password = self.password.encode("utf-8", "surrogateescape")  # of the environment: bytes that needn't be text
        return {**way, "user": self.user, "password": password, "database": self.database}

    @property
    def encrypted(self) -> bool:
        """Whether a connection that isn't encrypted must not be used."""
        return self.tls in ("on", "verify") or bool(self.tls_ca or self.tls_cert)

    def _context(self, tls: str) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.tls_ca)
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # certificates that servers make for themselves lack parts
            if tls == "on":
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if self.tls_cert:
                context.load_cert_chain(self.tls_cert, self.tls_key)
        except OSError as error:
            files = ", ".join(repr(file) for file in (self.tls_ca, self.tls_cert, self.tls_key) if file)
            raise ValueError(f"{self.place}: tls_ca, tls_cert or tls_key ({files}) can't be read: {error}") from None
        return context


#: What the names of tables begin with, unless they are told otherwise.
PREFIX = "pqa_"


def address_of(
    url: str,
    *,
    prefix: str = PREFIX,
    socket: str | None = None,
    password_file: str | None = None,
    tls: str | None = None,
    tls_ca: str | None = None,
    tls_cert: str | None = None,
    tls_key: str | None = None,
) -> Address:
    """The address that a URL without a query means. Raises ValueError, which says nothing of the password."""
    try:
        parts = urlsplit(url)
        host, port = unquote(parts.hostname or "localhost"), parts.port or 3306
    except ValueError:
        raise ValueError(f"{shown(url)!r}: write mysql://user@host:3306/database") from None
    database = unquote(parts.path[1:])
    if parts.scheme != "mysql" or not database or "/" in database or parts.query or parts.fragment:
        raise ValueError(f"{shown(url)!r}: write mysql://user@host:3306/database")
    if tls is not None and tls not in _TLS:
        raise ValueError(f"tls is one of {', '.join(map(repr, _TLS))}, not {tls!r}")
    if tls == "off" and (tls_ca or tls_cert):
        raise ValueError("tls='off' and certificates: leave one of them out")
    if tls_key and not tls_cert:
        raise ValueError("tls_key is the key of a certificate: give tls_cert as well")
    password = unquote(parts.password) if parts.password is not None else _password(password_file)
    user = unquote(parts.username or "")
    try:
        host.encode("idna"), f"{user}{database}".encode()
    except UnicodeError:
        raise ValueError(f"{shown(url)!r}: no host, user or database has such a name") from None
    return Address(host, port, user, database, prefix, socket, tls, tls_ca, tls_cert, tls_key, password)


def _password(path: str | None) -> str:
    """What a file says, or else the environment."""
    if path is None:
        return os.environ.get(PASSWORD, "")
    try:
        with open(path, encoding="utf-8-sig") as file:  # some editors begin with a mark
            return file.read().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise ValueError(f"password_file {path!r} can't be read: {why}") from None
