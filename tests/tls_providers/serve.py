"""A TLS server on loopback: `serve.py <certificate> <key>` prints its port. Whatever is asked, it answers 200 with a token.

In Python, so that it adds no provider of cryptography to anybody's tree. HTTP/2, for gRPC, is as much as one request takes.
"""

import json
import socket
import ssl
import struct
import sys
import threading

ANSWER = json.dumps({"access_token": "t0ken", "token_type": "Bearer", "expires_in": 3600}).encode()
HEADERS, SETTINGS, PING = 1, 4, 6
END_STREAM, ACK, END_HEADERS = 1, 1, 4


def exactly(stream, length):
    data = stream.read(length)
    if len(data) != length:
        raise EOFError
    return data


def frame(kind, flags, number, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", number) + payload


def literal(name, value):
    """A header field without indexing and without Huffman's code (RFC 7541)."""
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


def http2(connection, stream):
    exactly(stream, len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
    connection.sendall(frame(SETTINGS, 0, 0))
    while True:
        head = exactly(stream, 9)
        length, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
        payload = exactly(stream, length)
        if kind == SETTINGS and not flags & ACK:
            connection.sendall(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            connection.sendall(frame(PING, ACK, 0, payload))
        elif kind == HEADERS:
            # 0x88 is `:status: 200`. Without a body: gRPC calls that trailers only.
            block = b"\x88" + literal(b"content-type", b"application/grpc") + literal(b"grpc-status", b"0")
            number = int.from_bytes(head[5:], "big")
            connection.sendall(frame(HEADERS, END_HEADERS | END_STREAM, number, block))


def http1(connection, stream):
    length = 0
    while (line := stream.readline().strip()):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    exactly(stream, length)
    head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncache-control: no-store\r\nconnection: close\r\n"
    connection.sendall(f"{head}content-length: {len(ANSWER)}\r\n\r\n".encode() + ANSWER)


def serve(socket_):
    try:
        socket_.settimeout(60)
        with tls.wrap_socket(socket_, server_side=True) as connection, connection.makefile("rb") as stream:
            (http2 if connection.selected_alpn_protocol() == "h2" else http1)(connection, stream)
    except (OSError, EOFError):
        # The client is done, or does not trust the certificate, which is for it to say.
        pass


tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain(*sys.argv[1:3])
tls.set_alpn_protocols(["h2", "http/1.1"])
with socket.create_server(("127.0.0.1", 0)) as listener:
    print(listener.getsockname()[1], flush=True)
    while True:
        accepted, _ = listener.accept()
        threading.Thread(target=serve, args=(accepted,), daemon=True).start()
