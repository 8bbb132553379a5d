"""A small DNS server on a free port of the loopback interface: UDP and TCP, with the records that a test gives it."""

import select
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
        self._closing = threading.Event()
        self._udp, self._tcp = _pair()
        self.port: int = self._udp.getsockname()[1]
        self._threads = [threading.Thread(target=serve) for serve in (self._serve_udp, self._serve_tcp)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """End both threads: one that still waits on a closed socket would keep its port and answer whoever comes."""
        self._closing.set()
        for thread in self._threads:
            thread.join()
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
        while self._arrived(self._udp):
            wire, sender = self._udp.recvfrom(4096)
            if self.silent:
                continue
            try:
                reply = self.answer(wire)
            except dns.exception.DNSException:
                continue  # anybody may send a datagram to an open port; what is not a query gets no answer
            try:
                self._udp.sendto(reply.to_wire(max_size=512), sender)
            except dns.exception.TooBig:
                short = dns.message.make_response(dns.message.from_wire(wire))
                short.flags |= dns.flags.TC
                self._udp.sendto(short.to_wire(), sender)

    def _serve_tcp(self) -> None:
        while self._arrived(self._tcp):
            connection, _ = self._tcp.accept()
            with connection:
                (length,) = struct.unpack("!H", connection.recv(2, socket.MSG_WAITALL))
                wire = self.answer(connection.recv(length, socket.MSG_WAITALL)).to_wire()
                connection.sendall(struct.pack("!H", len(wire)) + wire)

    def _arrived(self, source: socket.socket) -> bool:
        """Whether something can be read, once it can; False when the server is to close."""
        while not self._closing.is_set():
            if select.select([source], [], [], 0.05)[0]:
                return True
        return False


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
