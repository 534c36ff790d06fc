#!/usr/bin/env python3
# Runs a command and proves the secret with it: udp_auth.py HOST PORT COMMAND KEYFILE
import hmac
import socket
import struct
import sys
import time

host, port, command, keyfile = sys.argv[1:]
with open(keyfile, "rb") as f, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.settimeout(10)
    signed = struct.pack(">Q", time.time_ns() // 1000000) + command.encode("utf-8")
    s.sendto(hmac.digest(f.read().rstrip(b"\r\n"), signed, "sha256") + signed, (host, int(port)))
    print(s.recv(65535).decode("gbk"), end="")
