#!/usr/bin/env python3
# Runs commands one after the other: tcp.py HOST PORT COMMAND...
import socket
import struct
import sys

with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as s:
    answers = s.makefile("rb")
    for command in sys.argv[3:]:
        s.sendall(command.encode("utf-8"))
        (size,) = struct.unpack("<i", answers.read(4))
        print(answers.read(size).decode("gbk"), end="")
