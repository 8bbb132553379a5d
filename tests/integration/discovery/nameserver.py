"""A small DNS server on a free port of the loopback interface: UDP and TCP, with the records that a test gives it."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset


class NameServer:
    """``records[name, kind] = (ttl, [text, …])``; any other name does not exist. Remembers what it was asked."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], tuple[int, list[str]]] = {}
        self.rcode = dns.rcode.NOERROR  # another one is the answer to everything
        self.silent = False
        self.negative_ttl = 60
        self.asked: list[tuple[str, str]] = []
        self._udp, self._tcp = _pair()
        self.port: int = self._udp.getsockname()[1]
        for serve in (self._serve_udp, self._serve_tcp):
            threading.Thread(target=serve, daemon=True).start()

    def close(self) -> None:
        self._udp.close()
        self._tcp.close()

    def times(self, kind: str) -> int:
        return sum(asked == kind for _, asked in self.asked)

    def answer(self, wire: bytes) -> dns.message.Message:
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name, kind = question.name.to_text(), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        reply = dns.message.make_response(query)
        reply.set_rcode(self.rcode)
        if self.rcode != dns.rcode.NOERROR:
            return reply
        while alias := self.records.get((name, "CNAME")):
            reply.answer.append(_records(name, "CNAME", alias))
            name = alias[1][0]
        if found := self.records.get((name, kind)):
            reply.answer.append(_records(name, kind, found))
            return reply
        if not any(known == name for known, _ in self.records):
            reply.set_rcode(dns.rcode.NXDOMAIN)
        soa = f". . 1 60 60 60 {self.negative_ttl}"
        reply.authority.append(_records("test.", "SOA", (self.negative_ttl, [soa])))
        return reply

    def _serve_udp(self) -> None:
        while True:
            try:
                wire, sender = self._udp.recvfrom(4096)
                if self.silent:
                    continue
                reply = self.answer(wire)
                try:
                    self._udp.sendto(reply.to_wire(max_size=512), sender)
                except dns.exception.TooBig:
                    short = dns.message.make_response(dns.message.from_wire(wire))
                    short.flags |= dns.flags.TC
                    self._udp.sendto(short.to_wire(), sender)
            except OSError:
                return

    def _serve_tcp(self) -> None:
        while True:
            try:
                connection, _ = self._tcp.accept()
            except OSError:
                return
            with connection:
                (length,) = struct.unpack("!H", connection.recv(2, socket.MSG_WAITALL))
                wire = self.answer(connection.recv(length, socket.MSG_WAITALL)).to_wire()
                connection.sendall(struct.pack("!H", len(wire)) + wire)


@contextmanager
def nameserver() -> Iterator[NameServer]:
    server = NameServer()
    try:
        yield server
    finally:
        server.close()


def _pair() -> tuple[socket.socket, socket.socket]:
    """A UDP and a TCP socket on the same free port."""
    while True:
        udp = socket.socket(type=socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", 0))
        tcp = socket.socket()
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tcp.bind(udp.getsockname())
        except OSError:
            udp.close()
            tcp.close()
            continue
        tcp.listen()
        return udp, tcp


def _records(name: str, kind: str, found: tuple[int, list[str]]) -> dns.rrset.RRset:
    ttl, texts = found
    return dns.rrset.from_text(name, ttl, "IN", kind, *texts)
