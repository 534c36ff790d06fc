#!/usr/bin/env python3
# Proves the secret, then runs a command: tcp_challenge.py HOST PORT COMMAND KEYFILE [md5]
import hmac
import socket
import struct
import sys

host, port, command, keyfile, *method = sys.argv[1:]
with open(keyfile, "rb") as f, socket.create_connection((host, int(port))) as s:
    answers = s.makefile("rb")
    s.sendall(hmac.digest(f.read().rstrip(b"\r\n"), answers.read(32), *method or ["sha256"]))
    s.sendall(command.encode("utf-8"))
    (size,) = struct.unpack("<i", answers.read(4))
    print(answers.read(size).decode("gbk"), end="")
